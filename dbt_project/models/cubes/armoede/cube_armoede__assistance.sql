-- Households of which the income over the year is known, by whether a member received social assistance in December;
-- in the municipality that the tax office has them in. Of a couple both receive half: one household.
with households as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'municipality_code', 'is_low_income']) }}
),

-- Where the benefits have no rows, nobody would seem to receive assistance.
frame as (
    {{ municipality_frame(['stg_tax_income__households', 'stg_uwv_svb__benefits']) }}
),

assisted as (
    {{ households_with_benefit('participatiewet') }}
),

units as (
    select
        {{ unit_columns('household_key', 'households') }},
        households.is_low_income is not null as has_known_income,
        case when assisted.household_key is null then 'without_assistance' else 'with_assistance' end as assistance
    from households
    left join assisted
        on
            households.vintage = assisted.vintage
            and households.household_key = assisted.household_key
)

{{
    microdata_cube(
        'units',
        measures={'n_households_known_income': 'units.has_known_income'},
        breakdown={'assistance': ['with_assistance', 'without_assistance']},
        frame='frame'
    )
}}
