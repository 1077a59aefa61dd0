-- Persons and households on 1 January. Variables: year. Tables: atom (atom, code, first_cluster, inhabitants, …).
--
-- A cluster holds three rings of persons. Every ten years a ring has a newborn and everyone in it moves
-- on: child, child, leaving home, three stages of a family, four of old age. So ages stay spread as they
-- are, and a person's number, birth and death follow from the ring and the generation alone.

create or replace temp table cluster as
select
    atom,
    code,
    inhabitants,
    first_cluster,
    first_cluster + unnest(range(least(inhabitants // 16 + 20, room))) as c
from atom
order by atom, c;

create or replace temp table seat as
select atom, code, c, unnest(range(33))::tinyint as seat
from cluster;

create or replace temp table candidate as
with staged as (
    select
        atom, code, c, seat,
        -- Seats 30 to 32 are those of grown children who have not left home yet.
        if(seat >= 30, 2, seat // 3) as stage,
        seat % 3 + 1 as ring,
        seat >= 30 or seat < 6 as at_home,
        (getvariable('year') - 1910 - c % 10) // 10 - if(seat >= 30, 2, seat // 3) as g
    from seat
),

housed as (
    select
        *,
        -- The oldest live with a family that is one generation younger.
        case when at_home then stage + 3 when stage = 9 then 6 else stage end as house_stage,
        family_at(c, if(at_home, stage + 3, stage)) as f
    from staged
),

lined as (
    select
        *,
        if(ring = 2 and not at_home, partner_line(f), f) as lane,
        if(stage = 9, c, f) as house_family,
        case when at_home then g - 3 when stage = 9 then g + 3 else g end as house_g
    from housed
),

born as (
    select
        *,
        person_number(lane, g, ring) as person,
        (1910 + c % 10 + 10 * g + case ring
            when 1 then 0
            when 2 then 1 + pick(lane, 'second born', 4)
            else 3 + pick(lane, 'third born', 5)
        end)::integer as birth_year
    from lined
),

aged as (
    select *, getvariable('year') - 1 - birth_year as age, 18 + pick(person, 'leaves', 6) as leaves
    from born
    where birth_year < getvariable('year')
    and case ring when 1 then has_first(lane) when 2 then has_second(lane) else has_third(lane) end
)

select
    atom, code, c, seat, stage::tinyint as stage, ring::tinyint as ring, at_home, lane, g, person,
    birth_year, age::tinyint as age, leaves::tinyint as leaves,
    house_stage::tinyint as house_stage,
    household_number(house_family, house_g, kind) as household,
    c * 32 + (house_stage - 2) * 3 + case when kind in (0, 3) then 0 when kind = 2 then 2 else 1 end
        as dwelling
from (
    select *,
        case
            when ring = 3 and not at_home and stage < 9 then 2
            when house_stage = 2 and not lives_together_young(house_family) then 2 + ring
            when house_stage between 4 and 8 and is_separated(house_family) and stage < 9 and (
                (at_home and draw(house_family, 'custody') < 0.3) or (not at_home and ring = 2)
            ) then 1
            else 0
        end as kind
    from aged
    where
        age < age_at_death(person)
        and (stage <> 2 or (at_home = (age < leaves)))
) as living;

-- As many clusters as it takes for the inhabitants of the atom; the last one in part.
create or replace temp table filled as
select cluster.*, coalesce(n, 0) as n,
    coalesce(
        sum(coalesce(n, 0)) over (
            partition by cluster.atom order by cluster.c rows between unbounded preceding and 1 preceding
        ), 0
    )::bigint as before
from cluster
left join (select c, count(*) as n from candidate group by c) as counted on counted.c = cluster.c
order by cluster.c;

delete from filled where before >= inhabitants;

create or replace temp table partly as
select candidate.c, candidate.seat
from candidate
inner join filled on filled.c = candidate.c
where filled.before + filled.n > filled.inhabitants
-- Grown-ups come first in the order of seats, so nobody's children are left alone.
qualify row_number() over (
    partition by candidate.c
    order by candidate.at_home, candidate.stage = 9, candidate.stage desc, candidate.ring
) > filled.inhabitants - filled.before;

create or replace temp table person as
select candidate.*
from candidate
inner join filled on filled.c = candidate.c
where not exists (
    select 1 from partly where partly.c = candidate.c and partly.seat = candidate.seat
);

drop table candidate;
drop table seat;

create or replace temp table household as
select
    household,
    count(*) as n_persons,
    count(*) filter (where at_home) as n_children,
    count(*) filter (where not at_home and stage < 9) as n_adults,
    coalesce(min(person) filter (where not at_home and stage < 9), min(person)) as head
from person
group by household;
