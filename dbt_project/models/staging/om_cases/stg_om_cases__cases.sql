select
    delivery as delivery_id,
    reference_period,
    {{ text_column('case_key') }},
    {{ text_column('person_key') }},
    {{ text_column('offence_group') }},
    {{ text_column('disposal_type') }},
    {{ text_column('disposal_label') }},
    {{ text_column('municipality_code') }},
    {{ date_column('disposed_on') }},
    {{ text_column('case_status') }}
from {{ deliveries('om_cases', 'cases') }}
