-- Children in households with a low income, as a share of children in households of which the income is known.
-- Younger than eighteen on 1 January.
{{
    share_of_cells(
        'cube_armoede__children',
        'n_children_known_income',
        numerator={'household_income': 'low'},
        per=100
    )
}}
