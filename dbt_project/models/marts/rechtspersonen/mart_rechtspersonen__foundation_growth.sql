-- Foundations with one director that were founded in the four quarters up to the end of the quarter, with what
-- may explain their number: inhabitants, other entities founded, other foundations, business services. What
-- is to be expected is fitted inside the wall; here is what it is fitted on, all of it confidential.
with founded as (
    {{ selected_cells('cube_rechtspersonen__foundation_growth', 'n_lone_founded', breakdown=[]) }}
),

observed as (
    select *
    from (
        {{ count_of('founded', breakdown=[]) | indent(8) }}
    ) as counted
),

inhabitants as (
    {{ inhabitants_on_1_january() }}
),

other_founded as (
    {{ selected_cells('cube_rechtspersonen__foundation_growth', 'n_other_founded', breakdown=[]) }}
),

other_foundations as (
    {{ selected_cells('cube_rechtspersonen__foundation_growth', 'n_other_foundations', breakdown=[]) }}
),

business_services as (
    {{ selected_cells('cube_rechtspersonen__foundation_growth', 'n_business_services', breakdown=[]) }}
)

select
    observed.region_code,
    observed.region_level,
    observed.geo_year,
    observed.reference_period,
    observed.vintage,
    observed.numerator,
    observed.denominator,
    observed.value,
    observed.n_contributors,
    inhabitants.value as n_inhabitants,
    other_founded.value as n_other_founded,
    other_foundations.value as n_other_foundations,
    business_services.value as n_business_services,
    observed.is_provisional,
    observed.is_estimated,
    observed.is_missing,
    observed.known_at,
    observed.lag_days
from observed
left join inhabitants
    on
        observed.region_code = inhabitants.region_code
        and observed.reference_period = inhabitants.reference_period
left join other_founded
    on
        observed.region_code = other_founded.region_code
        and observed.reference_period = other_founded.reference_period
left join other_foundations
    on
        observed.region_code = other_foundations.region_code
        and observed.reference_period = other_foundations.reference_period
left join business_services
    on
        observed.region_code = business_services.region_code
        and observed.reference_period = business_services.reference_period
order by observed.reference_period, observed.region_code
