-- The home, when it is owned, with its mortgage; and savings. Cents are whole numbers till the end.
with held as (
    select
        person.household, person.code, person.age, holder.household is not null as is_planted,
        poor_since(person.household, person.atom, person.c) is not null as is_poor,
        if(premises.tenure = 'owner', premises.woz_value, 0) as home
    from person
    inner join household on household.household = person.household and household.head = person.person
    left join premises on premises.premises = person.dwelling
    left join holder on holder.household = person.household
),

counted as (
    select
        household, code,
        if(
            is_planted, (50000 * draw(household, 'savings'))::bigint,
            home * 100
            + (exp(9.6 + 1.3 * normal(household, 'savings')) * 100 * if(is_poor, 0.08, 1) * (0.3 + age / 60.0))::bigint
        ) as assets,
        if(
            is_planted, 0,
            (home * 100 * greatest(0, 0.95 - age / 90.0) * (0.6 + 0.5 * draw(household, 'mortgage')))::bigint
            + if(draw(household, 'debt') < 0.3, (exp(8.5 + normal(household, 'debts')) * 100)::bigint, 0)
        ) as debts
    from held
)

select
    household as _unit,
    link_key('H', household) as household_key,
    code as municipality_code,
    assets / 100 as assets_eur,
    debts / 100 as debts_eur,
    (assets - debts) / 100 as wealth_eur
from counted
