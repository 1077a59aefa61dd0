select
    delivery as delivery_id,
    reference_period,
    {{ text_column('vehicle_key') }},
    {{ text_column('licence_plate', 'licence_plate_hash') }},
    {{ text_column('owner_kind') }},
    {{ text_column('owner_key') }},
    {{ text_column('owner_registration_number', 'owner_registration_number_hash') }},
    {{ flag_column('is_rental') }},
    {{ date_column('registered_on') }},
    {{ text_column('municipality_code') }}
from {{ deliveries('rdw', 'vehicles') }}
