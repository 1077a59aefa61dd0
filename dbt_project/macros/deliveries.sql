{#-
  The accepted deliveries of a source that the plan names, read from raw; columns as the provider delivers
  them, plus `reference_period` and `delivery` from the folder names.

  Files are listed one by one: `union_by_name` opens every file that a pattern matches before any filter
  prunes it, so a pattern would make each refresh read all history. The typed empty placeholder comes along
  always, so that a source without planned deliveries is an empty relation with the right columns.
-#}
{% macro deliveries(source_name, table) -%}
{%- set relation = source(source_name, table) -%}
{%- if model.resource_type == 'unit_test' -%}
{{ relation }}
{%- else -%}
{{ adapter.dispatch('read_deliveries', 'zicht')(source_name, table) }}
{%- endif -%}
{%- endmacro %}

{#- Folders of the planned deliveries of a source, below the source's own; the placeholder's first. -#}
{% macro planned_folders(source_name) -%}
{%- set folders = ['reference_period=none/delivery=none'] -%}
{%- for delivery in planned_deliveries(source_name) -%}
    {%- do folders.append('reference_period=' ~ delivery.reference_period ~ '/delivery=' ~ delivery.id) -%}
{%- endfor -%}
{{ return(folders) }}
{%- endmacro %}

{% macro duckdb__read_deliveries(source_name, table) -%}
{%- set folders = planned_folders(source_name) -%}
read_parquet(
    [
        {%- for folder in folders %}
        {{ literal(env_var('ZICHT_HOME') ~ '/raw/' ~ source_name ~ '/' ~ folder ~ '/' ~ table ~ '.parquet') }}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
    ],
    union_by_name = true,
    hive_partitioning = true,
    hive_types = {'reference_period': 'varchar', 'delivery': 'varchar'}
)
{%- endmacro %}

{#- One path with all folders as a choice, for Spark takes no list; basePath makes the folders partitions. -#}
{% macro spark__read_deliveries(source_name, table) -%}
{%- set base = env_var('ZICHT_HOME') ~ '/raw/' ~ source_name -%}
{%- set choice = '{' ~ planned_folders(source_name) | join(',') ~ '}' -%}
(
    select *
    from parquet.`{{ base ~ '/' ~ choice ~ '/' ~ table ~ '.parquet' }}`
    with ('basePath' = {{ literal(base) }}, 'mergeSchema' = 'true')
)
{%- endmacro %}
