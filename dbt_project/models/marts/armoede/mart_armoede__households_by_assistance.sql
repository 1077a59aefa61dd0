-- Households with and without social assistance, a count.
-- A member received a benefit under the Participatiewet in December, or nobody did.
with numerator as (
    {{ selected_cells('cube_armoede__assistance', 'n_households_known_income', breakdown=['assistance']) }}
)

{{ count_of('numerator', breakdown=['assistance']) }}
