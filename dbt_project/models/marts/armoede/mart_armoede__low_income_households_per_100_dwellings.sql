-- Households with a relatively low income per 100 dwellings.
-- Numerator: households with a relatively low income by the municipal fund's own measure; not the poverty line.
-- Denominator: dwellings, from the same table (households are not in it).
with numerator as (
    {{ selected_cells('cube_open_data__measures', 'n_low_income_households') }}
),

denominator as (
    {{ selected_cells('cube_open_data__measures', 'n_dwellings') }}
)

{{ rate('numerator', 'denominator', per=100) }}
