{#-
  Units of the registers: what several cubes have to know of a person, household or entity before it is counted.
  Queries for a CTE, and expressions. No SQL here belongs to one engine.
-#}

{#-
  The columns that every unit of microdata_cube has: reference_period, vintage, division_year, municipality_code
  and contributor_key.

  Args:
    contributor: column with the contributor.
    relation: CTE to take them from; needed where there are several.
-#}
{% macro unit_columns(contributor, relation=none) -%}
{%- set prefix = relation ~ '.' if relation is not none else '' -%}
{{ prefix }}reference_period,
{{ prefix }}vintage,
{{ prefix }}division_year,
{{ prefix }}municipality_code,
{{ prefix }}{{ contributor }} as contributor_key
{%- endmacro %}

{#- The age that a person reaches in the year of a reference period: that of 31 December. An expression. -#}
{% macro age_reached(reference_period, birth_date) -%}
{{ year_of(reference_period) }} - extract(year from {{ birth_date }})
{%- endmacro %}

{#-
  Households, as the tax office forms them, of which a member received a benefit, each once: vintage,
  household_key. Rests on stg_tax_income__persons and stg_uwv_svb__benefits.

  Args:
    benefit_type: only this type of benefit; any when omitted.
-#}
{% macro households_with_benefit(benefit_type=none) -%}
select
    members.vintage,
    members.household_key
from (
    {{ planned_rows('stg_tax_income__persons', ['person_key', 'household_key']) | indent(4) }}
) as members
inner join (
    {{ planned_rows('stg_uwv_svb__benefits', ['person_key', 'benefit_type']) | indent(4) }}
) as benefits
    on
        members.vintage = benefits.vintage
        and members.person_key = benefits.person_key
{%- if benefit_type is not none %}
where benefits.benefit_type = {{ literal(benefit_type) }}
{%- endif %}
group by members.vintage, members.household_key
{%- endmacro %}

{#-
  What a household could spend, in euros: a multiple of what it has to spend in a year, plus its wealth. Whoever owes
  more than he or she has, or made a loss, has nothing there rather than less. An expression.

  Args:
    incomes: relation with disposable_income_eur.
    wealths: relation with wealth_eur.
    income_multiple: factor on the income.
-#}
{% macro means_eur(incomes, wealths, income_multiple) -%}
{{ income_multiple }} * greatest({{ incomes }}.disposable_income_eur, 0) + greatest({{ wealths }}.wealth_eur, 0)
{%- endmacro %}

{#-
  The number of directors of entities that have any: vintage, entity_key, n_directors. Directors are persons: who
  holds two roles in an entity is one. Rests on stg_nhr__directors.
-#}
{% macro entity_boards() -%}
select
    roles.vintage,
    roles.entity_key,
    count(distinct roles.director_key) as n_directors
from (
    {{ planned_rows('stg_nhr__directors', ['entity_key', 'director_key']) | indent(4) }}
) as roles
group by roles.vintage, roles.entity_key
{%- endmacro %}

{#-
  Suspects as they were last recorded, each person once per vintage: reference_period, vintage, division_year,
  municipality_code (where the person lived then), person_key.

  Args:
    suspects: name of a CTE of rows of stg_police_suspects__suspects, with these columns, case_key and recorded_on.
    condition: which rows are looked at; all when omitted.
-#}
{% macro last_recorded(suspects, condition=none) -%}
select
    reference_period,
    vintage,
    division_year,
    municipality_code,
    person_key
from (
    select
        *,
        row_number() over (
            partition by vintage, person_key
            order by recorded_on desc, case_key desc
        ) as from_last
    from {{ suspects }}
    {%- if condition is not none %}
    where {{ condition }}
    {%- endif %}
) as numbered
where from_last = 1
{%- endmacro %}

{#-
  Rows of suspects with the municipalities of the geography year: their own columns, region_code (of where the person
  lived) and offence_region_code. A code without one successor stays as it is.

  Args:
    suspects: name of a CTE with division_year, municipality_code and offence_municipality_code.
-#}
{% macro with_offence_regions(suspects) -%}
select
    suspects.*,
    coalesce(home.to_code, suspects.municipality_code) as region_code,
    coalesce(scene.to_code, suspects.offence_municipality_code) as offence_region_code
from {{ suspects }} as suspects
left join {{ ref('dim_recast') }} as home
    on
        suspects.division_year = home.from_year
        and suspects.municipality_code = home.from_code
        and not home.is_estimated
left join {{ ref('dim_recast') }} as scene
    on
        suspects.division_year = scene.from_year
        and suspects.offence_municipality_code = scene.from_code
        and not scene.is_estimated
{%- endmacro %}
