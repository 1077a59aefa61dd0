-- Dwellings of households that own two or more, of which income and wealth do not explain the other homes, as a share.
-- Numerator and denominator are true values here; the percentage is made of published cells at the wall.
with cells as (
    {{ selected_cells('cube_vastgoed__multiple_homes', 'n_dwellings', breakdown=['means']) }}
),

numerator as (
    {{ cells_of('cells', {'means': 'not_explained'}) }}
),

denominator as (
    {{ cells_of('cells', {}) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
