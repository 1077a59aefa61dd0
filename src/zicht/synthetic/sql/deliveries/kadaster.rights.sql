-- Who lives there owns it, in equal shares; otherwise the corporation, a person or an entity nearby.
with occupied as (
    select
        person.dwelling as premises, person.code, person.person, person.c, person.household,
        person.ring, person.g, household.n_adults
    from person
    inner join household on household.household = person.household
    where not at_home and stage < 9 and is_owned(person.dwelling)
),

let as (
    select premises.*, head.person as landlord, holder.person as holder
    from premises
    left join head on head.c = premises.c
    left join holder on holder.block = premises.c // 5
    where tenure is null or tenure <> 'owner'
),

empty as (
    select premises.*
    from premises
    where tenure = 'owner' and not exists (
        select 1 from occupied where occupied.premises = premises.premises
    )
),

own as (
    select
        premises, (premises * 2 + if(ring = 2, 1, 0)) * 10 + g % 10 as right_number,
        'person' as owner_kind, link_key('P', person) as owner_key,
        100.0 / n_adults as share_pct, settled_on(c, household) as acquired_on, code
    from occupied
),

from_others as (
    select
        *,
        case
            when tenure = 'corporation' then 'legal_entity'
            when holder is not null and tenure = 'private' then 'person'
            when draw(premises, 'owner') < if(is_dwelling, 0.03, 0.06) then 'unknown'
            when draw(premises, 'owner') < if(is_dwelling, 0.70, 0.40) and landlord is not null then 'person'
            else 'legal_entity'
        end as owner_kind
    from let
),

owned_by as (
    select
        from_others.*,
        -- An entity of the cluster that exists then, or the corporation of the atom.
        case
            when tenure = 'corporation' or firm.entity is null then (atom.first_cluster * 8 + 7) * 64
            else firm.entity
        end as entity
    from from_others
    inner join atom on atom.atom = from_others.atom
    left join (
        select c, min(entity) as entity from entity where dissolved_on is null and j < 4 group by c
    ) as firm on firm.c = from_others.c
),

others as (
    select
        premises, premises * 20 + 9 as right_number, owner_kind,
        case owner_kind
            when 'person' then link_key('P', coalesce(if(tenure = 'private', holder, null), landlord))
            when 'legal_entity' then link_key('E', entity)
        end as owner_key,
        100.0 as share_pct,
        day_in(1975 + pick(premises, 'acquired', 39), draw(premises, 'acquired on')) as acquired_on,
        code
    from owned_by
),

unknown as (
    select
        premises, premises * 20 + 19 as right_number, 'unknown' as owner_kind, null as owner_key,
        100.0 as share_pct, settled_on(c, premises) as acquired_on, code
    from empty
),

every as (
    select * from own
    union all
    select * from others
    union all
    select * from unknown
)

select
    premises as _unit,
    link_key('R', right_number) as right_key,
    link_key('V', premises) as premises_key,
    owner_kind,
    owner_key,
    share_pct,
    acquired_on,
    code as municipality_code
from every
