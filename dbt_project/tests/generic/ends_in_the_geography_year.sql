{#-
  Both ways: every target is a municipality of the geography year, and every year reaches all of them. Fails
  as well when the geography year has no division in the seeds.
-#}
{% test ends_in_the_geography_year(model) %}

with wanted as (
    select
        years.from_year,
        regions.region_code as to_code
    from {{ ref('dim_regions') }} as regions
    cross join (select distinct from_year from {{ model }}) as years
    where
        regions.region_level = 'municipality'
        and regions.geo_year = {{ var('geo_year') }}
),

reached as (
    select distinct from_year, to_code
    from {{ model }}
)

select
    coalesce(wanted.from_year, reached.from_year) as from_year,
    coalesce(wanted.to_code, reached.to_code) as to_code
from wanted
full outer join reached
    on
        wanted.from_year = reached.from_year
        and wanted.to_code = reached.to_code
where wanted.to_code is null or reached.to_code is null

{% endtest %}
