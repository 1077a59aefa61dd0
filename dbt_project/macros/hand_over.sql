{#-
  Hands the seeds and dimensions from DuckDB, which alone builds them, to Spark: first run on DuckDB, which
  writes each as Parquet in $ZICHT_HOME/spark/handed_over, then on Spark, where each becomes a view on its file.
  The folder must be there.
-#}
{% macro hand_over() -%}
{%- set names = [] -%}
{%- for node in graph.nodes.values() -%}
    {%- if node.resource_type == 'seed' or (node.resource_type == 'model' and 'dimension' in node.tags) -%}
        {%- do names.append(node.name) -%}
    {%- endif -%}
{%- endfor -%}
{%- do run_query('create schema if not exists ' ~ target.schema) -%}
{%- for name in names | sort -%}
    {%- set path = env_var('ZICHT_HOME') ~ '/spark/handed_over/' ~ name ~ '.parquet' -%}
    {%- do run_query(adapter.dispatch('hand_over_one', 'zicht')(ref(name), path)) -%}
{%- endfor -%}
{%- endmacro %}

{% macro duckdb__hand_over_one(relation, path) -%}
copy (select * from {{ relation }}) to {{ literal(path) }} (format parquet)
{%- endmacro %}

{% macro spark__hand_over_one(relation, path) -%}
create or replace view {{ relation }} as select * from parquet.`{{ path }}`
{%- endmacro %}
