{%- set measures = [
    'n_registered_crimes',
    'registered_crimes_per_1000_source',
    'n_cleared_crimes',
    'n_suspect_registrations',
] -%}
with delivered as (
    select * from {{ deliveries('cbs_crime', 'crime') }}
),

typed as (
    select
        delivery as delivery_id,
        reference_period,
        trim(SoortMisdrijf) as crime_type_code,
        trim(RegioS) as region_code,
        {{ region_level('trim(RegioS)') }} as region_level,
        cast(TotaalGeregistreerdeMisdrijven_1 as bigint) as n_registered_crimes,
        cast(GeregistreerdeMisdrijvenPer1000Inw_3 as double) as registered_crimes_per_1000_source,
        cast(TotaalOpgehelderdeMisdrijven_4 as bigint) as n_cleared_crimes,
        cast(RegistratiesVanVerdachten_6 as bigint) as n_suspect_registrations
    from delivered
)

{{ without_absent_regions('typed', measures) }}
