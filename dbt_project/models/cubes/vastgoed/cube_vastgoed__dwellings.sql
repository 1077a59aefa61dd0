-- Dwellings with a registered right of ownership on the last day of the quarter, by who owns and who lives there.
-- A dwelling is one unit, however many owners share it; the first case that fits decides.
with rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_key']) }}
),

dwellings as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'municipality_code', 'use_code', 'dwelling_type']) }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'dwelling_key']) }}
),

households as (
    {{ planned_rows('stg_brp__households', ['dwelling_key']) }}
),

entities as (
    {{ planned_rows('stg_nhr__legal_entities', ['entity_key', 'legal_form', 'sbi_code']) }}
),

-- By law a housing association is a foundation or an association; the activity (letting of real estate) sets it
-- apart from others that happen to own a dwelling.
housing_associations as (
    select
        vintage,
        entity_key
    from entities
    where
        legal_form in ('stichting', 'vereniging')
        and sbi_code like '6820%'
),

inhabited as (
    select distinct
        vintage,
        dwelling_key
    from households
    where dwelling_key is not null
),

owners as (
    select
        rights.vintage,
        rights.premises_key,
        max(case when rights.owner_key is not null then 1 else 0 end) as has_known_owner,
        max(case when persons.dwelling_key = rights.premises_key then 1 else 0 end) as has_owner_at_home,
        max(case when housing_associations.entity_key is not null then 1 else 0 end) as has_association
    from rights
    left join persons
        on
            rights.vintage = persons.vintage
            and rights.owner_key = persons.person_key
    left join housing_associations
        on
            rights.vintage = housing_associations.vintage
            and rights.owner_key = housing_associations.entity_key
    group by rights.vintage, rights.premises_key
),

units as (
    select
        {{ unit_columns('premises_key', 'dwellings') }},
        dwellings.use_code = 'dwelling' as is_dwelling,
        case
            when owners.has_owner_at_home = 1 then 'owner_occupied'
            when owners.has_association = 1 then 'housing_association'
            when owners.has_known_owner = 0 then 'unknown_owner'
            when inhabited.dwelling_key is not null then 'private_rental'
            else 'not_inhabited'
        end as tenure,
        case when dwellings.dwelling_type = 'apartment' then 'apartment' else 'single_family' end as dwelling_type
    from dwellings
    inner join owners
        on
            dwellings.vintage = owners.vintage
            and dwellings.premises_key = owners.premises_key
    left join inhabited
        on
            dwellings.vintage = inhabited.vintage
            and dwellings.premises_key = inhabited.dwelling_key
)

{{
    microdata_cube(
        'units',
        measures={'n_dwellings': 'units.is_dwelling'},
        breakdown={
            'tenure': ['owner_occupied', 'housing_association', 'private_rental', 'not_inhabited', 'unknown_owner'],
            'dwelling_type': ['single_family', 'apartment'],
        }
    )
}}
