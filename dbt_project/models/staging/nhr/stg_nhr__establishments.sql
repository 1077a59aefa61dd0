select
    delivery as delivery_id,
    reference_period,
    {{ text_column('establishment_key') }},
    {{ text_column('entity_key') }},
    {{ text_column('premises_key') }},
    {{ text_column('municipality_code') }},
    {{ text_column('sbi_code') }}
from {{ deliveries('nhr', 'establishments') }}
