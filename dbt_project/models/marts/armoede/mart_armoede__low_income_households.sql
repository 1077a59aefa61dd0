-- Households with a low income, a count.
-- Below the low-income limit of Statistics Netherlands for the year, in the municipality of the household.
with numerator as (
    {{ selected_cells('cube_armoede__low_income', 'n_low_income_households', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
