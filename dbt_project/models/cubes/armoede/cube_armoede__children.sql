-- Children, younger than eighteen on 1 January of the year, by whether the income of their household over that year
-- lies below the low-income limit; in the municipality that the tax office has the household in. A child whose
-- household has no known income is not counted. Income is a trait of the household: that is the contributor.
{% set eighteen_years_before = year_of('households.reference_period') ~ ' - 18' %}
with households as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'municipality_code', 'is_low_income']) }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['household_key', 'birth_date']) }}
),

-- Where the population register has no rows, there would seem to be no children.
frame as (
    {{ municipality_frame(['stg_tax_income__households', 'stg_brp__persons']) }}
),

units as (
    select
        {{ unit_columns('household_key', 'households') }},
        case
            when households.is_low_income then 'low'
            when not households.is_low_income then 'not_low'
        end as household_income,
        extract(year from persons.birth_date) > {{ eighteen_years_before }}
        or ({{ is_within_year('persons.birth_date', eighteen_years_before) }}) as is_child
    from households
    inner join persons
        on
            households.vintage = persons.vintage
            and households.household_key = persons.household_key
)

{{
    microdata_cube(
        'units',
        measures={'n_children_known_income': 'units.is_child and units.household_income is not null'},
        breakdown={'household_income': ['low', 'not_low']},
        frame='frame'
    )
}}
