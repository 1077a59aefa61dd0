-- Households by whether they owe more than they own on 1 January of the year, mortgage and own home included; in the
-- municipality that the tax office has them in. A household with an unknown amount is not counted.
with households as (
    {{
        planned_rows(
            'stg_tax_wealth__households', ['household_key', 'municipality_code', 'assets_eur', 'debts_eur']
        )
    }}
),

units as (
    select
        {{ unit_columns('household_key') }},
        case
            when debts_eur > assets_eur then 'debts_above_assets'
            when debts_eur <= assets_eur then 'no_debts_above_assets'
        end as balance
    from households
)

{{
    microdata_cube(
        'units',
        measures={'n_households_known_wealth': 'units.balance is not null'},
        breakdown={'balance': ['debts_above_assets', 'no_debts_above_assets']}
    )
}}
