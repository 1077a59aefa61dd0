{#- A text as an SQL literal. -#}
{% macro literal(text) -%}
'{{ text | string | replace("'", "''") }}'
{%- endmacro %}

{#- The calendar year of a reference period: 2024, 2024-Q1 and 2024-01 all lie in 2024. -#}
{% macro year_of(reference_period) -%}
cast(substring({{ reference_period }}, 1, 4) as integer)
{%- endmacro %}

{#- The number of the quarter in a reference period: 2 of 2024-Q2. -#}
{% macro quarter_of(reference_period) -%}
cast(substring({{ reference_period }}, 7, 1) as integer)
{%- endmacro %}

{#-
  Rows that are written out, as a query.

  Args:
    rows: column to SQL expression, per row; all rows have the same columns in the same order.
    no_row: the same, and typed: what the columns are when there are no rows.
-#}
{% macro written_rows(rows, no_row) -%}
{%- for row in rows or [no_row] -%}
select
    {%- for column, expression in row.items() %}
    {{ expression }} as {{ column }}{% if not loop.last %},{% endif %}
    {%- endfor %}
{%- if not rows %}
where false
{%- elif not loop.last %}
union all
{% endif -%}
{%- endfor %}
{%- endmacro %}
