-- Premises that are no dwelling and have a registered right of ownership on the last day of the quarter, by what the
-- owner is. Premises are one unit, however many owners share them: one legal entity among them makes it theirs.
with rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_kind', 'owner_key']) }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'municipality_code', 'use_code']) }}
),

owners as (
    select
        vintage,
        premises_key,
        max(case when owner_kind = 'legal_entity' and owner_key is not null then 1 else 0 end) as has_entity,
        max(case when owner_kind = 'person' and owner_key is not null then 1 else 0 end) as has_person
    from rights
    group by vintage, premises_key
),

units as (
    select
        {{ unit_columns('premises_key', 'premises') }},
        premises.use_code <> 'dwelling' as is_counted,
        case
            when owners.has_entity = 1 then 'legal_entity'
            when owners.has_person = 1 then 'person'
            else 'unknown_owner'
        end as owner_kind
    from premises
    inner join owners
        on
            premises.vintage = owners.vintage
            and premises.premises_key = owners.premises_key
)

{{
    microdata_cube(
        'units',
        measures={'n_premises': 'units.is_counted'},
        breakdown={'owner_kind': ['legal_entity', 'person', 'unknown_owner']}
    )
}}
