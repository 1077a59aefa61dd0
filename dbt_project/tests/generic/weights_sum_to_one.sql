{#- What leaves a municipality arrives: the weights of every old code in every year add up to 1. -#}
{% test weights_sum_to_one(model) %}

select
    from_year,
    from_code,
    sum(weight) as total_weight
from {{ model }}
group by from_year, from_code
having abs(sum(weight) - 1) > 1e-12

{% endtest %}
