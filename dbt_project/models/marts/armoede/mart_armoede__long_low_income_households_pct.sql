-- Households with a long-term low income, as a share of households of which the income is known.
-- Below the low-income limit in at least four years running, the year itself included.
with cells as (
    {{ selected_cells('cube_armoede__long_low_income', 'n_households_known_income', breakdown=['low_income']) }}
),

numerator as (
    select *
    from cells
    where low_income = 'long_term'
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
