-- Foundations with one director that were founded in the four quarters up to the end of the quarter and stand on
-- its last day, by municipality of the seat, and what may explain their number: other entities founded in those
-- quarters, foundations with another number of directors, and entities in business services.
with entities as (
    {{
        planned_rows(
            'stg_nhr__legal_entities',
            ['entity_key', 'municipality_code', 'legal_form', 'sbi_code', 'founded_on', 'dissolved_on']
        )
    }}
),

boards as (
    {{ entity_boards() }}
),

dated as (
    select
        *,
        extract(year from founded_on) * 12 + extract(month from founded_on) as month_founded,
        {{ year_of('reference_period') }} * 12 + {{ quarter_of('reference_period') }} * 3 as last_month
    from entities
),

units as (
    select
        {{ unit_columns('entity_key', 'dated') }},
        -- Sections K to N of the SBI: finance, real estate, advice, rental and other business services.
        substring(dated.sbi_code, 1, 2) between '64' and '82' as is_business_service,
        dated.legal_form = 'stichting' as is_foundation,
        dated.dissolved_on is null as is_standing,
        dated.legal_form = 'stichting' and coalesce(boards.n_directors, 0) = 1 as is_lone,
        dated.month_founded between dated.last_month - 11 and dated.last_month as is_new
    from dated
    left join boards
        on
            dated.vintage = boards.vintage
            and dated.entity_key = boards.entity_key
)

{{
    microdata_cube(
        'units',
        measures={
            'n_lone_founded': 'units.is_standing and units.is_lone and units.is_new',
            'n_other_founded': 'units.is_standing and not units.is_lone and units.is_new',
            'n_other_foundations': 'units.is_standing and not units.is_lone and units.is_foundation',
            'n_business_services': 'units.is_standing and not units.is_lone and units.is_business_service',
        }
    )
}}
