{#-
  Every municipality belongs to the division of its figure's year. One that does not would silently fall out
  when the figures are recast.
-#}
{% test in_division_of_its_year(model) %}

select staged.*
from {{ model }} as staged
left join {{ ref('dim_regions') }} as division
    on
        staged.region_code = division.region_code
        and {{ year_of('staged.reference_period') }} = division.geo_year
where
    staged.region_level = 'municipality'
    and division.region_code is null

{% endtest %}
