with pupil as (
    select *, draw(person, 'track') as track
    from person
    where age between 4 and 26
),

placed as (
    select
        *,
        case
            when age <= 11 then 'primary'
            when age <= 15 then if(track < 0.50, 'vmbo', 'havo_vwo')
            when age <= 17 then if(track < 0.50, 'mbo', 'havo_vwo')
            when age <= 21 then if(track < 0.40, 'mbo', if(track > 0.52, 'hbo_wo', null))
            when track < 0.05 then 'mbo'
            when age <= 23 and track > 0.60 or track > 0.85 then 'hbo_wo'
        end as level
    from pupil
)

select
    person as _unit,
    link_key('P', person) as person_key,
    code as municipality_code,
    level,
    age between 13 and 22 and level in ('vmbo', 'mbo', 'havo_vwo')
    and draw(person * 10000 + getvariable('year'), 'leaves early') < getvariable('early_leaver_share')
        as is_early_leaver,
    age >= 18 and (level = 'hbo_wo' or draw(person, 'qualified') < 0.6) as has_basic_qualification
from placed
where level is not null
