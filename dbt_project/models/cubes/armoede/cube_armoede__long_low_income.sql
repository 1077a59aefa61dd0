-- Households by whether their income has lain below the low-income limit in at least four years running, the year
-- itself included; in the municipality that the tax office has them in. An unknown income is not counted.
{% set years_running = 4 %}
with households as (
    {{
        planned_rows(
            'stg_tax_income__households',
            ['household_key', 'municipality_code', 'is_low_income', 'low_income_since_year']
        )
    }}
),

units as (
    select
        {{ unit_columns('household_key') }},
        is_low_income,
        case
            when
                is_low_income
                and {{ year_of('reference_period') }} - low_income_since_year >= {{ years_running - 1 }}
                then 'long_term'
            else 'not_long_term'
        end as low_income
    from households
)

{{
    microdata_cube(
        'units',
        measures={'n_households_known_income': 'units.is_low_income is not null'},
        breakdown={'low_income': ['long_term', 'not_long_term']}
    )
}}
