-- The division of a year is the situation on 1 January. So a transition dated 1 January of a year holds in
-- that year's division, and a later one from the next year's on: what lies between two divisions is every
-- transition dated after the one 1 January and up to the other.
with recursive
transitions as (
    select
        old_code,
        new_code,
        valid_from,
        population_weight / sum(population_weight) over (partition by old_code) as weight
    from {{ ref('municipality_transitions') }}
    where valid_from <= make_date({{ var('geo_year') }}, 1, 1)
),

chain as (
    select
        geo_year as from_year,
        region_code as from_code,
        region_code as to_code,
        cast(1 as double) as weight,
        make_date(geo_year, 1, 1) as reached
    from {{ ref('municipality_population') }}
    where geo_year <= {{ var('geo_year') }}
    union all
    select
        chain.from_year,
        chain.from_code,
        transitions.new_code as to_code,
        chain.weight * transitions.weight as weight,
        transitions.valid_from as reached
    from chain
    inner join transitions
        on
            chain.to_code = transitions.old_code
            and chain.reached < transitions.valid_from
),

ends as (
    select chain.*
    from chain
    left join transitions
        on
            chain.to_code = transitions.old_code
            and chain.reached < transitions.valid_from
    where transitions.old_code is null
),

-- One part may reach the same municipality along two ways.
summed as (
    select
        from_year,
        from_code,
        to_code,
        list_sum(list(weight order by weight)) as weight
    from ends
    group by from_year, from_code, to_code
)

select
    from_year,
    from_code,
    to_code,
    weight / sum(weight) over (partition by from_year, from_code) as weight,
    count(*) over (partition by from_year, from_code) > 1 as is_estimated
from summed
order by from_year, from_code, to_code
