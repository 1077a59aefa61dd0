-- Persons in the population register on 1 January: how many were delivered.
{{ coverage_mart('cube_coverage__brp_persons') }}
