-- Households by whether their debts exceed their assets, a count.
-- On 1 January, mortgage and own home included.
with numerator as (
    {{ selected_cells('cube_armoede__debts', 'n_households_known_wealth', breakdown=['balance']) }}
)

{{ count_of('numerator', breakdown=['balance']) }}
