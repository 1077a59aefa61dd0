-- Dwellings of households that own two or more, by whether income and wealth explain the homes they do not live in.
with numerator as (
    {{ selected_cells('cube_vastgoed__multiple_homes', 'n_dwellings', breakdown=['means']) }}
)

{{ count_of('numerator', breakdown=['means']) }}
