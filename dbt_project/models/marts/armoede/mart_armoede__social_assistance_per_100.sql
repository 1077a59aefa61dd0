-- Social assistance benefits per 100 inhabitants.
-- Numerator: social assistance benefits that the municipality pays, as counted for the municipal fund of the year.
-- Denominator: inhabitants of all ages, from the same table (households are not in it).
with numerator as (
    {{ selected_cells('cube_open_data__measures', 'n_social_assistance') }}
),

denominator as (
    {{ selected_cells('cube_open_data__measures', 'n_inhabitants') }}
)

{{ rate('numerator', 'denominator', per=100) }}
