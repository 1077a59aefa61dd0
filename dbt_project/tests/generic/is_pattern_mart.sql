{#-
  What a mart of patterns keeps to: safety regions of its geography year, whole counts of units and of those with
  an event, and a known moment.

  Args:
    features: the columns with the categories.
-#}
{% test is_pattern_mart(model, features) %}

{% call mart_rows_that_break(model) %}
    or mart.region_level <> 'safety_region'
    or mart.n_units is null
    or mart.n_units < 1
    or mart.n_events is null
    or mart.n_events not between 0 and mart.n_units
    or mart.is_provisional is null
    {%- for feature in features %}
    or mart.{{ feature }} is null
    {%- endfor %}
{% endcall %}

{% endtest %}
