-- Suspects of closed investigations of the year by the municipality of the offence, of those who lived in another
-- one: a person once per municipality of the geography year in which an offence was. Those who lived there
-- themselves are in cube_drugs__suspects_by_offence_place, and only there.
with suspects as (
    {{
        planned_rows(
            'stg_police_suspects__suspects', ['person_key', 'municipality_code', 'offence_municipality_code']
        )
    }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

placement as (
    select
        from_year,
        from_code,
        to_code
    from {{ ref('dim_recast') }}
    where not is_estimated
),

records as (
    select
        suspects.reference_period,
        suspects.vintage,
        suspects.division_year,
        suspects.offence_municipality_code,
        suspects.person_key,
        coalesce(scene.to_code, suspects.offence_municipality_code) as offence_region_code,
        coalesce(home.to_code, suspects.municipality_code) as region_code
    from suspects
    left join placement as home
        on
            suspects.division_year = home.from_year
            and suspects.municipality_code = home.from_code
    left join placement as scene
        on
            suspects.division_year = scene.from_year
            and suspects.offence_municipality_code = scene.from_code
),

units as (
    select
        reference_period,
        vintage,
        division_year,
        -- Parts of one municipality of the geography year; any of them leads there.
        min(offence_municipality_code) as municipality_code,
        person_key as contributor_key
    from records
    where offence_region_code <> region_code
    group by reference_period, vintage, division_year, offence_region_code, person_key
)

{{
    microdata_cube(
        'units',
        measures={'n_suspects_from_elsewhere': 'units.contributor_key is not null'},
        frame='frame'
    )
}}
