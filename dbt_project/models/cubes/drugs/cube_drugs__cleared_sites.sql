-- Sites for growing, drying or making drugs that were cleared in the year, by municipality of the site. Two
-- clearings of the same premises are two sites.
with sites as (
    {{ planned_rows('stg_cannabis_sites__sites', ['site_key', 'premises_key', 'municipality_code']) }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

units as (
    select
        {{ unit_columns('coalesce(premises_key, site_key)') }}
    from sites
)

{{
    microdata_cube(
        'units',
        measures={'n_cleared_sites': 'units.contributor_key is not null'},
        frame='frame'
    )
}}
