-- Dwellings of households that own two or more, of which income and wealth do not explain the other homes, as a share.
{{ share_of_cells('cube_vastgoed__multiple_homes', 'n_dwellings', numerator={'means': 'not_explained'}, per=100) }}
