-- Premises where ten or more entities have their seat on the last day of the quarter, dissolved ones left out, by
-- municipality. A seat at an address that is no premises is not counted.
{% set least_entities = 10 %}
with entities as (
    {{ planned_rows('stg_nhr__legal_entities', ['entity_key', 'premises_key', 'municipality_code', 'dissolved_on']) }}
),

units as (
    select
        {{ unit_columns('premises_key') }},
        premises_key is not null
        and count(case when dissolved_on is null then 1 end) >= {{ least_entities }} as is_counted
    from entities
    group by reference_period, vintage, division_year, municipality_code, premises_key
)

{{ microdata_cube('units', measures={'n_shared_addresses': 'units.is_counted'}) }}
