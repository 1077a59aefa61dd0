-- Registrations of suspects in closed investigations, by where they live, by municipality: what was delivered.
{{ coverage_cube('stg_police_suspects__suspects', 'person_key', frame='stg_brp__persons') }}
