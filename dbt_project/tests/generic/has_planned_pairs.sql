{#- Every pair that the plan has for this cube is in it: a pair without rows would be computed for ever. -#}
{% test has_planned_pairs(model) %}

{%- set pairs = (var('plan').cubes or {}).get(model.identifier) or [] -%}
select planned.*
from (
    {%- for pair in pairs %}
    select {{ literal(pair.reference_period) }} as reference_period, {{ literal(pair.vintage) }} as vintage
    {%- if not loop.last %}
    union all
    {%- endif -%}
    {%- else %}
    select cast(null as varchar) as reference_period, cast(null as varchar) as vintage
    where false
    {%- endfor %}
) as planned
left join {{ model }} as cube
    on
        planned.reference_period = cube.reference_period
        and planned.vintage = cube.vintage
where cube.vintage is null

{% endtest %}
