-- Dwellings on 1 January, by municipality: what was delivered.
{{
    coverage_cube(
        'stg_bag_woz__premises',
        'premises_key',
        condition="units.use_code = 'dwelling'",
        columns=['use_code']
    )
}}
