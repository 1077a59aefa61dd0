-- Households whose debts exceed their assets, as a share of households of which both are known.
-- On 1 January, mortgage and own home included.
{{
    share_of_cells(
        'cube_armoede__debts',
        'n_households_known_wealth',
        numerator={'balance': 'debts_above_assets'},
        per=100
    )
}}
