-- Dwellings and other premises on 1 January. Tables: filled (the clusters in use), person. Variables: year.

create or replace temp table premises as
with home as (
    select atom, code, c, stage, family_at(c, stage) as f
    from (select *, unnest(range(2, 9))::integer as stage from filled) as staged
),

-- One home for the family; another for a partner who lives apart, and for the third child once grown up.
homes as (
    select
        *,
        case
            when stage = 2 then not lives_together_young(f) and has_second(partner_line(f))
            when stage = 3 then false
            else is_separated(f)
        end as has_another,
        has_third(f) as has_thirds
    from home
),

place as (
    select atom, code, c, (stage - 2) * 3 + role as place
    from (select *, unnest(range(3))::integer as role from homes) as roles
    where role = 0 or (role = 1 and has_another) or (role = 2 and has_thirds)
    union all
    select atom, code, c, place
    from (select *, unnest(range(24, 28))::integer as place from filled) as others
    where is_other_built(c, place)
),

built as (
    select atom, code, c, place, c * 32 + place as premises
    from place
),

aged as (
    select
        *,
        place < 21 as is_dwelling,
        case
            when draw(premises, 'era') < 0.18 then 1850 + floor(95 * sqrt(draw(premises, 'built')))
            when draw(premises, 'era') < 0.43 then 1945 + pick(premises, 'built', 26)
            when draw(premises, 'era') < 0.72 then 1971 + pick(premises, 'built', 20)
            else 1991 + pick(premises, 'built', 22)
        end::integer as year_built
    from built
),

typed as (
    select
        *,
        -- In the years of rebuilding mostly rows of houses: the type goes with the year, nothing else.
        case
            when not is_dwelling then null
            when year_built between 1945 and 1970 then
                case
                    when draw(premises, 'type') < 0.62 then 'terraced'
                    when draw(premises, 'type') < 0.92 then 'apartment'
                    when draw(premises, 'type') < 0.97 then 'semi_detached'
                    else 'detached'
                end
            when draw(premises, 'type') < 0.36 then 'terraced'
            when draw(premises, 'type') < 0.73 then 'apartment'
            when draw(premises, 'type') < 0.84 then 'semi_detached'
            else 'detached'
        end as dwelling_type,
        case
            when is_dwelling then 'dwelling'
            when draw(premises, 'use') < 0.20 then 'retail'
            when draw(premises, 'use') < 0.38 then 'office'
            when draw(premises, 'use') < 0.64 then 'industry'
            when draw(premises, 'use') < 0.71 then 'hospitality'
            when draw(premises, 'use') < 0.81 then 'lodging'
            else 'other'
        end as use_code
    from aged
),

sized as (
    select
        *,
        greatest(15, least(20000, exp(0.35 * normal(premises, 'area') * if(is_dwelling, 1, 3)) * case
            when dwelling_type = 'apartment' then 75
            when dwelling_type = 'terraced' then 110
            when dwelling_type = 'semi_detached' then 135
            when dwelling_type = 'detached' then 175
            when use_code = 'industry' then 400
            when use_code = 'office' then 220
            else 150
        end))::bigint as floor_area
    from typed
)

select
    premises, atom, code, c, place, is_dwelling, use_code, dwelling_type, floor_area, year_built,
    (
        floor_area * getvariable('woz_per_m2') * (0.7 + 0.6 * draw(atom, 'price level'))
        * if(is_dwelling, 1, 0.5) * exp(0.15 * normal(premises, 'worth')) / 1000
    )::bigint * 1000 as woz_value,
    case
        when not is_dwelling then null
        when is_owned(premises) then 'owner'
        when is_held(c) or draw(premises, 'rent') > getvariable('corporation_share') then 'private'
        else 'corporation'
    end as tenure
from sized;
