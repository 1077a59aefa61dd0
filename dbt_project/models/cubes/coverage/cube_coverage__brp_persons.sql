-- Persons in the population register on 1 January, by municipality: what was delivered.
{{ coverage_cube('stg_brp__persons', 'person_key') }}
