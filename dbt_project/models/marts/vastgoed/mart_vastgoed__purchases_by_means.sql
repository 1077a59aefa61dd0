-- Dwellings that persons bought, by whether the price is within what their households could spend.
with numerator as (
    {{ selected_cells('cube_vastgoed__purchases', 'n_purchases', breakdown=['means']) }}
)

{{ count_of('numerator', breakdown=['means']) }}
