{#-
  What every mart keeps to: regions of its geography year, no level below the municipality, one geography
  year, flags that fit the value, no negative figure, and a known moment. A mart of microdata has innermost cells
  only: municipalities, a category of every dimension, whole numerators and denominators, and its contributors.

  Args:
    breakdown: the dimensions of a mart of microdata, [] when it has none; nothing for a public mart.
-#}
{% test is_standard_mart(model, breakdown=none) %}

{% call mart_rows_that_break(model) %}
    or mart.region_level not in ('municipality', 'country')
    or mart.is_missing <> (mart.value is null)
    or (mart.is_missing and (mart.is_provisional or mart.is_estimated))
    or mart.numerator < 0
    or mart.denominator < 0
    {%- if breakdown is not none %}
    or mart.region_level <> 'municipality'
    or mart.numerator <> floor(mart.numerator)
    or mart.denominator <> floor(mart.denominator)
    or mart.numerator > mart.denominator
    or (mart.value is not null and mart.n_contributors is null)
    or mart.n_contributors < 0
    {%- for dimension in breakdown %}
    or mart.{{ dimension }} is null
    {%- endfor %}
    {%- endif %}
{% endcall %}

{% endtest %}
