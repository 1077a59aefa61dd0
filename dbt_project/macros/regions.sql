{#- The level of a CBS region code, from its two letters; null for a code of no known level. -#}
{% macro region_level(code) -%}
case substring({{ code }}, 1, 2)
    when 'GM' then 'municipality'
    when 'NL' then 'country'
    when 'LD' then 'landsdeel'
    when 'PV' then 'province'
    when 'CR' then 'corop'
    when 'VR' then 'safety_region'
end
{%- endmacro %}

{#-
  Leaves out the rows of municipalities that did not exist: a provider lists every code in every year, empty
  where there was no such municipality. A row that has a figure stays, whatever its code.

  Args:
    relation: name of a CTE with region_code, reference_period and the measures.
    measures: the columns that count as a figure.
-#}
{% macro without_absent_regions(relation, measures) -%}
select {{ relation }}.*
from {{ relation }}
left join {{ ref('dim_regions') }} as division
    on
        {{ relation }}.region_code = division.region_code
        and {{ year_of(relation ~ '.reference_period') }} = division.geo_year
where
    division.region_code is not null
    {%- for measure in measures %}
    or {{ relation }}.{{ measure }} is not null
    {%- endfor %}
{%- endmacro %}
