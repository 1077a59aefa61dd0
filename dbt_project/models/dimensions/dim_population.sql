with recast_municipalities as (
    select
        recast.to_code as region_code,
        recast.from_year as reference_year,
        list_sum(list(recast.weight * population.population_1jan order by recast.from_code)) as population_1jan,
        bool_or(recast.is_estimated) as is_estimated
    from {{ ref('dim_recast') }} as recast
    inner join {{ ref('municipality_population') }} as population
        on
            recast.from_year = population.geo_year
            and recast.from_code = population.region_code
    group by recast.to_code, recast.from_year
),

country as (
    select
        region_code,
        geo_year as reference_year,
        population_1jan,
        false as is_estimated
    from {{ ref('dim_regions') }}
    where
        region_level = 'country'
        and geo_year <= {{ var('geo_year') }}
)

select
    region_code,
    reference_year,
    population_1jan,
    is_estimated
from recast_municipalities
union all
select
    region_code,
    reference_year,
    cast(population_1jan as double) as population_1jan,
    is_estimated
from country
order by reference_year, region_code
