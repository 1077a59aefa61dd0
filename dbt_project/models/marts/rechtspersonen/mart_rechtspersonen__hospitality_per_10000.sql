-- Hospitality: establishments per 10,000 inhabitants.
-- Of entities not dissolved on the last day of the quarter; inhabitants of all ages on 1 January of the year.
with numerator as (
    {{ selected_cells('cube_rechtspersonen__sectors', 'n_hospitality', breakdown=[]) }}
),

inhabitants as (
    {{ inhabitants_on_1_january() }}
),

denominator as (
    select
        region_code,
        reference_period,
        value,
        cast(value as bigint) as n_contributors,
        is_provisional,
        is_estimated
    from inhabitants
)

{{ rate('numerator', 'denominator', per=10000, breakdown=[]) }}
