-- Entities that were dissolved in the quarter, before two years had passed since they were founded, by municipality of
-- the seat and group of legal forms. A dissolved entity stays in the deliveries for two years: it counts once.
with entities as (
    {{
        planned_rows(
            'stg_nhr__legal_entities',
            ['entity_key', 'municipality_code', 'legal_form', 'founded_on', 'dissolved_on']
        )
    }}
),

units as (
    select
        {{ unit_columns('entity_key') }},
        case
            when legal_form in ('bv', 'nv') then 'company'
            when legal_form in ('stichting', 'vereniging') then 'foundation_or_association'
            when legal_form = 'eenmanszaak' then 'sole_trader'
            when legal_form in ('vof', 'other') then 'other'
        end as form_group,
        extract(year from dissolved_on) = {{ year_of('reference_period') }}
        and extract(quarter from dissolved_on) = {{ quarter_of('reference_period') }}
        and dissolved_on < founded_on + interval '2' year as is_counted
    from entities
)

{{
    microdata_cube(
        'units',
        measures={'n_short_lived_entities': 'units.is_counted'},
        breakdown={'form_group': ['company', 'foundation_or_association', 'sole_trader', 'other']}
    )
}}
