-- Households with a low income over the year that might have a right to social assistance and have no benefit: nobody
-- in it received any in December, somebody is of working age and nobody of pension age, and wealth is within the asset
-- limit. Among households with a low income of which wealth and ages are known. A right is not established here: the
-- low-income limit lies above the assistance norm, and students and others have none.
{#- The highest state pension age up to 2027: who reached a lower one of an earlier year receives the pension. -#}
{% set pension_age = 67 %}
{#-
  About the asset limits of social assistance in 2023 and 2024 (Participatiewet, article 34: 7,605 and 7,575
  euros, twice that for couples and single parents). One level for all years, so that a change is not one of the limit.
-#}
{% set asset_limit_eur = {'alone': 7500, 'larger': 15000} %}
{% set age = age_reached('persons.reference_period', 'persons.birth_date') %}
with households as (
    {{
        planned_rows(
            'stg_tax_income__households', ['household_key', 'municipality_code', 'n_persons', 'is_low_income']
        )
    }}
),

wealth as (
    {{ planned_rows('stg_tax_wealth__households', ['household_key', 'wealth_eur']) }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['household_key', 'birth_date']) }}
),

-- Where the benefits have no rows, nobody would seem to receive one.
frame as (
    {{ municipality_frame(['stg_tax_income__households', 'stg_uwv_svb__benefits']) }}
),

with_benefit as (
    {{ households_with_benefit() }}
),

-- Ages on 31 December.
aged as (
    select
        persons.vintage,
        persons.household_key,
        count(case when {{ age }} between 18 and {{ pension_age - 1 }} then 1 end) as n_of_working_age,
        count(case when {{ age }} >= {{ pension_age }} then 1 end) as n_of_pension_age
    from persons
    group by persons.vintage, persons.household_key
),

units as (
    select
        {{ unit_columns('household_key', 'households') }},
        households.is_low_income
        and wealth.wealth_eur is not null
        and aged.household_key is not null as is_looked_at,
        with_benefit.household_key is null
        and aged.n_of_working_age > 0
        and aged.n_of_pension_age = 0
        and wealth.wealth_eur <= case
            when households.n_persons = 1 then {{ asset_limit_eur.alone }}
            else {{ asset_limit_eur.larger }}
        end as may_have_right
    from households
    left join wealth
        on
            households.vintage = wealth.vintage
            and households.household_key = wealth.household_key
    left join aged
        on
            households.vintage = aged.vintage
            and households.household_key = aged.household_key
    left join with_benefit
        on
            households.vintage = with_benefit.vintage
            and households.household_key = with_benefit.household_key
)

{{
    microdata_cube(
        'units',
        measures={
            'n_low_income_without_benefit': 'units.is_looked_at and units.may_have_right',
            'n_low_income_households_looked_at': 'units.is_looked_at',
        },
        frame='frame'
    )
}}
