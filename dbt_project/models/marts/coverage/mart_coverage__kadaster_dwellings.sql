-- Dwellings of which the land registry has a right of ownership: how many were delivered.
{{ coverage_mart('cube_coverage__kadaster_dwellings') }}
