{{
    recast_public_cube(
        'stg_cbs_crime__crime',
        measures=['n_registered_crimes', 'n_cleared_crimes', 'n_suspect_registrations']
    )
}}
