-- Suspects of offences only elsewhere, as a share of all suspects who live in the municipality.
-- Both parts are cells of suspects_by_offence_place, all ages together.
with suspects as (
    {{
        selected_cells(
            'cube_drugs__suspects_by_offence_place', 'n_suspects', breakdown=['offence_place', 'age_group']
        )
    }}
),

numerator as (
    {{ cells_of('suspects', {'offence_place': 'elsewhere'}) }}
),

denominator as (
    {{ cells_of('suspects', {}) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
