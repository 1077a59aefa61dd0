select
    premises as _unit,
    link_key('V', premises) as premises_key,
    code as municipality_code,
    use_code,
    dwelling_type,
    floor_area as floor_area_m2,
    year_built,
    woz_value as woz_value_eur
from premises
