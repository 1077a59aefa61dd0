-- Dwellings that persons bought at a price beyond what their households could spend, as a share of those bought.
{{ share_of_cells('cube_vastgoed__purchases', 'n_purchases', numerator={'means': 'beyond_means'}, per=100) }}
