-- Premises and those with a cleared site, by combination of features and safety region: what the profile of
-- features is fitted on, inside the wall. Never published as such.
select
    patterns.region_code,
    patterns.region_level,
    patterns.geo_year,
    shown.reference_period,
    shown.vintage,
    patterns.premises_type,
    patterns.floor_area,
    patterns.year_built,
    patterns.woz_value,
    patterns.owner_kind,
    patterns.n_transfers,
    patterns.last_transfer,
    patterns.n_units,
    patterns.n_events,
    patterns.is_provisional,
    shown.known_at,
    shown.lag_days
from {{ ref('cube_vastgoed__premises_features') }} as patterns
inner join (
    {{ shown_pairs_query('cube_vastgoed__premises_features') | indent(4) }}
) as shown
    on
        patterns.reference_period = shown.cube_period
        and patterns.vintage = shown.cube_vintage
order by
    shown.reference_period,
    patterns.region_code,
    patterns.premises_type,
    patterns.floor_area,
    patterns.year_built,
    patterns.woz_value,
    patterns.owner_kind,
    patterns.n_transfers,
    patterns.last_transfer
