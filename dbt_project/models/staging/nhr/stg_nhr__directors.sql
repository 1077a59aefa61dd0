select
    delivery as delivery_id,
    reference_period,
    {{ text_column('entity_key') }},
    {{ text_column('director_key') }},
    {{ text_column('role', 'director_role') }},
    {{ date_column('since', 'director_since') }}
from {{ deliveries('nhr', 'directors') }}
