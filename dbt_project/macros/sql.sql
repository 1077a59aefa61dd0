{#- A text as an SQL literal. -#}
{% macro literal(text) -%}
'{{ text | string | replace("'", "''") }}'
{%- endmacro %}

{#- The calendar year of a reference period: 2024, 2024-Q1 and 2024-01 all lie in 2024. -#}
{% macro year_of(reference_period) -%}
cast(substring({{ reference_period }}, 1, 4) as integer)
{%- endmacro %}
