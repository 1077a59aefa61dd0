-- Of the suspects of half a year before.
with disposed as (
    select *, case_number(person, getvariable('quarter') - 2) as n
    from person
    where is_suspect(person, birth_year, is_man(lane, g, ring), lane, getvariable('quarter') - 2)
),

typed as (
    select
        *,
        case
            when draw(n, 'disposal') < 0.30 then 'penalty_order'
            when draw(n, 'disposal') < 0.52 then 'community_service'
            when draw(n, 'disposal') < 0.72 then 'conviction'
            when draw(n, 'disposal') < 0.79 then 'acquittal'
            else 'dismissal'
        end as disposal_type
    from disposed
    where draw(n, 'reaches court') < 0.75
)

select
    person as _unit,
    link_key('C', n) as case_key,
    link_key('P', person) as person_key,
    offence(n) as offence_group,
    disposal_type,
    case disposal_type
        when 'penalty_order' then 'Strafbeschikking: geldboete geïnd'
        when 'community_service' then 'Taakstraf, coördinatie reclassering'
        when 'conviction' then 'Schuldigverklaring door één rechter'
        when 'acquittal' then 'Vrijspraak'
        else 'Sepot: geen wettig bewijs of reëel belang'
    end as disposal_label,
    code as municipality_code,
    day_of_period(draw(n, 'disposed')) as disposed_on,
    'disposed' as case_status
from typed
