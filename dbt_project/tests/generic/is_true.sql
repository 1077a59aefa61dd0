{#- The expression is true in every row; unknown (null) counts as not true. -#}
{% test is_true(model, expression) %}

select *
from {{ model }}
where ({{ expression }}) is not true

{% endtest %}
