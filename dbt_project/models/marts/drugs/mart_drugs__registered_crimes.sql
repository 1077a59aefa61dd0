-- Registered crimes, a count.
-- The crimes that the police registered in the year, in the municipality where they were committed.
with numerator as (
    {{ selected_cells('cube_open_data__crime', 'n_registered_crimes') }}
)

{{ count_of('numerator') }}
