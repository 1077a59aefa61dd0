select
    delivery as delivery_id,
    reference_period,
    {{ text_column('premises_key') }},
    {{ text_column('municipality_code') }},
    {{ text_column('use_code') }},
    {{ text_column('dwelling_type') }},
    {{ whole_column('floor_area_m2') }},
    {{ whole_column('year_built') }},
    {{ count_column('woz_value_eur') }}
from {{ deliveries('bag_woz', 'premises') }}
