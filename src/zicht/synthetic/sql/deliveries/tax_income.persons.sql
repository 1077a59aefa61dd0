select
    person.household as _unit,
    link_key('P', person.person) as person_key,
    link_key('H', person.household) as household_key,
    person.code as municipality_code,
    person_income(
        person.person, age, person.household, person.atom, person.c, holder.household is not null
    ) as personal_income_eur
from person
left join holder on holder.household = person.household
