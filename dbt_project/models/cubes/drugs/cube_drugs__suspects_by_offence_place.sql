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
        suspects.municipality_code,
        suspects.person_key,
        case
            when
                coalesce(scene.to_code, suspects.offence_municipality_code)
                = coalesce(home.to_code, suspects.municipality_code)
                then 1
            else 0
        end as is_at_home,
        row_number() over (
            partition by suspects.vintage, suspects.person_key
            order by suspects.recorded_on desc, suspects.case_key desc
        ) as from_last
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

places as (
    select
        vintage,
        person_key,
        max(is_at_home) as is_ever_at_home
    from records
    group by vintage, person_key
),

units as (
    select
        records.reference_period,
        records.vintage,
        records.division_year,
        records.municipality_code,
        records.person_key as contributor_key,
        case when places.is_ever_at_home = 1 then 'own_municipality' else 'elsewhere' end as offence_place,
        -- The age that is reached in the year: that of 31 December.
        case
            when {{ year_of('records.reference_period') }} - extract(year from persons.birth_date) < 18
                then 'under_18'
            when {{ year_of('records.reference_period') }} - extract(year from persons.birth_date) < 25
                then 'from_18_to_24'
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
    where records.from_last = 1
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
