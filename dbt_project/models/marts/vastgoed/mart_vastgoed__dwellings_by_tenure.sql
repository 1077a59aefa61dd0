-- Dwellings by who owns them and who lives there, and by kind of dwelling.
with numerator as (
    {{ selected_cells('cube_vastgoed__dwellings', 'n_dwellings', breakdown=['tenure', 'dwelling_type']) }}
)

{{ count_of('numerator', breakdown=['tenure', 'dwelling_type']) }}
