{#- Every code ends on one day, and what its successors receive adds up to the whole, but for rounding. -#}
{% test ends_once(model) %}

select
    old_code,
    count(distinct valid_from) as n_days,
    sum(population_weight) as total_weight
from {{ model }}
group by old_code
having
    count(distinct valid_from) > 1
    or abs(sum(population_weight) - 1) > 0.005

{% endtest %}
