select
    delivery as delivery_id,
    reference_period,
    {{ text_column('household_key') }},
    {{ text_column('dwelling_key') }},
    {{ text_column('municipality_code') }},
    {{ count_column('n_persons') }},
    {{ text_column('household_type') }}
from {{ deliveries('brp', 'households') }}
