-- Legal persons that are registered and not dissolved on the last day of the quarter, by municipality of the
-- seat. A dissolved entity stays in the deliveries for two years. Directors are persons: who holds two roles in
-- an entity is one.
with entities as (
    {{ planned_rows('stg_nhr__legal_entities', ['entity_key', 'municipality_code', 'legal_form', 'dissolved_on']) }}
),

boards as (
    {{ entity_boards() }}
),

units as (
    select
        {{ unit_columns('entity_key', 'entities') }},
        entities.legal_form,
        case
            when boards.n_directors is null then 'none'
            when boards.n_directors = 1 then 'one'
            when boards.n_directors = 2 then 'two'
            else 'three_or_more'
        end as n_directors,
        entities.legal_form in ('stichting', 'vereniging', 'bv', 'nv') and entities.dissolved_on is null as is_counted
    from entities
    left join boards
        on
            entities.vintage = boards.vintage
            and entities.entity_key = boards.entity_key
)

{{
    microdata_cube(
        'units',
        measures={'n_legal_entities': 'units.is_counted'},
        breakdown={
            'legal_form': ['stichting', 'vereniging', 'bv', 'nv'],
            'n_directors': ['none', 'one', 'two', 'three_or_more'],
        }
    )
}}
