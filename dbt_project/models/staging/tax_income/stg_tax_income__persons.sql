select
    delivery as delivery_id,
    reference_period,
    {{ text_column('person_key') }},
    {{ text_column('household_key') }},
    {{ text_column('municipality_code') }},
    {{ count_column('personal_income_eur') }}
from {{ deliveries('tax_income', 'persons') }}
