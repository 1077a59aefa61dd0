select
    delivery as delivery_id,
    reference_period,
    {{ text_column('entity_key') }},
    {{ text_column('registration_number', 'registration_number_hash') }},
    {{ text_column('legal_form') }},
    {{ text_column('sbi_code') }},
    {{ text_column('premises_key') }},
    {{ text_column('municipality_code') }},
    {{ date_column('founded_on') }},
    {{ date_column('dissolved_on') }}
from {{ deliveries('nhr', 'legal_entities') }}
