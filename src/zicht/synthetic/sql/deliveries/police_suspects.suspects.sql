with suspect as (
    select *, case_number(person, getvariable('quarter')) as n
    from person
    where is_suspect(person, birth_year, is_man(lane, g, ring), lane, getvariable('quarter'))
)

select
    person as _unit,
    link_key('C', n) as case_key,
    link_key('P', person) as person_key,
    offence(n) as offence_group,
    case offence(n)
        when 'property' then ['Diefstal', 'Inbraak in woning', 'Oplichting', 'Heling'][pick(n, 'label', 4) + 1]
        when 'vandalism' then ['Vernieling', 'Beschadiging van geïsoleerd object'][pick(n, 'label', 2) + 1]
        when 'violence' then ['Mishandeling', 'Bedreiging', 'Geweld tegen ambtenaren in functie; één slachtoffer'][
            pick(n, 'label', 3) + 1]
        when 'traffic' then ['Rijden onder invloed', 'Rijden zonder geldig rijbewijs, geïdentificeerd'][
            pick(n, 'label', 2) + 1]
        when 'drugs' then ['Opiumwet: handel in cocaïne', 'Opiumwet: hennepteelt, beëindigd'][pick(n, 'label', 2) + 1]
        when 'firearms' then 'Wet wapens en munitie: categorieën I tot en met III'
        else 'Overige misdrijven, niet gecategoriseerd elders; naar patiënt of cliënt'
    end as offence_label,
    -- Most at home, the rest in another municipality of those that are made.
    if(
        draw(n, 'elsewhere') < 0.70, code,
        getvariable('codes')[pick(n, 'where', len(getvariable('codes'))) + 1]
    ) as offence_municipality_code,
    code as municipality_code,
    day_of_period(draw(n, 'recorded')) as recorded_on,
    'closed_and_sent' as investigation_status
from suspect
