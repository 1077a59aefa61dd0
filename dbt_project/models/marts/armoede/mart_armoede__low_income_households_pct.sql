-- Households with a low income, as a share of households of which the income is known.
-- Numerator and denominator are true values here; the percentage is made from them at the wall.
with numerator as (
    {{ selected_cells('cube_armoede__low_income', 'n_low_income_households', breakdown=[]) }}
),

denominator as (
    {{ selected_cells('cube_armoede__low_income', 'n_households_known_income', breakdown=[]) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
