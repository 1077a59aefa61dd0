-- Suspects of an offence in the municipality who live in another one, a count.
-- A person is one per municipality in which an offence was.
with numerator as (
    {{ selected_cells('cube_drugs__suspects_from_elsewhere', 'n_suspects_from_elsewhere', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
