-- Enrolments in education, by municipality: what was delivered.
{{ coverage_cube('stg_duo__enrolments', 'person_key') }}
