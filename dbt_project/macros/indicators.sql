{#-
  The pairs that the mart at hand shows, as a query: reference_period, cube_period, cube_vintage, vintage,
  known_at, lag_days. The cube's period is the mart's own, unless the plan names another under `periods`
  (a stock on 1 January that serves four quarters).
-#}
{% macro shown_pairs_query(cube=none) -%}
{%- set rows = [] -%}
{%- for pair in shown_pairs(cube) -%}
    {%- do rows.append({
        'reference_period': literal(pair.reference_period),
        'cube_period': literal((pair.periods or {}).get(cube) or pair.reference_period),
        'cube_vintage': literal(pair.cubes[cube]) if cube is not none else 'cast(null as varchar)',
        'vintage': literal(pair.vintage),
        'known_at': 'cast(' ~ literal(pair.known_at) ~ ' as timestamptz)',
        'lag_days': 'cast(' ~ (pair.lag_days | int) ~ ' as integer)',
    }) -%}
{%- endfor -%}
{%- set no_row = {
    'reference_period': 'cast(null as varchar)',
    'cube_period': 'cast(null as varchar)',
    'cube_vintage': 'cast(null as varchar)',
    'vintage': 'cast(null as varchar)',
    'known_at': 'cast(null as timestamptz)',
    'lag_days': 'cast(null as integer)',
} -%}
{{ written_rows(rows, no_row) }}
{%- endmacro %}

{#- Keeps of `cells`, a cube, the vintages that the mart at hand shows; the pair is `shown`. Part of a from clause. -#}
{% macro join_shown_pairs(cube) -%}
inner join (
    {{ shown_pairs_query(cube) | indent(4) }}
) as shown
    on
        cells.reference_period = shown.cube_period
        and cells.vintage = shown.cube_vintage
{%- endmacro %}

{#-
  The cells of one measure in the vintages that the mart at hand shows: region_code, region_level, geo_year,
  reference_period, vintage (of the mart), value, is_provisional, is_estimated, known_at, lag_days. Of a cube
  of microdata also the dimensions of the breakdown and n_contributors.

  Args:
    breakdown: the dimensions of a cube made by microdata_cube, [] when it has none; nothing for a public cube.
-#}
{% macro selected_cells(cube, measure, breakdown=none) -%}
select
    cells.region_code,
    cells.region_level,
    cells.geo_year,
    shown.reference_period,
    shown.vintage,
    {%- for dimension in breakdown or [] %}
    cells.{{ dimension }},
    {%- endfor %}
    cells.value,
    {%- if breakdown is not none %}
    cells.n_contributors,
    {%- endif %}
    cells.is_provisional,
    cells.is_estimated,
    shown.known_at,
    shown.lag_days
from {{ ref(cube) }} as cells
{{ join_shown_pairs(cube) }}
where cells.measure = {{ literal(measure) }}
{%- endmacro %}

{#-
  Inhabitants of all ages on 1 January of the year, as a denominator: region_code, reference_period, value,
  is_provisional, is_estimated.
-#}
{% macro inhabitants_on_1_january() -%}
select
    population.region_code,
    shown.reference_period,
    cast(population.population_1jan as double) as value,
    false as is_provisional,
    population.is_estimated
from {{ ref('dim_population') }} as population
inner join (
    {{ shown_pairs_query() | indent(4) }}
) as shown
    on population.reference_year = {{ year_of('shown.reference_period') }}
{%- endmacro %}

{#-
  Cells of microdata added up over the categories of a breakdown: a part of a rate without one. Every unit is in
  one cell, so contributors add up like units.

  Args:
    relation: name of a CTE made by selected_cells.
    cell: dimension to category; the others are at their total. {} is the whole.
-#}
{% macro cells_of(relation, cell) -%}
select
    region_code,
    region_level,
    geo_year,
    reference_period,
    vintage,
    sum(value) as value,
    cast(sum(n_contributors) as bigint) as n_contributors,
    is_provisional,
    is_estimated,
    known_at,
    lag_days
from {{ relation }}
{%- for dimension, category in cell.items() %}
{{ 'where' if loop.first else '    and' }} {{ dimension }} = {{ literal(category) }}
{%- endfor %}
group by
    region_code, region_level, geo_year, reference_period, vintage, is_provisional, is_estimated, known_at, lag_days
{%- endmacro %}

{#-
  The standard columns of a mart, for a rate of two CTEs. The value is not rounded here: whoever presents
  it rounds to the indicator's `decimals`, at the very end.

  Args:
    numerator: name of a CTE made by selected_cells.
    denominator: name of a CTE with region_code, reference_period, value, is_provisional, is_estimated.
    per: factor, for example 1000 for a figure per 1,000.
    breakdown: as for selected_cells, of which both CTEs are made then; the contributors are those of the
      denominator, who all stand behind the figure.
-#}
{% macro rate(numerator, denominator, per, breakdown=none) -%}
select
    region_code,
    region_level,
    geo_year,
    reference_period,
    vintage,
    {%- for dimension in breakdown or [] %}
    {{ dimension }},
    {%- endfor %}
    numerator,
    denominator,
    rate as value,
    {%- if breakdown is not none %}
    n_contributors,
    {%- endif %}
    rate is not null and has_provisional_part as is_provisional,
    rate is not null and has_estimated_part as is_estimated,
    rate is null as is_missing,
    known_at,
    lag_days
from (
    select
        upper_part.region_code,
        upper_part.region_level,
        upper_part.geo_year,
        upper_part.reference_period,
        upper_part.vintage,
        {%- for dimension in breakdown or [] %}
        upper_part.{{ dimension }},
        {%- endfor %}
        {%- if breakdown is not none %}
        lower_part.n_contributors,
        {%- endif %}
        upper_part.value as numerator,
        lower_part.value as denominator,
        {{ per }} * upper_part.value / nullif(lower_part.value, 0) as rate,
        upper_part.is_provisional or coalesce(lower_part.is_provisional, false) as has_provisional_part,
        upper_part.is_estimated or coalesce(lower_part.is_estimated, false) as has_estimated_part,
        upper_part.known_at,
        upper_part.lag_days
    from {{ numerator }} as upper_part
    left join {{ denominator }} as lower_part
        on
            upper_part.region_code = lower_part.region_code
            and upper_part.reference_period = lower_part.reference_period
            {%- for dimension in breakdown or [] %}
            and upper_part.{{ dimension }} = lower_part.{{ dimension }}
            {%- endfor %}
) as rated
order by {{ (['reference_period', 'region_code'] + (breakdown or [])) | join(', ') }}
{%- endmacro %}

{#-
  A public count as the denominator of a rate of microdata: whoever is counted stands behind the figure. Where a
  municipality was split the count has weighted parts; protection takes whole numbers.

  Args:
    relation: name of a CTE with region_code, reference_period, value, is_provisional, is_estimated.
-#}
{% macro public_denominator(relation) -%}
select
    region_code,
    reference_period,
    round(value) as value,
    cast(round(value) as bigint) as n_contributors,
    is_provisional,
    is_estimated
from {{ relation }}
{%- endmacro %}

{#-
  A mart: a measure of a cube of microdata without breakdown, per so many inhabitants of all ages on 1 January of the
  year.

  Args:
    per: factor, as for rate.
-#}
{% macro per_inhabitants(cube, measure, per) -%}
with numerator as (
    {{ selected_cells(cube, measure, breakdown=[]) | indent(4) }}
),

inhabitants as (
    {{ inhabitants_on_1_january() | indent(4) }}
),

denominator as (
    {{ public_denominator('inhabitants') | indent(4) }}
)

{{ rate('numerator', 'denominator', per=per, breakdown=[]) }}
{%- endmacro %}

{#-
  A mart: cells of a cube of microdata as a share of others of the same measure. Numerator and denominator are
  true values here; the share is made of published cells at the wall, as `of` in the YAML says.

  Args:
    numerator: dimension to category; other dimensions are at their total.
    per: factor, as for rate.
    denominator: as the numerator; {} is the whole.
-#}
{% macro share_of_cells(cube, measure, numerator, per, denominator={}) -%}
with cells as (
    {{
        selected_cells(
            cube, measure, breakdown=(numerator.keys() | list + denominator.keys() | list) | unique | list
        ) | indent(4)
    }}
),

numerator as (
    {{ cells_of('cells', numerator) | indent(4) }}
),

denominator as (
    {{ cells_of('cells', denominator) | indent(4) }}
)

{{ rate('numerator', 'denominator', per=per, breakdown=[]) }}
{%- endmacro %}

{#-
  The standard columns of a mart, for a count: the cells of one CTE made by selected_cells. There is no
  denominator. Fractional only where a split was recast, which never happens to microdata.

  Args:
    breakdown: as for selected_cells.
-#}
{% macro count_of(numerator, breakdown=none) -%}
select
    region_code,
    region_level,
    geo_year,
    reference_period,
    vintage,
    {%- for dimension in breakdown or [] %}
    {{ dimension }},
    {%- endfor %}
    value as numerator,
    cast(null as double) as denominator,
    value,
    {%- if breakdown is not none %}
    n_contributors,
    {%- endif %}
    value is not null and is_provisional as is_provisional,
    value is not null and is_estimated as is_estimated,
    value is null as is_missing,
    known_at,
    lag_days
from {{ numerator }}
order by {{ (['reference_period', 'region_code'] + (breakdown or [])) | join(', ') }}
{%- endmacro %}
