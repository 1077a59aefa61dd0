-- One scan per benefit: each looks at one draw per person.
with retired as (
    select person, household, code, 'aow' as benefit_type,
        if(draw(person, 'aow alone') < 0.4, 1390, 950) as amount,
        (date_trunc('month', birth_date(person, birth_year) + interval 67 year))::date as since
    from person
    where
        birth_year <= getvariable('year') - 67
        and birth_date(person, birth_year) + interval 67 year <= getvariable('first_day')
),

working as (
    select *
    from person
    where
        birth_year >= getvariable('year') - 67 and birth_year < getvariable('year') - 18
        and birth_date(person, birth_year) + interval 67 year > getvariable('first_day')
),

every as (
    select * from retired
    union all
    select person, household, code, 'ww', 900 + 2300 * draw(person, 'ww amount'),
        make_date(
            (getvariable('month') // 6 * 6 // 12)::integer, (getvariable('month') // 6 * 6 % 12 + 1)::integer, 1
        )
    from working
    where age < 66 and draw(person * 10000 + getvariable('month') // 6, 'ww') < getvariable('ww_share')
    union all
    select person, household, code, 'wia', 800 + 1700 * draw(person, 'wia amount'),
        make_date((getvariable('year') - 1 - pick(person, 'wia year', 6))::integer, 1, 1)
        + pick(person, 'wia day', 365)::integer
    from working
    where age >= 25 and draw(person, 'wia') < getvariable('wia_share') * (age - 20) / 25
    union all
    select person, household, code, 'wajong', 700 + 800 * draw(person, 'wajong amount'),
        (date_trunc('month', birth_date(person, birth_year) + interval 18 year))::date
    from working
    where draw(person, 'wajong') < getvariable('wajong_share')
    union all
    select person, household, code, 'anw', 500 + 900 * draw(person, 'anw amount'),
        make_date((getvariable('year') - 1 - pick(person, 'anw year', 6))::integer, 1, 1)
        + pick(person, 'anw day', 365)::integer
    from working
    where age >= 45 and draw(person, 'anw') < getvariable('anw_share')
    union all
    select person, household, code, 'participatiewet', 700 + 650 * draw(household, 'assistance amount'),
        make_date(poor_since(household, atom, c)::integer, 1, 1)
    from working
    where
        not at_home and stage < 9 and draw(household, 'assistance') < getvariable('assistance_share')
        and poor_since(household, atom, c) is not null
)

select
    person as _unit,
    link_key('P', person) as person_key,
    benefit_type,
    code as municipality_code,
    round(amount * (1 + 0.03 * (getvariable('year') - 2020)), 2) as amount_eur,
    since
from every
