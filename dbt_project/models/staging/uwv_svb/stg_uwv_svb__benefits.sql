select
    delivery as delivery_id,
    reference_period,
    {{ text_column('person_key') }},
    {{ text_column('benefit_type') }},
    {{ text_column('municipality_code') }},
    {{ amount_column('amount_eur') }},
    {{ date_column('since', 'benefit_since') }}
from {{ deliveries('uwv_svb', 'benefits') }}
