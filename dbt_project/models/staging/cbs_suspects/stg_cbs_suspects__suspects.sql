{#- Name of ours: name in the table. -#}
{%- set measures = {
    'n_suspects': 'TotaalVerdachtenVanMisdrijven_1',
    'n_suspects_property': 'VerdachtenVanVermogensmisdrijven_2',
    'n_suspects_vandalism': 'VerdachtenVanVernielingEnOpenbOrde_3',
    'n_suspects_violence': 'VerdachtenVanGeweldsmisdrijven_4',
    'n_suspects_traffic': 'VerdachtenVanVerkeersmisdrijven_5',
    'n_suspects_drugs': 'VerdachtenVanDrugsmisdrijven_6',
    'n_suspects_firearms': 'VerdachtenVanVuurWapenmisdrijven_7',
} -%}
with delivered as (
    select * from {{ deliveries('cbs_suspects', 'suspects') }}
),

typed as (
    select
        delivery as delivery_id,
        reference_period,
        trim(Leeftijd) as age_code,
        trim(Geslacht) as sex_code,
        trim(Woongemeente) as region_code,
        {{ region_level('trim(Woongemeente)') }} as region_level
        {%- for measure, column in measures.items() %},
        cast({{ column }} as bigint) as {{ measure }}
        {%- endfor %}
    from delivered
)

{{ without_absent_regions('typed', measures) }}
