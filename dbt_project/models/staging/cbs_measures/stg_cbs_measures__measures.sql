{#- Name of ours: name in the table. -#}
{%- set measures = {
    'n_inhabitants': 'InwonersTotaal_1',
    'n_low_income_households': 'HuishoudensMetRelatiefLaagInkomen_21',
    'n_social_assistance': 'TotaalBijstandsuitkeringen_22',
    'n_general_assistance': 'AlgemeneBijstand_23',
    'n_homeless_assistance': 'Adreslozen_27',
    'n_dwellings': 'WoningTotaal_36',
    'n_establishments': 'Bedrijfsvestigingen_69',
} -%}
with delivered as (
    select * from {{ deliveries('cbs_measures', 'measures') }}
),

typed as (
    select
        delivery as delivery_id,
        reference_period,
        trim(StatusCijfer) as status_source,
        trim(RegioS) as region_code,
        {{ region_level('trim(RegioS)') }} as region_level
        {%- for measure, column in measures.items() %},
        cast({{ column }} as bigint) as {{ measure }}
        {%- endfor %}
    from delivered
)

{{ without_absent_regions('typed', measures) }}
