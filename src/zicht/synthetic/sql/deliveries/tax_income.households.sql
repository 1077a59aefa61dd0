-- Income at the disposal of the household; who has a low income stays below the limit, others above.
with earned as (
    select household, sum(person_income(person, age, household, atom, c, false)) as income
    from person
    group by household
),

limited as (
    select
        person.household, person.code, n_persons, income,
        holder.household is not null as is_planted,
        if(
            holder.household is not null, getvariable('year') - 3, poor_since(person.household, person.atom, person.c)
        ) as since,
        getvariable('low_income_limit') * (0.62 + 0.38 * greatest(n_adults, 1) + 0.21 * n_children) as low_limit
    from person
    inner join household on household.household = person.household and household.head = person.person
    inner join earned on earned.household = person.household
    left join holder on holder.household = person.household
)

select
    household as _unit,
    link_key('H', household) as household_key,
    code as municipality_code,
    n_persons,
    if(
        since is not null, low_limit * (0.55 + 0.44 * draw(household, 'below')),
        greatest(income * 0.72, low_limit * (1.02 + 0.3 * draw(household, 'above')))
    )::bigint as disposable_income_eur,
    since is not null as is_low_income,
    since as low_income_since_year
from limited
