-- The main one, and of some a second.
select
    entity as _unit,
    link_key('S', if(second, (c * 8 + 7) * 64 + j * 16 + 1 + e % 15, entity)) as establishment_key,
    link_key('E', entity) as entity_key,
    link_key('V', if(second, c * 32 + pick(entity, 'second', 6) * 3, premises)) as premises_key,
    code as municipality_code,
    sbi_code
from (
    select *, unnest(if(j < 4 and draw(entity, 'branch') < 0.12, [false, true], [false])) as second
    from entity
) as branch
