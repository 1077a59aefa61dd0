-- Premises that are no dwelling and belong to a legal entity or enterprise, as a share of all.
-- Numerator and denominator are true values here; the percentage is made of published cells at the wall.
with cells as (
    {{ selected_cells('cube_vastgoed__non_residential', 'n_premises', breakdown=['owner_kind']) }}
),

numerator as (
    {{ cells_of('cells', {'owner_kind': 'legal_entity'}) }}
),

denominator as (
    {{ cells_of('cells', {}) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
