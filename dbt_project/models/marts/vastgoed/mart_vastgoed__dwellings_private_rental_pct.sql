-- Dwellings where somebody lives and that belong to neither an inhabitant nor a housing association, as a share of all.
-- Numerator and denominator are true values here; the percentage is made of published cells at the wall.
with cells as (
    {{ selected_cells('cube_vastgoed__dwellings', 'n_dwellings', breakdown=['tenure', 'dwelling_type']) }}
),

numerator as (
    {{ cells_of('cells', {'tenure': 'private_rental'}) }}
),

denominator as (
    {{ cells_of('cells', {}) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
