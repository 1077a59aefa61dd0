-- Establishments in four sectors on the last day of the quarter, by municipality of the establishment. Of entities
-- that are not dissolved; an entity with several establishments in a sector is one contributor.
with establishments as (
    {{ planned_rows('stg_nhr__establishments', ['establishment_key', 'entity_key', 'municipality_code', 'sbi_code']) }}
),

entities as (
    {{ planned_rows('stg_nhr__legal_entities', ['entity_key', 'dissolved_on']) }}
),

units as (
    select
        {{ unit_columns('entity_key', 'establishments') }},
        case when entities.dissolved_on is null then establishments.sbi_code end as sbi_code
    from establishments
    inner join entities
        on
            establishments.vintage = entities.vintage
            and establishments.entity_key = entities.entity_key
)

{{
    microdata_cube(
        'units',
        measures={
            'n_car_rental': "substring(units.sbi_code, 1, 4) = '7711'",
            'n_hospitality': "substring(units.sbi_code, 1, 2) = '56'",
            'n_phone_shops': "substring(units.sbi_code, 1, 4) = '4742'",
            'n_hairdressers': "substring(units.sbi_code, 1, 4) = '9602'",
        }
    )
}}
