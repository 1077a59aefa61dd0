-- Households of which the income over the year is known, by whether a member received social assistance in December;
-- in the municipality that the tax office has them in. Of a couple both receive half: one household.
with households as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'municipality_code', 'is_low_income']) }}
),

members as (
    {{ planned_rows('stg_tax_income__persons', ['person_key', 'household_key']) }}
),

benefits as (
    {{ planned_rows('stg_uwv_svb__benefits', ['person_key', 'benefit_type']) }}
),

taxed as (
    {{ municipality_frame('stg_tax_income__households') }}
),

paid_to as (
    {{ municipality_frame('stg_uwv_svb__benefits') }}
),

-- Where the benefits have no rows, nobody would seem to receive assistance.
frame as (
    select
        taxed.reference_period,
        taxed.vintage,
        taxed.division_year,
        taxed.municipality_code
    from taxed
    inner join paid_to
        on
            taxed.vintage = paid_to.vintage
            and taxed.municipality_code = paid_to.municipality_code
),

assisted as (
    select
        members.vintage,
        members.household_key
    from members
    inner join benefits
        on
            members.vintage = benefits.vintage
            and members.person_key = benefits.person_key
    where benefits.benefit_type = 'participatiewet'
    group by members.vintage, members.household_key
),

units as (
    select
        households.reference_period,
        households.vintage,
        households.division_year,
        households.municipality_code,
        households.household_key as contributor_key,
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
