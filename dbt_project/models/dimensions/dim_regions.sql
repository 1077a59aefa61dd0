{%- set parents = ['province_code', 'corop_code', 'safety_region_code', 'landsdeel_code'] -%}
{#- level: the column of the division that carries its code; the country is one group of all. -#}
{%- set levels = {
    'municipality': 'region_code',
    'province': 'province_code',
    'corop': 'corop_code',
    'safety_region': 'safety_region_code',
    'landsdeel': 'landsdeel_code',
    'country': "'NL01'",
} -%}
with municipalities as (
    select
        population.geo_year,
        division.*,
        population.population_1jan
    from {{ ref('municipality_population') }} as population
    inner join {{ ref('municipality_divisions') }} as division
        on
            population.region_code = division.region_code
            and population.geo_year between division.first_year and division.last_year
),

regions as (
    {%- for level, code in levels.items() %}
    select
        geo_year,
        {{ code }} as region_code,
        '{{ level }}' as region_level,
        {%- for parent in parents %}
        case when min({{ parent }}) = max({{ parent }}) then min({{ parent }}) end as {{ parent }},
        {%- endfor %}
        sum(population_1jan) as population_1jan
    from municipalities
    group by all
    {%- if not loop.last %}
    union all
    {%- endif -%}
    {%- endfor %}
)

select
    regions.region_code,
    regions.region_level,
    codes.name,
    regions.geo_year,
    {%- for parent in parents %}
    regions.{{ parent }},
    {%- endfor %}
    cast(regions.population_1jan as bigint) as population_1jan
from regions
left join {{ ref('geography_codes') }} as codes on regions.region_code = codes.region_code
order by regions.geo_year, regions.region_level, regions.region_code
