-- Of households and of entities; one follows the other in the same place.
with kept as (
    select
        person.code, person.person, person.birth_year, person.household, person.stage,
        unnest(range(2)) as place
    from person
    inner join household on household.household = person.household and household.head = person.person
),

of_household as (
    select
        code, 'person' as owner_kind, link_key('P', person) as owner_key,
        null as registration, false as is_rental,
        make_date((birth_year + 18)::integer, 1, 1) as not_before,
        (household * 2 + place) as place, 0 as base, household as unit
    from kept
    where
        birth_year <= getvariable('year') - 19
        and draw(household * 2 + place, 'car')
        < if(place = 0, getvariable('first_car_share'), getvariable('second_car_share')) * if(stage = 2, 0.5, 1)
),

of_entity as (
    select *, unnest(range(if(sbi_code = '7711', 8, if(legal_form in ('stichting', 'vereniging'), 1, 2)))) as place
    from entity
    where dissolved_on is null and j < 4
),

of_firm as (
    select
        code, 'legal_entity' as owner_kind, link_key('E', entity) as owner_key,
        registration_number((c * 8 + j) * 8 + e % 8) as registration, sbi_code = '7711' as is_rental,
        founded_on as not_before, (c * 8 + j) * 8 + place as place, 620000000 as base, entity as unit
    from of_entity
    where sbi_code = '7711' or draw(entity * 8 + place, 'van') < 0.22
),

every as (
    select * from of_household
    union all
    select * from of_firm
),

turned as (
    select *, 1800 + pick(place + base, 'car turn', 3000) as length,
        getvariable('last_day') - date '1990-01-01' - pick(place + base, 'car phase', 4800) as day
    from every
),

numbered as (
    select
        *,
        base + place * if(base = 0, 3, 4) + (day // length) % if(base = 0, 3, 4) as vehicle,
        greatest(not_before, getvariable('last_day') - (day % length)::integer) as registered_on
    from turned
)

select
    unit as _unit,
    link_key('A', vehicle) as vehicle_key,
    licence_plate(vehicle) as licence_plate,
    owner_kind,
    owner_key,
    registration as owner_registration_number,
    is_rental,
    registered_on,
    code as municipality_code
from numbered
