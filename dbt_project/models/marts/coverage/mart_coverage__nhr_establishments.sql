-- Establishments in the trade register: how many were delivered.
{{ coverage_mart('cube_coverage__nhr_establishments') }}
