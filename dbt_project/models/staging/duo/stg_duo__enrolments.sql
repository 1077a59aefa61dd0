select
    delivery as delivery_id,
    reference_period,
    {{ text_column('person_key') }},
    {{ text_column('municipality_code') }},
    {{ text_column('level', 'education_level') }},
    {{ flag_column('is_early_leaver') }},
    {{ flag_column('has_basic_qualification') }}
from {{ deliveries('duo', 'enrolments') }}
