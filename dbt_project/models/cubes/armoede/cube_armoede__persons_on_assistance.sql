-- Persons who received social assistance in December of the year, in the municipality that they lived in then.
-- Known half a year after the year, where incomes take two. The population register says which municipalities
-- are covered, and makes the periods years.
with benefits as (
    {{ planned_rows('stg_uwv_svb__benefits', ['person_key', 'benefit_type', 'municipality_code']) }}
),

-- Where the benefits have no rows, nobody would seem to receive assistance.
frame as (
    {{ municipality_frame(['stg_brp__persons', 'stg_uwv_svb__benefits']) }}
),

units as (
    select
        {{ unit_columns('person_key') }},
        benefit_type
    from benefits
)

{{
    microdata_cube(
        'units',
        measures={'n_persons_on_assistance': "units.benefit_type = 'participatiewet'"},
        frame='frame'
    )
}}
