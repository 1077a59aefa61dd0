-- Foundations that are registered and not dissolved on the last day of the quarter, by municipality of the seat, and
-- those of which a director owns two or more dwellings that day. A share in a dwelling is ownership; dwellings are
-- those in use on 1 January of the year, wherever they stand.
{% set least_homes = 2 %}
with entities as (
    {{ planned_rows('stg_nhr__legal_entities', ['entity_key', 'municipality_code', 'legal_form', 'dissolved_on']) }}
),

roles as (
    {{ planned_rows('stg_nhr__directors', ['entity_key', 'director_key']) }}
),

rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_kind', 'owner_key']) }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'use_code']) }}
),

-- Where the land registry has no rows, nobody would seem to own a dwelling.
frame as (
    {{ municipality_frame(['stg_nhr__legal_entities', 'stg_kadaster__rights']) }}
),

owners as (
    select
        rights.vintage,
        rights.owner_key
    from rights
    inner join premises
        on
            rights.vintage = premises.vintage
            and rights.premises_key = premises.premises_key
    where
        rights.owner_kind = 'person'
        and premises.use_code = 'dwelling'
    group by rights.vintage, rights.owner_key
    having count(distinct rights.premises_key) >= {{ least_homes }}
),

boards as (
    select
        roles.vintage,
        roles.entity_key
    from roles
    inner join owners
        on
            roles.vintage = owners.vintage
            and roles.director_key = owners.owner_key
    group by roles.vintage, roles.entity_key
),

units as (
    select
        {{ unit_columns('entity_key', 'entities') }},
        entities.legal_form = 'stichting' and entities.dissolved_on is null as is_foundation,
        boards.entity_key is not null as has_home_owner
    from entities
    left join boards
        on
            entities.vintage = boards.vintage
            and entities.entity_key = boards.entity_key
)

{{
    microdata_cube(
        'units',
        measures={
            'n_foundations_with_home_owner': 'units.is_foundation and units.has_home_owner',
            'n_foundations': 'units.is_foundation',
        },
        frame='frame'
    )
}}
