{#-
  Cubes of microdata: units (persons, households, entities, cases) counted by municipality of the geography
  year and by the categories of a breakdown. No SQL here belongs to one engine, so that it also runs on Spark.
-#}

{#-
  The deliveries of a planned pair that count: of a period with a final and a provisional delivery the final one
  is taken whole, for a register corrects rows by leaving them out.
-#}
{% macro counted_deliveries(pair) -%}
{%- set counted = [] -%}
{%- for delivery in pair.deliveries -%}
    {%- set same = pair.deliveries | selectattr('source', 'equalto', delivery.source) -%}
    {%- set same = same | selectattr('reference_period', 'equalto', delivery.reference_period) -%}
    {%- if delivery.status == 'final' or not same | selectattr('status', 'equalto', 'final') | list -%}
        {%- do counted.append(delivery) -%}
    {%- endif -%}
{%- endfor -%}
{{ return(counted) }}
{%- endmacro %}

{#- The planned pairs of the cube at hand, as a query: reference_period, vintage, is_provisional. -#}
{% macro planned_pairs_query() -%}
{%- set rows = [] -%}
{%- for pair in planned_pairs() -%}
    {%- set provisional = counted_deliveries(pair) | selectattr('status', 'equalto', 'provisional') | list -%}
    {%- do rows.append({
        'reference_period': literal(pair.reference_period),
        'vintage': literal(pair.vintage),
        'is_provisional': 'true' if provisional else 'false',
    }) -%}
{%- endfor -%}
{{ written_rows(rows, {'reference_period': "''", 'vintage': "''", 'is_provisional': 'false'}) }}
{%- endmacro %}

{#- The deliveries that count of one source, as a query: reference_period, vintage, delivery_id. -#}
{% macro counted_deliveries_query(source_name) -%}
{%- set rows = [] -%}
{%- for pair in planned_pairs() -%}
    {%- for delivery in counted_deliveries(pair) if delivery.source == source_name -%}
        {%- do rows.append({
            'reference_period': literal(pair.reference_period),
            'vintage': literal(pair.vintage),
            'delivery_id': literal(delivery.id),
        }) -%}
    {%- endfor -%}
{%- endfor -%}
{{ written_rows(rows, {'reference_period': "''", 'vintage': "''", 'delivery_id': "''"}) }}
{%- endmacro %}

{#-
  The rows of a register that the planned pairs of the cube at hand rest on: reference_period and vintage (of
  the pair), delivered_period and division_year (of the delivery), and the columns asked for.

  Args:
    staging: name of the staging model; its source is the part between `stg_` and `__`.
    columns: columns of the staging model.
-#}
{% macro planned_rows(staging, columns) -%}
select
    counted_deliveries.reference_period,
    counted_deliveries.vintage,
    staged.reference_period as delivered_period,
    {{ year_of('staged.reference_period') }} as division_year
    {%- for column in columns %},
    staged.{{ column }}
    {%- endfor %}
from {{ ref(staging) }} as staged
inner join (
    {{ counted_deliveries_query(staging.split('__')[0] | replace('stg_', '')) | indent(4) }}
) as counted_deliveries
    on staged.delivery_id = counted_deliveries.delivery_id
{%- endmacro %}

{#-
  The municipalities that a register with rows everywhere covers, as a query: the frame of a cube of which the
  units are few. Of several registers those that all of them cover, for where one of them has no rows, nobody
  would seem to have what it tells; division_year is that of the first.

  Args:
    staging: name of the staging model of that register, an input of the cube; or a list of them.
-#}
{% macro municipality_frame(staging) -%}
{%- if staging is string -%}
select distinct
    register.reference_period,
    register.vintage,
    register.division_year,
    register.municipality_code
from (
    {{ planned_rows(staging, ['municipality_code']) | indent(4) }}
) as register
where register.municipality_code is not null
{%- else -%}
select
    register_1.reference_period,
    register_1.vintage,
    register_1.division_year,
    register_1.municipality_code
from (
    {{ municipality_frame(staging[0]) | indent(4) }}
) as register_1
{%- for other in staging[1:] %}
{%- set name = 'register_' ~ (loop.index + 1) %}
inner join (
    {{ municipality_frame(other) | indent(4) }}
) as {{ name }}
    on
        register_1.vintage = {{ name }}.vintage
        and register_1.municipality_code = {{ name }}.municipality_code
{%- endfor %}
{%- endif %}
{%- endmacro %}

{#- Whether a date lies in a year, after its first day: the division of that year does not know it yet. -#}
{% macro is_within_year(day, year) -%}
extract(year from {{ day }}) = {{ year }} and (extract(month from {{ day }}) > 1 or extract(day from {{ day }}) > 1)
{%- endmacro %}

{#- What is said of a unit whose municipality has no one successor, as an SQL text. -#}
{% macro unplaced_municipality(units) -%}
'Z-CFG-036: municipality ' || {{ units }}.municipality_code || ' of ' || {{ units }}.division_year
|| ' is no whole part of a municipality of geography year {{ var("geo_year") }}, and microdata is not divided by weights'
{%- endmacro %}

{#- What is said of a counted unit in a category that the cube does not declare, as an SQL text. -#}
{% macro undeclared_category(units, dimension) -%}
'Z-CFG-037: {{ model_name() }} does not declare this category of {{ dimension }}: '
|| coalesce({{ units }}.{{ dimension }}, 'none at all')
{%- endmacro %}

{#-
  Units with their region, the categories that are declared and what they count for, as a query: reference_period,
  vintage, the columns asked for, region_code, the dimensions, and in_<measure> for every measure.

  Args:
    units: name of a CTE with one row per unit, beside a CTE `placement` (division_year, from_code, to_code).
    columns: columns of the units that come along.
    unplaced: what the query stops with at a unit that is placed in no region, as an SQL text.
    breakdown: dimension (a column of the units) to its categories.
    measures: name of the measure to a condition on `units`.
    is_counted: condition on `units`: a unit that meets it stops the query when its category is not declared; the
      category of another is left out.
-#}
{% macro placed_units(units, columns, unplaced, breakdown, measures, is_counted='true') -%}
select
    units.reference_period,
    units.vintage,
    {%- for column in columns %}
    units.{{ column }},
    {%- endfor %}
    coalesce(placement.to_code, {{ stop_query(unplaced) }}) as region_code
    {%- for dimension, categories in breakdown.items() %},
    case
        when units.{{ dimension }} in ('{{ categories | join("', '") }}') then units.{{ dimension }}
        when {{ is_counted }} then {{ stop_query(undeclared_category('units', dimension)) }}
    end as {{ dimension }}
    {%- endfor %}
    {%- for measure, condition in measures.items() %},
    {{ condition }} as in_{{ measure }}
    {%- endfor %}
from {{ units }} as units
left join placement
    on
        units.division_year = placement.division_year
        and units.municipality_code = placement.from_code
{%- endmacro %}

{#-
  Counts units by municipality and category, in long form: one row per planned pair, covered municipality of
  the geography year, category of every dimension and measure.

  - Units are placed before they are counted, so that a contributor in two merged municipalities is one. A
    municipality moves as a whole: one that was split stops the query (Z-CFG-036), for persons are not divided
    by weights. A code that came into being during the year is known as well.
  - Every covered municipality has all categories, zeros included. A municipality of which a part is in the
    delivery and a part is not is missing; one that is in no row at all is not covered and has no rows. What is
    covered follows from the units, or where these are few from the frame: a unit elsewhere is in no cell.
  - A counted unit in a category that is not declared stops the query (Z-CFG-037): it would be in no cell.

  Args:
    units: name of a CTE with one row per unit, counted or not: reference_period, vintage, division_year (see
      planned_rows), municipality_code, contributor_key and the columns that the other arguments name.
    measures: name of the measure to a condition on `units` that says which it counts; null is not counted.
    breakdown: dimension (a column of the units) to its categories.
    frame: name of a CTE made by municipality_frame; the units themselves when there is none.
-#}
{% macro microdata_cube(units, measures, breakdown={}, frame=none) -%}
{%- set dimensions = breakdown.keys() | list -%}
{%- set is_counted = '(' ~ measures.values() | join(') or (') ~ ')' -%}
select *
from (
    with planned as (
        {{ planned_pairs_query() | indent(8) }}
    ),

    placement as (
        select
            from_year as division_year,
            from_code,
            to_code
        from {{ ref('dim_recast') }}
        where not is_estimated
        union all
        select
            later.from_year - 1 as division_year,
            later.from_code,
            later.to_code
        from {{ ref('dim_recast') }} as later
        inner join {{ ref('municipality_transitions') }} as came
            on
                later.from_code = came.new_code
                and {{ is_within_year('came.valid_from', 'later.from_year - 1') }}
        left join {{ ref('dim_recast') }} as own
            on
                later.from_code = own.from_code
                and later.from_year - 1 = own.from_year
        where
            own.from_code is null
            and not later.is_estimated
        group by later.from_year, later.from_code, later.to_code
    ),

    placed as (
        {{
            placed_units(
                units, ['contributor_key'], unplaced_municipality('units'), breakdown, measures, is_counted
            ) | indent(8)
        }}
    ),

    counts as (
        select
            reference_period,
            vintage,
            region_code
            {%- for dimension in dimensions %},
            {{ dimension }}
            {%- endfor %}
            {%- for measure in measures %},
            count(case when in_{{ measure }} then 1 end) as {{ measure }},
            count(distinct case when in_{{ measure }} then contributor_key end) as {{ measure }}_contributors
            {%- endfor %}
        from placed
        group by {{ (['reference_period', 'vintage', 'region_code'] + dimensions) | join(', ') }}
    ),

    delivered as (
        select distinct
            reference_period,
            vintage,
            division_year,
            municipality_code
        from {{ frame or units }}
    ),

    covered as (
        select
            delivered.reference_period,
            delivered.vintage,
            placement.to_code as region_code,
            count(*) as n_parts
        from delivered
        inner join placement
            on
                delivered.division_year = placement.division_year
                and delivered.municipality_code = placement.from_code
        group by delivered.reference_period, delivered.vintage, placement.to_code
    ),

    -- Municipalities of which the delivery lacks a part; one that ended during the year may be gone already.
    incomplete as (
        select
            looked_at.reference_period,
            looked_at.vintage,
            recast.to_code as region_code
        from (select distinct reference_period, vintage, division_year from delivered) as looked_at
        inner join {{ ref('dim_recast') }} as recast on looked_at.division_year = recast.from_year
        left join {{ ref('municipality_transitions') }} as went
            on
                recast.from_code = went.old_code
                and {{ is_within_year('went.valid_from', 'recast.from_year') }}
        left join delivered
            on
                looked_at.reference_period = delivered.reference_period
                and looked_at.vintage = delivered.vintage
                and recast.from_code = delivered.municipality_code
        where
            delivered.municipality_code is null
            and went.old_code is null
        group by looked_at.reference_period, looked_at.vintage, recast.to_code
    ),

    cells as (
        select
            covered.reference_period,
            covered.vintage,
            covered.region_code,
            covered.n_parts,
            measures.measure
            {%- for dimension in dimensions %},
            {{ dimension }}_categories.{{ dimension }}
            {%- endfor %}
        from covered
        cross join (
            {%- for measure in measures %}
            select '{{ measure }}' as measure
            {%- if not loop.last %}
            union all
            {%- endif -%}
            {%- endfor %}
        ) as measures
        {%- for dimension, categories in breakdown.items() %}
        cross join (
            {%- for category in categories %}
            select '{{ category }}' as {{ dimension }}
            {%- if not loop.last %}
            union all
            {%- endif -%}
            {%- endfor %}
        ) as {{ dimension }}_categories
        {%- endfor %}
    )

    select
        cells.reference_period,
        cells.vintage,
        cells.region_code,
        'municipality' as region_level,
        cast({{ var('geo_year') }} as integer) as geo_year,
        {%- for dimension in dimensions %}
        cells.{{ dimension }},
        {%- endfor %}
        cells.measure,
        case
            when incomplete.region_code is null
                then cast(coalesce(
                    case cells.measure
                        {%- for measure in measures %}
                        when '{{ measure }}' then counts.{{ measure }}
                        {%- endfor %}
                    end, 0
                ) as double)
        end as value,
        case
            when incomplete.region_code is null
                then cast(coalesce(
                    case cells.measure
                        {%- for measure in measures %}
                        when '{{ measure }}' then counts.{{ measure }}_contributors
                        {%- endfor %}
                    end, 0
                ) as bigint)
        end as n_contributors,
        incomplete.region_code is null and planned.is_provisional as is_provisional,
        false as is_estimated,
        cast(cells.n_parts as integer) as n_parts,
        incomplete.region_code is not null as is_missing
    from cells
    inner join planned
        on
            cells.reference_period = planned.reference_period
            and cells.vintage = planned.vintage
    left join incomplete
        on
            cells.reference_period = incomplete.reference_period
            and cells.vintage = incomplete.vintage
            and cells.region_code = incomplete.region_code
    left join counts
        on
            cells.reference_period = counts.reference_period
            and cells.vintage = counts.vintage
            and cells.region_code = counts.region_code
            {%- for dimension in dimensions %}
            and cells.{{ dimension }} = counts.{{ dimension }}
            {%- endfor %}
) as cube
order by {{ (['reference_period', 'vintage', 'measure', 'region_code'] + dimensions) | join(', ') }}
{%- endmacro %}
