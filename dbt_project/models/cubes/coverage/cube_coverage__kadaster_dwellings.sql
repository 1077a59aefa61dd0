-- Dwellings of which the land registry has a right of ownership, by municipality: what was delivered.
-- A right says nothing of the use of the premises: which are dwellings is known from the register of premises of
-- the year. Premises with several owners count once.
with rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'municipality_code']) }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'use_code']) }}
),

owned as (
    select distinct
        reference_period,
        vintage,
        division_year,
        municipality_code,
        premises_key
    from rights
),

units as (
    select
        {{ unit_columns('premises_key', 'owned') }},
        premises.use_code
    from owned
    left join premises
        on
            owned.vintage = premises.vintage
            and owned.premises_key = premises.premises_key
)

{{ microdata_cube('units', measures={'n_delivered': "units.use_code = 'dwelling'"}) }}
