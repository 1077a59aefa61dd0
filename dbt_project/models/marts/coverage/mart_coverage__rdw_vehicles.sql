-- Registered vehicles: how many were delivered.
{{ coverage_mart('cube_coverage__rdw_vehicles') }}
