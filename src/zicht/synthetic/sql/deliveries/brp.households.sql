select
    person.household as _unit,
    link_key('H', person.household) as household_key,
    link_key('V', dwelling) as dwelling_key,
    code as municipality_code,
    n_persons,
    case
        when n_persons = 1 then 'single'
        when n_adults = 2 and n_children > 0 then 'couple_children'
        when n_adults = 2 then 'couple'
        when n_adults = 1 and n_children > 0 then 'single_parent'
        else 'other'
    end as household_type
from person
inner join household on household.household = person.household and household.head = person.person
