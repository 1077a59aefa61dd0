-- Premises and those with a cleared site, by combination of features and safety region: what the profile of
-- features is fitted on, inside the wall. Never published as such.
select
    cells.region_code,
    cells.region_level,
    cells.geo_year,
    shown.reference_period,
    shown.vintage,
    cells.premises_type,
    cells.floor_area,
    cells.year_built,
    cells.woz_value,
    cells.owner_kind,
    cells.n_transfers,
    cells.last_transfer,
    cells.n_units,
    cells.n_events,
    cells.is_provisional,
    shown.known_at,
    shown.lag_days
from {{ ref('cube_vastgoed__premises_features') }} as cells
{{ join_shown_pairs('cube_vastgoed__premises_features') }}
order by
    shown.reference_period,
    cells.region_code,
    cells.premises_type,
    cells.floor_area,
    cells.year_built,
    cells.woz_value,
    cells.owner_kind,
    cells.n_transfers,
    cells.last_transfer
