-- Grown-ups of the cluster, each of another stage of life; who takes the first chair is always there.
with chair as (
    select *, unnest(range(n_directors)) as chair
    from entity
),

seat as (
    select *, 4 + (pick(entity, 'first chair', 4) + chair) % 4 as stage
    from chair
),

seated as (
    select seat.*, coalesce(person.person, if(chair = 0, head.person, null)) as person
    from seat
    left join person on person.c = seat.c and person.stage = seat.stage and person.ring = 1
    left join head on head.c = seat.c
)

select
    entity as _unit,
    link_key('E', entity) as entity_key,
    link_key('P', person) as director_key,
    if(
        legal_form in ('stichting', 'vereniging') and n_directors > 1,
        ['chair', 'treasurer', 'secretary'][min(chair) + 1], 'director'
    ) as role,
    least(
        getvariable('last_day'), greatest(any_value(founded_on), settled_on(any_value(c), entity * 10 + min(chair)))
    ) as since
from seated
where person is not null
group by entity, person, legal_form, n_directors
