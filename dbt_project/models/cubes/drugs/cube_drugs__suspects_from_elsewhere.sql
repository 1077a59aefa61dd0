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

located as (
    {{ with_offence_regions('suspects') }}
),

units as (
    select
        reference_period,
        vintage,
        division_year,
        -- Parts of one municipality of the geography year; any of them leads there.
        min(offence_municipality_code) as municipality_code,
        person_key as contributor_key
    from located
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
