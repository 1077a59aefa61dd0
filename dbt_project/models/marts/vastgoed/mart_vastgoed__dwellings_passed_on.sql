-- Dwellings that were transferred five times or more in the twenty years up to the last day of the quarter.
with numerator as (
    {{ selected_cells('cube_vastgoed__dwellings_passed_on', 'n_dwellings_passed_on', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
