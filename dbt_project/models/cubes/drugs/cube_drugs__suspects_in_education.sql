-- Suspects of closed investigations of the year who reach an age from 12 to 22 in it and are in the education register
-- of that year, and those of them who left school early in it; by the municipality where they lived when they were
-- last recorded as suspect. A person is one.
with suspects as (
    {{
        planned_rows(
            'stg_police_suspects__suspects', ['case_key', 'person_key', 'municipality_code', 'recorded_on']
        )
    }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'birth_date']) }}
),

enrolments as (
    {{ planned_rows('stg_duo__enrolments', ['person_key', 'is_early_leaver']) }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

records as (
    {{ last_recorded('suspects') }}
),

units as (
    select
        {{ unit_columns('person_key', 'records') }},
        enrolments.is_early_leaver,
        enrolments.person_key is not null
        and {{ age_reached('records.reference_period', 'persons.birth_date') }} between 12 and 22 as is_in_education
    from records
    left join persons
        on
            records.vintage = persons.vintage
            and records.person_key = persons.person_key
    left join enrolments
        on
            records.vintage = enrolments.vintage
            and records.person_key = enrolments.person_key
)

{{
    microdata_cube(
        'units',
        measures={
            'n_suspects_in_education': 'units.is_in_education',
            'n_suspects_early_leavers': 'units.is_in_education and units.is_early_leaver',
        },
        frame='frame'
    )
}}
