-- Tables: person. Variables: held_share.

-- Of every cluster someone who can own or direct what is there.
create or replace temp table head as
select
    c,
    coalesce(
        min(person) filter (where stage between 4 and 7 and not at_home),
        min(person) filter (where not at_home)
    ) as person
from person
group by c
having person is not null;

-- Households that own the rented homes of five clusters and have no means: planted.
create or replace temp table holder as
select person.person, person.household, person.code, person.c // 5 as block
from head
inner join person on person.person = head.person
where head.c % 5 = 0 and is_held(head.c);
