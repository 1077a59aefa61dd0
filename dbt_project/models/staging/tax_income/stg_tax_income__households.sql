select
    delivery as delivery_id,
    reference_period,
    {{ text_column('household_key') }},
    {{ text_column('municipality_code') }},
    {{ count_column('n_persons') }},
    {{ count_column('disposable_income_eur') }},
    {{ flag_column('is_low_income') }},
    {{ whole_column('low_income_since_year') }}
from {{ deliveries('tax_income', 'households') }}
