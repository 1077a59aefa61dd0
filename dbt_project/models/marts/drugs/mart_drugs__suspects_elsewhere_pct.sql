-- Suspects of offences only elsewhere, as a share of all suspects who live in the municipality.
-- Both parts are cells of suspects_by_offence_place, all ages together.
{{
    share_of_cells(
        'cube_drugs__suspects_by_offence_place',
        'n_suspects',
        numerator={'offence_place': 'elsewhere'},
        per=100
    )
}}
