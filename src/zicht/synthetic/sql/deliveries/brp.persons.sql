select
    person.household as _unit,
    link_key('P', person.person) as person_key,
    link_key('H', person.household) as household_key,
    link_key('V', dwelling) as dwelling_key,
    code as municipality_code,
    birth_date(person.person, birth_year) as birth_date,
    if(is_man(lane, g, ring), '1', '2') as sex,
    case
        when household.n_persons = 1 then 'single'
        when at_home and household.n_adults = 0 then 'other'
        when at_home then 'child'
        when stage = 9 then 'other'
        when household.n_adults = 2 then 'partner'
        when household.n_children > 0 then 'parent'
        else 'other'
    end as position,
    greatest(
        birth_date(person.person, birth_year),
        if(
            stage = 2 and not at_home,
            day_in(birth_year + leaves, draw(person.person, 'left home')),
            settled_on(c, person.household)
        )
    ) as address_since
from person
inner join household on household.household = person.household
