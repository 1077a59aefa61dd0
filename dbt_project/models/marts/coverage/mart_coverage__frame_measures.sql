-- What the public source counts: how many units are to be expected.
{{ coverage_frame('cube_open_data__measures', measures=['n_dwellings', 'n_establishments']) }}
