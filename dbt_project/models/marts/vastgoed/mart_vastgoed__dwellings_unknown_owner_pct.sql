-- Dwellings of which no owner is known, as a share of all.
{{ share_of_cells('cube_vastgoed__dwellings', 'n_dwellings', numerator={'tenure': 'unknown_owner'}, per=100) }}
