{#-
  The planned pairs of the cube at hand with their deliveries of one source, as a query: reference_period,
  vintage, delivery_id, is_final.
-#}
{% macro planned_deliveries_query(source_name) -%}
{%- set rows = [] -%}
{%- for pair in planned_pairs() -%}
    {%- for delivery in pair.deliveries if delivery.source == source_name -%}
        {%- do rows.append({
            'reference_period': literal(pair.reference_period),
            'vintage': literal(pair.vintage),
            'delivery_id': literal(delivery.id),
            'is_final': 'true' if delivery.status == 'final' else 'false',
        }) -%}
    {%- endfor -%}
{%- endfor -%}
{%- set no_row = {
    'reference_period': 'cast(null as varchar)',
    'vintage': 'cast(null as varchar)',
    'delivery_id': 'cast(null as varchar)',
    'is_final': 'cast(null as boolean)',
} -%}
{{ written_rows(rows, no_row) }}
{%- endmacro %}

{#-
  Recasts a public source to geography year `geo_year`, in long form: one row per planned pair
  (reference_period, vintage), region and measure.

  - Per cell the final figure wins; where there is none the provisional one stands, and the row says so.
  - Municipalities are recast by the weights of dim_recast. A municipality with one missing part is missing:
    a partial sum would pass for a figure. Where a split was involved the value is an estimate.
  - The country passes as published. Other levels are not taken: they follow from the municipalities.
  - A measure that the source fills for no region at all in a period is not covered, and has no rows there.

  Args:
    staging: name of the staging model; its source is the part between `stg_` and `__`.
    measures: additive measures. Rates can not be recast and stay out.
-#}
{% macro recast_public_cube(staging, measures) -%}
{%- set source_name = staging.split('__')[0] | replace('stg_', '') -%}
with planned as (
    {{ planned_deliveries_query(source_name) | indent(4) }}
),

delivered as (
    select
        planned.reference_period,
        planned.vintage,
        planned.is_final,
        {{ year_of('staged.reference_period') }} as figure_year,
        staged.region_code,
        staged.region_level
        {%- for measure in measures %},
        staged.{{ measure }}
        {%- endfor %}
    from {{ ref(staging) }} as staged
    inner join planned on staged.delivery_id = planned.delivery_id
    where staged.region_level in ('municipality', 'country')
),

cells as (
    {%- for measure in measures %}
    select
        reference_period,
        vintage,
        figure_year,
        region_code,
        region_level,
        '{{ measure }}' as measure,
        cast(max({{ measure }}) filter (where is_final) as double) as final_value,
        cast(max({{ measure }}) filter (where not is_final) as double) as provisional_value
    from delivered
    group by reference_period, vintage, figure_year, region_code, region_level
    {%- if not loop.last %}
    union all
    {%- endif -%}
    {%- endfor %}
),

figures as (
    select
        reference_period,
        vintage,
        figure_year,
        region_code,
        region_level,
        measure,
        coalesce(final_value, provisional_value) as value,
        final_value is null and provisional_value is not null as is_provisional
    from cells
    qualify count(coalesce(final_value, provisional_value)) over (
        partition by reference_period, vintage, measure
    ) > 0
),

covered as (
    select distinct reference_period, vintage, figure_year, measure
    from figures
),

-- list_sum over an ordered list: a parallel sum of doubles may differ in the last digit between runs.
recast_municipalities as (
    select
        covered.reference_period,
        covered.vintage,
        recast.to_code as region_code,
        'municipality' as region_level,
        covered.measure,
        case
            when count(figures.value) = count(*)
                then list_sum(list(recast.weight * figures.value order by recast.from_code))
        end as value,
        bool_or(coalesce(figures.is_provisional, false)) as has_provisional_part,
        bool_or(recast.is_estimated) as has_split_part,
        count(*) as n_parts
    from covered
    inner join {{ ref('dim_recast') }} as recast on covered.figure_year = recast.from_year
    left join figures
        on
            covered.reference_period = figures.reference_period
            and covered.vintage = figures.vintage
            and covered.measure = figures.measure
            and recast.from_code = figures.region_code
    group by covered.reference_period, covered.vintage, recast.to_code, covered.measure
    having count(figures.region_code) > 0
),

regions as (
    select * from recast_municipalities
    union all
    select
        reference_period,
        vintage,
        region_code,
        region_level,
        measure,
        value,
        is_provisional as has_provisional_part,
        false as has_split_part,
        1 as n_parts
    from figures
    where region_level = 'country'
)

select
    reference_period,
    vintage,
    region_code,
    region_level,
    cast({{ var('geo_year') }} as integer) as geo_year,
    measure,
    value,
    value is not null and has_provisional_part as is_provisional,
    value is not null and has_split_part as is_estimated,
    cast(n_parts as integer) as n_parts,
    value is null as is_missing
from regions
order by reference_period, vintage, measure, region_code
{%- endmacro %}
