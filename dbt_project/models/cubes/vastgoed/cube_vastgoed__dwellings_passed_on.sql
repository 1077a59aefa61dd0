-- Dwellings that were transferred five times or more in the twenty years up to the last day of the quarter, as far
-- back as deliveries reach. A gift, an inheritance and each step of a chain on one day are transfers too.
{%- set often = 5 %}
{%- set quarters = planned_pairs() | map(attribute='reference_period') | unique | list %}

with transfers as (
    {{ planned_rows('stg_kadaster__transfers', ['premises_key']) }}
),

rights as (
    {{ planned_rows('stg_kadaster__rights', ['municipality_code']) }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'municipality_code', 'use_code']) }}
),

-- Which municipalities the land registry covers follows from the quarter itself: codes of older ones may be gone.
-- Its name as a literal keeps the engine from opening the rights of all quarters before it.
frame as (
    select distinct
        reference_period,
        vintage,
        division_year,
        municipality_code
    from rights
    where
        delivered_period = reference_period
        and delivered_period in ('{{ quarters | join("', '") }}')
),

passed_on as (
    select
        vintage,
        premises_key
    from transfers
    group by vintage, premises_key
    having count(*) >= {{ often }}
),

units as (
    select
        {{ unit_columns('premises_key', 'premises') }},
        premises.use_code = 'dwelling' as is_dwelling
    from premises
    inner join passed_on
        on
            premises.vintage = passed_on.vintage
            and premises.premises_key = passed_on.premises_key
)

{{ microdata_cube('units', measures={'n_dwellings_passed_on': 'units.is_dwelling'}, frame='frame') }}
