-- Households by whether their income lies below the low-income limit of the year, in the municipality that the
-- tax office has them in. A household without a row, or with an unknown income, is in neither count.
with households as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'municipality_code', 'is_low_income']) }}
),

units as (
    select
        {{ unit_columns('household_key') }},
        is_low_income
    from households
)

{{
    microdata_cube(
        'units',
        measures={
            'n_low_income_households': 'units.is_low_income',
            'n_households_known_income': 'units.is_low_income is not null',
        }
    )
}}
