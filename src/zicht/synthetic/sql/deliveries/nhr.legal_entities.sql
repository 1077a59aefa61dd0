select
    entity as _unit,
    link_key('E', entity) as entity_key,
    registration_number((c * 8 + j) * 8 + e % 8) as registration_number,
    legal_form,
    sbi_code,
    link_key('V', premises) as premises_key,
    code as municipality_code,
    founded_on,
    dissolved_on
from entity
