-- Foundations with one director, as a share of all foundations.
-- Registered and not dissolved on the last day of the quarter, in the municipality of the seat.
{{
    share_of_cells(
        'cube_rechtspersonen__legal_entities',
        'n_legal_entities',
        numerator={'legal_form': 'stichting', 'n_directors': 'one'},
        denominator={'legal_form': 'stichting'},
        per=100
    )
}}
