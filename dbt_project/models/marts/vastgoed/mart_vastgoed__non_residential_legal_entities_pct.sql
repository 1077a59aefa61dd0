-- Premises that are no dwelling and belong to a legal entity or enterprise, as a share of all.
{{ share_of_cells('cube_vastgoed__non_residential', 'n_premises', numerator={'owner_kind': 'legal_entity'}, per=100) }}
