-- Children in households with a low income, as a share of children in households of which the income is known.
-- Younger than eighteen on 1 January.
with cells as (
    {{ selected_cells('cube_armoede__children', 'n_children_known_income', breakdown=['household_income']) }}
),

numerator as (
    select *
    from cells
    where household_income = 'low'
),

-- Every unit is in one cell, so contributors add up like units.
denominator as (
    select
        region_code,
        reference_period,
        sum(value) as value,
        cast(sum(n_contributors) as bigint) as n_contributors,
        max(is_provisional) as is_provisional,
        false as is_estimated
    from cells
    group by region_code, reference_period
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
