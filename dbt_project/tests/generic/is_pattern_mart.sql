{#-
  What a mart of patterns keeps to: safety regions of its geography year, whole counts of units and of those with
  an event, and a known moment.

  Args:
    features: the columns with the categories.
-#}
{% test is_pattern_mart(model, features) %}

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
    or mart.region_level <> 'safety_region'
    or mart.geo_year <> {{ var('geo_year') }}
    or mart.n_units is null
    or mart.n_units < 1
    or mart.n_events is null
    or mart.n_events not between 0 and mart.n_units
    or mart.is_provisional is null
    or mart.vintage is null
    or mart.known_at is null
    or mart.lag_days is null
    {%- for feature in features %}
    or mart.{{ feature }} is null
    {%- endfor %}

{% endtest %}
