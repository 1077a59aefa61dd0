-- Legal persons by legal form and number of directors, a count.
-- Registered and not dissolved on the last day of the quarter, in the municipality of the seat.
with numerator as (
    {{
        selected_cells(
            'cube_rechtspersonen__legal_entities', 'n_legal_entities', breakdown=['legal_form', 'n_directors']
        )
    }}
)

{{ count_of('numerator', breakdown=['legal_form', 'n_directors']) }}
