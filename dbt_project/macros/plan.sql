{#-
  The plan: what the platform's planner wants computed and shown, handed over as the variable `plan`.

    cubes: {<cube model>: [{reference_period, vintage, deliveries: [{source, id, status, reference_period}]}]}
    marts: {<mart model>: [{reference_period, vintage, known_at, lag_days, cubes: {<cube model>: <vintage>}}]}
    staging: [{source, id, reference_period}]

  `cubes` holds only the pairs to compute now. `marts` holds the pairs that the marts show. A delivery lies
  in the partition of the pair's reference period, unless it names another with `reference_period`
  (a stock on 1 January that serves four quarters). `staging` names deliveries to look at although no cube
  rests on them (yet).

  Everything the plan says enters the SQL as a literal, so that the engine opens the planned files only.
-#}

{#- Name of the model at hand; inside a unit test, of the model under test. -#}
{% macro model_name() -%}
{{ return((model.tested_node_unique_id or model.unique_id).split('.') | last) }}
{%- endmacro %}

{#- The pairs of the cube at hand to compute now, after checking that they can be computed. -#}
{% macro planned_pairs() -%}
{%- set pairs = (var('plan').cubes or {}).get(model_name()) or [] -%}
{%- for pair in pairs -%}
    {%- if (pair.reference_period | string)[:4] | int > var('geo_year') | int -%}
        {{ exceptions.raise_compiler_error(
            "Z-DBT-010: " ~ model_name() ~ " is planned for " ~ pair.reference_period ~ ", later than geography year "
            ~ var('geo_year') ~ ": figures can be recast forward only. Raise geo_year (ZICHT_GEO_YEAR) and add that"
            ~ " year's division to seeds/geography."
        ) }}
    {%- endif -%}
    {%- set seen = [] -%}
    {%- for delivery in pair.deliveries -%}
        {%- set part = [delivery.source, delivery.reference_period, delivery.status] -%}
        {%- if delivery.status not in ['final', 'provisional'] or part in seen -%}
            {{ exceptions.raise_compiler_error(
                "Z-DBT-011: " ~ model_name() ~ " is planned for " ~ pair.reference_period ~ " with delivery "
                ~ delivery.id ~ " as " ~ delivery.status ~ "; a pair takes at most one final and one provisional"
                ~ " delivery of a source and period."
            ) }}
        {%- endif -%}
        {%- do seen.append(part) -%}
    {%- endfor -%}
{%- endfor -%}
{{ return(pairs) }}
{%- endmacro %}

{#- The planned deliveries of one source, for cubes and staging, each once, in order: [{reference_period, id}]. -#}
{% macro planned_deliveries(source_name) -%}
{%- set found = {} -%}
{%- for pairs in (var('plan').cubes or {}).values() -%}
    {%- for pair in pairs -%}
        {%- for delivery in pair.deliveries if delivery.source == source_name -%}
            {%- do found.update({delivery.id: delivery.reference_period or pair.reference_period}) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endfor -%}
{%- for delivery in (var('plan').staging or []) if delivery.source == source_name -%}
    {%- do found.update({delivery.id: delivery.reference_period}) -%}
{%- endfor -%}
{%- set listed = [] -%}
{%- for id in found | sort -%}
    {%- do listed.append({'id': id, 'reference_period': found[id]}) -%}
{%- endfor -%}
{{ return(listed) }}
{%- endmacro %}

{#- The pairs that the mart at hand shows, after checking that each has a vintage of `cube`. -#}
{% macro shown_pairs(cube=none) -%}
{%- set pairs = (var('plan').marts or {}).get(model_name()) or [] -%}
{%- for pair in pairs if cube is not none and cube not in pair.cubes -%}
    {{ exceptions.raise_compiler_error(
        "Z-DBT-012: " ~ model_name() ~ " shows " ~ pair.reference_period ~ " without a vintage of " ~ cube
        ~ "; the plan names it under marts." ~ model_name() ~ "[].cubes."
    ) }}
{%- endfor -%}
{{ return(pairs) }}
{%- endmacro %}
