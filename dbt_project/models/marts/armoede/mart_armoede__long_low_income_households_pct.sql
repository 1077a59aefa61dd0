-- Households with a long-term low income, as a share of households of which the income is known.
-- Below the low-income limit in at least four years running, the year itself included.
{{
    share_of_cells(
        'cube_armoede__long_low_income',
        'n_households_known_income',
        numerator={'low_income': 'long_term'},
        per=100
    )
}}
