{#-
  Cubes of patterns: units counted by safety region and by every combination of categories that occurs, as the
  input of a model that compares units with an event with all units. No SQL here belongs to one engine.
-#}

{#- What is said of a unit whose municipality lies in no one safety region, as an SQL text. -#}
{% macro unplaced_in_safety_region(units) -%}
'Z-CFG-036: municipality ' || coalesce({{ units }}.municipality_code, 'without a code') || ' of '
|| {{ units }}.division_year || ' lies in no one safety region of geography year {{ var("geo_year") }}'
{%- endmacro %}

{#-
  Counts units by safety region of the geography year and combination of categories: one row per planned pair,
  safety region and combination that occurs.

  - The division of a unit's year is that of 1 January. Its municipality may have been split since, as long as
    all parts are in one safety region; else the query stops (Z-CFG-036).
  - A unit in a category that is not declared stops the query (Z-CFG-037): the model knows the declared ones only.

  Args:
    units: name of a CTE with one row per unit: reference_period, vintage, division_year (see planned_rows),
      municipality_code and the columns that the other arguments name.
    features: feature (a column of the units) to its categories.
    measures: name of the count to a condition on `units` that says which it counts; null is not counted.
-#}
{% macro microdata_patterns(units, features, measures) -%}
select *
from (
    with planned as (
        {{ planned_pairs_query() | indent(8) }}
    ),

    placement as (
        select
            recast.from_year as division_year,
            recast.from_code,
            min(regions.safety_region_code) as to_code
        from {{ ref('dim_recast') }} as recast
        inner join {{ ref('dim_regions') }} as regions
            on
                recast.to_code = regions.region_code
                and regions.geo_year = {{ var('geo_year') }}
        group by recast.from_year, recast.from_code
        having count(distinct regions.safety_region_code) = 1
    ),

    placed as (
        {{ placed_units(units, [], unplaced_in_safety_region('units'), features, measures) | indent(8) }}
    )

    select
        placed.reference_period,
        placed.vintage,
        placed.region_code,
        'safety_region' as region_level,
        cast({{ var('geo_year') }} as integer) as geo_year,
        {%- for feature in features %}
        placed.{{ feature }},
        {%- endfor %}
        {%- for measure in measures %}
        cast(count(case when placed.in_{{ measure }} then 1 end) as bigint) as {{ measure }},
        {%- endfor %}
        planned.is_provisional
    from placed
    inner join planned
        on
            placed.reference_period = planned.reference_period
            and placed.vintage = planned.vintage
    group by
        placed.reference_period,
        placed.vintage,
        placed.region_code,
        {%- for feature in features %}
        placed.{{ feature }},
        {%- endfor %}
        planned.is_provisional
) as patterns
order by {{ (['reference_period', 'vintage', 'region_code'] + features.keys() | list) | join(', ') }}
{%- endmacro %}
