{#-
  An SQL expression that stops the query with a message, for rows that must not become a figure. A test would
  come too late: the rows of the pair are in the cube by then, and are not computed again.

  Args:
    message: an SQL expression that gives the text.
-#}
{% macro stop_query(message) -%}
{{ adapter.dispatch('stop_query', 'zicht')(message) }}
{%- endmacro %}

{% macro duckdb__stop_query(message) -%}
error({{ message }})
{%- endmacro %}

{% macro spark__stop_query(message) -%}
raise_error({{ message }})
{%- endmacro %}
