-- Low income without any benefit, as a share of households with a low income: possible non-take-up.
-- Nobody of pension age, somebody of working age, wealth within the asset limit of social assistance.
with numerator as (
    {{ selected_cells('cube_armoede__low_income_without_benefit', 'n_low_income_without_benefit', breakdown=[]) }}
),

denominator as (
    {{ selected_cells('cube_armoede__low_income_without_benefit', 'n_low_income_households_looked_at', breakdown=[]) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
