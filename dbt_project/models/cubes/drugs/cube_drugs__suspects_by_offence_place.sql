-- Suspects of closed investigations of the year who were registered as inhabitants on 1 January, by the
-- municipality where they lived when they were last recorded. A person is one, however many cases: at home when
-- any of the offences was in the municipality where the person lived then, in the division of the geography year.
with suspects as (
    {{
        planned_rows(
            'stg_police_suspects__suspects',
            ['case_key', 'person_key', 'municipality_code', 'offence_municipality_code', 'recorded_on']
        )
    }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'birth_date']) }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

records as (
    {{ last_recorded('suspects') }}
),

located as (
    {{ with_offence_regions('suspects') }}
),

places as (
    select
        vintage,
        person_key,
        max(case when offence_region_code = region_code then 1 else 0 end) as is_ever_at_home
    from located
    group by vintage, person_key
),

units as (
    select
        {{ unit_columns('person_key', 'records') }},
        case when places.is_ever_at_home = 1 then 'own_municipality' else 'elsewhere' end as offence_place,
        -- The age that is reached in the year: that of 31 December.
        case
            when {{ age_reached('records.reference_period', 'persons.birth_date') }} < 18 then 'under_18'
            when {{ age_reached('records.reference_period', 'persons.birth_date') }} < 25 then 'from_18_to_24'
            else 'from_25'
        end as age_group,
        persons.person_key is not null as is_counted
    from records
    inner join places
        on
            records.vintage = places.vintage
            and records.person_key = places.person_key
    left join persons
        on
            records.vintage = persons.vintage
            and records.person_key = persons.person_key
)

{{
    microdata_cube(
        'units',
        measures={'n_suspects': 'units.is_counted'},
        breakdown={
            'offence_place': ['own_municipality', 'elsewhere'],
            'age_group': ['under_18', 'from_18_to_24', 'from_25'],
        },
        frame='frame'
    )
}}
