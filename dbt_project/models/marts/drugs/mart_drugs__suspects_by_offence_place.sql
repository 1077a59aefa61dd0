-- Suspects of closed investigations by place of the offence and age, a count.
-- In the municipality where they lived when they were last recorded in the year; a person is one.
with numerator as (
    {{
        selected_cells(
            'cube_drugs__suspects_by_offence_place', 'n_suspects', breakdown=['offence_place', 'age_group']
        )
    }}
)

{{ count_of('numerator', breakdown=['offence_place', 'age_group']) }}
