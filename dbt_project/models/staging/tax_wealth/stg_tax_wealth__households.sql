select
    delivery as delivery_id,
    reference_period,
    {{ text_column('household_key') }},
    {{ text_column('municipality_code') }},
    {{ amount_column('assets_eur') }},
    {{ amount_column('debts_eur') }},
    {{ amount_column('wealth_eur') }}
from {{ deliveries('tax_wealth', 'households') }}
