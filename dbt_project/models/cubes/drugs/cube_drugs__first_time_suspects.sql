-- Suspects of closed investigations of the quarter who are 10 to 23 years old on its last day and are in no delivery
-- of the eight quarters before, by the municipality where they lived when they were last recorded. A person is one.
-- Who was not registered as an inhabitant on 1 January has no known age, and is not counted.
with suspects as (
    {{
        planned_rows(
            'stg_police_suspects__suspects', ['case_key', 'person_key', 'municipality_code', 'recorded_on']
        )
    }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'birth_date', 'sex']) }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

earlier as (
    select distinct
        vintage,
        person_key
    from suspects
    where delivered_period <> reference_period
),

records as (
    {{ last_recorded('suspects', 'delivered_period = reference_period') }}
),

units as (
    select
        {{ unit_columns('person_key', 'records') }},
        case persons.sex when '1' then 'men' when '2' then 'women' end as sex,
        earlier.person_key is null as is_first_time,
        -- A quarter ends with a month, so a birthday in that month has been.
        {{ age_reached('records.reference_period', 'persons.birth_date') }}
        - case
            when extract(month from persons.birth_date) > 3 * {{ quarter_of('records.reference_period') }} then 1
            else 0
        end as age
    from records
    left join persons
        on
            records.vintage = persons.vintage
            and records.person_key = persons.person_key
    left join earlier
        on
            records.vintage = earlier.vintage
            and records.person_key = earlier.person_key
)

{{
    microdata_cube(
        'units',
        measures={'n_first_time_suspects': 'units.is_first_time and units.age between 10 and 23'},
        breakdown={'sex': ['men', 'women']},
        frame='frame'
    )
}}
