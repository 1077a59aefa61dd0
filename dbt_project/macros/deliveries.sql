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

{% macro duckdb__read_deliveries(source_name, table) -%}
{%- set folders = ['reference_period=none/delivery=none'] -%}
{%- for delivery in planned_deliveries(source_name) -%}
    {%- do folders.append('reference_period=' ~ delivery.reference_period ~ '/delivery=' ~ delivery.id) -%}
{%- endfor -%}
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
