-- Children by whether their household has a low income, a count.
-- Younger than eighteen on 1 January; below the low-income limit of the year, or not.
with numerator as (
    {{ selected_cells('cube_armoede__children', 'n_children_known_income', breakdown=['household_income']) }}
)

{{ count_of('numerator', breakdown=['household_income']) }}
