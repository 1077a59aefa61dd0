-- Cleared sites: how many were delivered.
{{ coverage_mart('cube_coverage__cannabis_sites_sites') }}
