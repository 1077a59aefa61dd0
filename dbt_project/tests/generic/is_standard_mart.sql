{#-
  What every mart keeps to: regions of its geography year, no level below the municipality, one geography
  year, flags that fit the value, no negative figure, and a known moment.
-#}
{% test is_standard_mart(model) %}

select
    mart.*,
    regions.region_code is null as is_unknown_region
from {{ model }} as mart
left join {{ ref('dim_regions') }} as regions
    on
        mart.region_code = regions.region_code
        and mart.region_level = regions.region_level
        and mart.geo_year = regions.geo_year
where
    regions.region_code is null
    or mart.region_level not in ('municipality', 'country')
    or mart.geo_year <> {{ var('geo_year') }}
    or mart.is_missing <> (mart.value is null)
    or (mart.is_missing and (mart.is_provisional or mart.is_estimated))
    or mart.numerator < 0
    or mart.denominator < 0
    or mart.vintage is null
    or mart.known_at is null
    or mart.lag_days is null

{% endtest %}
