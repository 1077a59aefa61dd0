-- Registered vehicles, by municipality: what was delivered.
{{ coverage_cube('stg_rdw__vehicles', 'vehicle_key') }}
