select
    delivery as delivery_id,
    reference_period,
    {{ text_column('case_key') }},
    {{ text_column('person_key') }},
    {{ text_column('offence_group') }},
    {{ text_column('offence_label') }},
    {{ text_column('offence_municipality_code') }},
    {{ text_column('municipality_code') }},
    {{ date_column('recorded_on') }},
    {{ text_column('investigation_status') }}
from {{ deliveries('police_suspects', 'suspects') }}
