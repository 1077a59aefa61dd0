-- Persons on social assistance, a count.
-- In December of the year, in the municipality that they lived in then.
with numerator as (
    {{ selected_cells('cube_armoede__persons_on_assistance', 'n_persons_on_assistance', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
