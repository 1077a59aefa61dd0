select
    delivery as delivery_id,
    reference_period,
    {{ text_column('transfer_key') }},
    {{ text_column('premises_key') }},
    {{ date_column('transferred_on') }},
    {{ count_column('price_eur') }},
    {{ text_column('municipality_code') }}
from {{ deliveries('kadaster', 'transfers') }}
