-- Use, area and year of the premises raise the chance, as planted; the type of dwelling does not.
select
    premises as _unit,
    link_key('K', premises * 20 + getvariable('quarter') % 20) as site_key,
    link_key('V', premises) as premises_key,
    code as municipality_code,
    case
        when draw(premises * 10000 + getvariable('quarter'), 'site kind') < 0.90 then 'cultivation'
        when draw(premises * 10000 + getvariable('quarter'), 'site kind') < 0.96 then 'drying'
        else 'synthetic_production'
    end as site_kind,
    day_of_period(draw(premises * 10000 + getvariable('quarter'), 'cleared')) as cleared_on,
    if(
        draw(premises * 10000 + getvariable('quarter'), 'site kind') < 0.90,
        (exp(5.2 + 0.8 * normal(premises * 10000 + getvariable('quarter'), 'plants')))::bigint,
        null
    ) as n_plants,
    'cleared' as site_status
from premises
where
    draw(premises * 10000 + getvariable('quarter'), 'site')
    < getvariable('sites_per_quarter')
    * if(use_code = 'industry', getvariable('odds_industry'), 1)
    * if(floor_area >= 200, getvariable('odds_large'), 1)
    * if(year_built between 1945 and 1970, getvariable('odds_rebuilding'), 1)
