-- Households with social assistance, as a share of households of which the income is known.
-- A member received a benefit under the Participatiewet in December.
{{
    share_of_cells(
        'cube_armoede__assistance',
        'n_households_known_income',
        numerator={'assistance': 'with_assistance'},
        per=100
    )
}}
