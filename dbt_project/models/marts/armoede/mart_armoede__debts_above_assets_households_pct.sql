-- Households whose debts exceed their assets, as a share of households of which both are known.
-- On 1 January, mortgage and own home included.
with cells as (
    {{ selected_cells('cube_armoede__debts', 'n_households_known_wealth', breakdown=['balance']) }}
),

numerator as (
    select *
    from cells
    where balance = 'debts_above_assets'
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
