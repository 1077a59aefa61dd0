-- Premises that are no dwelling, by what the owner is.
with numerator as (
    {{ selected_cells('cube_vastgoed__non_residential', 'n_premises', breakdown=['owner_kind']) }}
)

{{ count_of('numerator', breakdown=['owner_kind']) }}
