-- Households by long-term low income, a count.
-- Below the low-income limit in at least four years running, the year itself included, or not.
with numerator as (
    {{ selected_cells('cube_armoede__long_low_income', 'n_households_known_income', breakdown=['low_income']) }}
)

{{ count_of('numerator', breakdown=['low_income']) }}
