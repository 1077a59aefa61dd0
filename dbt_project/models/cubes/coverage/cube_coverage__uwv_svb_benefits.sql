-- Benefits paid, by municipality: what was delivered.
{{ coverage_cube('stg_uwv_svb__benefits', 'person_key') }}
