{#-
  Coverage: how many units of a register were delivered, by municipality, to be laid beside an independent public
  frame that says how many there should be. No indicators of a theme: they say how far the indicators see.
-#}

{#-
  The cube of the delivered units of one table. Every row of a delivery is a unit.

  Args:
    staging: name of the staging model.
    key: column with the contributor.
    condition: which rows are counted, on `units`; all when omitted.
    columns: further columns that the condition names.
    frame: staging model of a register with rows everywhere, also an input of the cube: for a source with few
      rows, so that a municipality without any has zero and not nothing.
-#}
{% macro coverage_cube(staging, key, condition='true', columns=[], frame=none) -%}
with rows_delivered as (
    {{ planned_rows(staging, [key, 'municipality_code'] + columns) | indent(4) }}
),

units as (
    select
        {{ unit_columns(key) | indent(8) }}
        {%- for column in columns %},
        {{ column }}
        {%- endfor %}
    from rows_delivered
)
{%- if frame is not none %},

frame as (
    {{ municipality_frame(frame) | indent(4) }}
)
{%- endif %}

{{ microdata_cube('units', measures={'n_delivered': condition}, frame='frame' if frame is not none else none) }}
{%- endmacro %}

{#- The standard columns of a mart for the units delivered: the cells of a cube made by coverage_cube. -#}
{% macro coverage_mart(cube) -%}
with delivered as (
    {{ selected_cells(cube, 'n_delivered', breakdown=[]) | indent(4) }}
)

{{ count_of('delivered', breakdown=[]) }}
{%- endmacro %}

{#-
  Public counts that say how many units are to be expected: one row per region and period that the mart at hand
  shows, a column per measure. Not joined to what was delivered here: a register may be there before its
  frame, and its coverage is then told against earlier deliveries alone.

  Args:
    cube: a public cube.
    measures: of the cube.
-#}
{% macro coverage_frame(cube, measures) -%}
select
    cells.region_code,
    cells.region_level,
    cells.geo_year,
    shown.reference_period,
    shown.vintage,
    {%- for measure in measures %}
    max(case when cells.measure = {{ literal(measure) }} then cells.value end) as {{ measure }},
    {%- endfor %}
    shown.known_at,
    shown.lag_days
from {{ ref(cube) }} as cells
{{ join_shown_pairs(cube) }}
group by
    cells.region_code,
    cells.region_level,
    cells.geo_year,
    shown.reference_period,
    shown.vintage,
    shown.known_at,
    shown.lag_days
order by shown.reference_period, cells.region_code
{%- endmacro %}
