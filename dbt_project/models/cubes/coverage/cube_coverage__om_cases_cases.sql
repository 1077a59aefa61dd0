-- Settled cases, by where the suspect lives, by municipality: what was delivered.
{{ coverage_cube('stg_om_cases__cases', 'person_key', frame='stg_brp__persons') }}
