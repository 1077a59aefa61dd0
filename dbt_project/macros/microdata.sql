{#-
  The kinds of column that the registers have, each typed and named in one way. No SQL here belongs to one
  engine: types come from dbt, names are quoted by the adapter, so that staging of microdata also runs on
  Spark. `column` is the provider's name, `name` ours where that differs.
-#}

{#- Text and keys: without padding; a value that is all blanks is no value. -#}
{% macro text_column(column, name=none) -%}
nullif(trim({{ adapter.quote(column) }}), '') as {{ name or column }}
{%- endmacro %}

{% macro date_column(column, name=none) -%}
cast({{ adapter.quote(column) }} as date) as {{ name or column }}
{%- endmacro %}

{#- A whole number that is never added up: a year, a floor area. -#}
{% macro whole_column(column, name=none) -%}
cast({{ adapter.quote(column) }} as {{ dbt.type_int() }}) as {{ name or column }}
{%- endmacro %}

{#- A count, or an amount in whole euros: wide enough for a sum over the country. -#}
{% macro count_column(column, name=none) -%}
cast({{ adapter.quote(column) }} as {{ dbt.type_bigint() }}) as {{ name or column }}
{%- endmacro %}

{#- Two decimals, exactly: a sum of them does not depend on the order in which threads add. -#}
{% macro amount_column(column, name=none) -%}
cast({{ adapter.quote(column) }} as decimal(18, 2)) as {{ name or column }}
{%- endmacro %}

{% macro flag_column(column, name=none) -%}
cast({{ adapter.quote(column) }} as {{ dbt.type_boolean() }}) as {{ name or column }}
{%- endmacro %}
