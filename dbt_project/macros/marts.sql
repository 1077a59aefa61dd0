{#-
  The rows of a mart that break a rule: those that any mart keeps to (regions of its geography year, one geography
  year, a vintage and a known moment), or one that the caller adds as `or <condition on mart>`.
-#}
{% macro mart_rows_that_break(model) -%}
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
    or mart.geo_year <> {{ var('geo_year') }}
    or mart.vintage is null
    or mart.known_at is null
    or mart.lag_days is null
    {{- caller() }}
{%- endmacro %}
