-- Dwellings that persons bought at a price beyond what their households could spend, as a share of those bought.
-- Numerator and denominator are true values here; the percentage is made of published cells at the wall.
with cells as (
    {{ selected_cells('cube_vastgoed__purchases', 'n_purchases', breakdown=['means']) }}
),

numerator as (
    {{ cells_of('cells', {'means': 'beyond_means'}) }}
),

denominator as (
    {{ cells_of('cells', {}) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
