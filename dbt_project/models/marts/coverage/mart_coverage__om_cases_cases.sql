-- Settled cases, by where the suspect lives: how many were delivered.
{{ coverage_mart('cube_coverage__om_cases_cases') }}
