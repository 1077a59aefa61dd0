select
    delivery as delivery_id,
    reference_period,
    {{ text_column('site_key') }},
    {{ text_column('premises_key') }},
    {{ text_column('municipality_code') }},
    {{ text_column('site_kind') }},
    {{ date_column('cleared_on') }},
    {{ count_column('n_plants') }},
    {{ text_column('site_status') }}
from {{ deliveries('cannabis_sites', 'sites') }}
