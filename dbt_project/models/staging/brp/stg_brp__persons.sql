select
    delivery as delivery_id,
    reference_period,
    {{ text_column('person_key') }},
    {{ text_column('household_key') }},
    {{ text_column('dwelling_key') }},
    {{ text_column('municipality_code') }},
    {{ date_column('birth_date') }},
    {{ text_column('sex') }},
    {{ text_column('position', 'household_position') }},
    {{ date_column('address_since') }}
from {{ deliveries('brp', 'persons') }}
