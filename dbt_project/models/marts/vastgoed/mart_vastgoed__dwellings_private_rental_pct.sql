-- Dwellings where somebody lives and that belong to neither an inhabitant nor a housing association, as a share of all.
{{ share_of_cells('cube_vastgoed__dwellings', 'n_dwellings', numerator={'tenure': 'private_rental'}, per=100) }}
