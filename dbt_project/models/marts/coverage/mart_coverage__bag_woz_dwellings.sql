-- Dwellings on 1 January: how many were delivered.
{{ coverage_mart('cube_coverage__bag_woz_dwellings') }}
