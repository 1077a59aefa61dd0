-- Legal entities at the end of a period. Tables: filled, atom (with foundation_factor). Variables: last_day,
-- growth_from, growth_until.

-- A business centre: other premises of the first of ten clusters, where those around it have their seat.
create or replace temp macro has_centre(c) as
    is_other_built(c // 10 * 10, 24) and draw(c // 10, 'business centre') < getvariable('business_centre_share');

create or replace temp table entity as
with seat as (
    select atom, code, c, first_cluster, inhabitants, unnest(range(8))::integer as j
    from filled
),

-- One after the other in the same seat, with a gap between: founded, alive, dissolved.
turn as (
    select
        *,
        2200 + pick(c * 8 + j, 'turn', 5000) as length,
        getvariable('last_day') - date '1950-01-01' - pick(c * 8 + j, 'phase', 7200) as day
    from seat
    where j < 4 and draw(c * 8 + j, 'entity') < [0.90, 0.80, 0.62, 0.35][j + 1]
),

ordinary as (
    select
        atom, code, c, j, day // length as e,
        getvariable('last_day') - (day % length)::integer as founded_on, length,
        (length * (0.75 + 0.25 * draw((c * 8 + j) * 64 + day // length, 'life')))::integer as life
    from turn
),

-- Between one entity and the next in a seat there may be one that does not last two years. It ends a
-- quarter before the next begins, so that every one is in a delivery of the quarter of its end.
short_lived as (
    select
        atom, code, c, j, e + 36 as e, founded_on + life + 10 as founded_on,
        least(700, ((gap - 110) * (0.3 + 0.7 * draw(c * 8 + j, 'lasted' || e)))::integer) as life
    from (select *, length - life as gap from ordinary) as passed
    where gap > 200 and draw((c * 8 + j) * 64 + e, 'does not last') < getvariable('short_lived_share')
),

-- Where foundations grow beyond explanation: planted. Their seats fill one by one.
grown as (
    select
        seat.atom, seat.code, seat.c, seat.j, 0 as e,
        getvariable('growth_from') + floor(
            (getvariable('growth_until') - getvariable('growth_from'))
            * draw(seat.c * 8 + seat.j, 'grown on')
        )::integer as founded_on,
        null::integer as life
    from seat
    inner join atom on atom.atom = seat.atom
    where
        seat.j between 4 and 6
        and draw(seat.c * 8 + seat.j, 'grown')
        < (atom.foundation_factor - 1) * getvariable('lone_foundations_per_cluster') / 3
),

-- The housing corporation of an atom.
corporation as (
    select atom, code, c, j, 0 as e, date '1951-03-01' + pick(c, 'corporation', 6000)::integer as founded_on,
        null::integer as life
    from seat
    where j = 7 and c = first_cluster
),

every as (
    select * exclude (length) from ordinary
    union all
    select * from short_lived
    union all
    select * from grown
    union all
    select * from corporation
),

numbered as (
    select
        atom, code, c, j, e, founded_on, (c * 8 + j) * 64 + e % 64 as entity,
        if(founded_on + life < getvariable('last_day'), founded_on + life, null) as dissolved_on
    from every
    where founded_on <= getvariable('last_day')
),

formed as (
    select
        *,
        case
            when j >= 4 then 'stichting'
            when draw(entity, 'form') < 0.62 then 'eenmanszaak'
            when draw(entity, 'form') < 0.81 then 'bv'
            when draw(entity, 'form') < 0.87 then 'vof'
            when draw(entity, 'form') < 0.945 then 'stichting'
            when draw(entity, 'form') < 0.99 then 'vereniging'
            when draw(entity, 'form') < 0.991 then 'nv'
            else 'other'
        end as legal_form
    from numbered
    -- Dissolved entities stay in the deliveries for two years.
    where dissolved_on is null or dissolved_on > getvariable('last_day') - 730
)

select
    atom, code, c, j, e, entity, founded_on, dissolved_on, legal_form,
    case
        when j = 7 then '6820'
        when legal_form = 'stichting'
            then ['94996', '8899', '9001', '64303', '8559'][pick(entity, 'activity', 5) + 1]
        when legal_form = 'vereniging' then ['9312', '94993', '9411'][pick(entity, 'activity', 3) + 1]
        when draw(entity, 'phones') < getvariable('phone_shop_share') then '4742'
        else [
            '6201', '4120', '4711', '5610', '7022', '9602', '4791', '4334', '49391', '6420',
            '4520', '8690', '0121', '5630', '7711', '4321', '8121', '5320', '2511', '6831'
        ][pick(entity, 'activity', 20) + 1]
    end as sbi_code,
    -- At an address of business where there is one and the form asks for it, otherwise at home.
    case
        when j < 4 and has_centre(c) and draw(entity, 'at the centre') < 0.7 then c // 10 * 320 + 24
        when legal_form in ('bv', 'nv', 'vof', 'vereniging') and is_other_built(c, 24) then c * 32 + 24
        else c * 32 + pick(entity, 'home', 6) * 3
    end as premises,
    case
        when j = 7 or legal_form in ('vereniging', 'nv') then 3
        when j >= 4 then 1
        when legal_form = 'stichting'
            then if(draw(entity, 'board') < getvariable('lone_director_share'), 1, 3)
        when legal_form = 'vof' then 2
        when legal_form = 'bv' then if(draw(entity, 'board') < 0.7, 1, 2)
        else 1
    end as n_directors
from formed;
