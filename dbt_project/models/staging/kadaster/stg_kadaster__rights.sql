select
    delivery as delivery_id,
    reference_period,
    {{ text_column('right_key') }},
    {{ text_column('premises_key') }},
    {{ text_column('owner_kind') }},
    {{ text_column('owner_key') }},
    {{ amount_column('share_pct') }},
    {{ date_column('acquired_on') }},
    {{ text_column('municipality_code') }}
from {{ deliveries('kadaster', 'rights') }}
