-- Households with social assistance, as a share of households of which the income is known.
-- A member received a benefit under the Participatiewet in December.
with cells as (
    {{ selected_cells('cube_armoede__assistance', 'n_households_known_income', breakdown=['assistance']) }}
),

numerator as (
    select *
    from cells
    where assistance = 'with_assistance'
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
