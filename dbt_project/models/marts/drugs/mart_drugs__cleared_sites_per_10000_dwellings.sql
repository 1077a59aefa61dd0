-- Cleared sites per 10,000 dwellings.
-- Numerator: sites cleared in the year, in the municipality of the site; confidential.
-- Denominator: dwellings of the municipal fund's table of the year, which are public.
with numerator as (
    {{ selected_cells('cube_drugs__cleared_sites', 'n_cleared_sites', breakdown=[]) }}
),

dwellings as (
    {{ selected_cells('cube_open_data__measures', 'n_dwellings') }}
),

denominator as (
    {{ public_denominator('dwellings') }}
)

{{ rate('numerator', 'denominator', per=10000, breakdown=[]) }}
