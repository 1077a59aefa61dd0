-- Premises on 1 January by features, and how many of them had a site cleared in the year that began then. Features
-- are as they were before: what a clearing leads to, such as a sale, must not look like what it comes from.
with premises as (
    {{
        planned_rows(
            'stg_bag_woz__premises',
            [
                'premises_key', 'municipality_code', 'use_code', 'dwelling_type', 'floor_area_m2', 'year_built',
                'woz_value_eur',
            ]
        )
    }}
),

rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_kind', 'acquired_on']) }}
),

transfers as (
    {{ planned_rows('stg_kadaster__transfers', ['premises_key']) }}
),

sites as (
    {{ planned_rows('stg_cannabis_sites__sites', ['premises_key']) }}
),

-- Owners at the end of the year before.
owned as (
    select
        vintage,
        premises_key,
        case
            when count(case when owner_kind = 'unknown' then 1 end) > 0 then 'unknown'
            when count(case when owner_kind = 'legal_entity' then 1 end) > 0 then 'legal_entity'
            else 'person'
        end as owner_kind,
        {{ year_of('reference_period') }} - max(extract(year from acquired_on)) as years_ago
    from rights
    where
        {{ year_of('delivered_period') }} = {{ year_of('reference_period') }} - 1
        and substring(delivered_period, 6, 2) = 'Q4'
    group by reference_period, vintage, premises_key
),

passed_on as (
    select
        vintage,
        premises_key,
        count(*) as n_transfers
    from transfers
    where {{ year_of('delivered_period') }} < {{ year_of('reference_period') }}
    group by vintage, premises_key
),

cleared as (
    select distinct
        vintage,
        premises_key
    from sites
    where premises_key is not null
),

units as (
    select
        premises.reference_period,
        premises.vintage,
        premises.division_year,
        premises.municipality_code,
        case
            when premises.use_code = 'dwelling' then premises.dwelling_type
            else premises.use_code
        end as premises_type,
        case
            when premises.floor_area_m2 < 100 then 'below_100_m2'
            when premises.floor_area_m2 < 200 then 'from_100_to_200_m2'
            when premises.floor_area_m2 >= 200 then 'from_200_m2'
        end as floor_area,
        case
            when premises.year_built < 1945 then 'before_1945'
            when premises.year_built <= 1970 then 'from_1945_to_1970'
            when premises.year_built <= 1990 then 'from_1971_to_1990'
            when premises.year_built > 1990 then 'from_1991'
        end as year_built,
        case
            when premises.woz_value_eur < 250000 then 'below_250000_eur'
            when premises.woz_value_eur < 500000 then 'from_250000_to_500000_eur'
            when premises.woz_value_eur >= 500000 then 'from_500000_eur'
            else 'not_valued'
        end as woz_value,
        coalesce(owned.owner_kind, 'unknown') as owner_kind,
        case
            when passed_on.n_transfers >= 2 then 'twice_or_more'
            when passed_on.n_transfers = 1 then 'once'
            else 'none'
        end as n_transfers,
        case
            when owned.years_ago <= 5 then 'within_5_years'
            when owned.years_ago <= 15 then 'from_5_to_15_years'
            when owned.years_ago > 15 then 'longer_ago'
            else 'unknown'
        end as last_transfer,
        cleared.premises_key is not null as has_cleared_site
    from premises
    left join owned
        on
            premises.vintage = owned.vintage
            and premises.premises_key = owned.premises_key
    left join passed_on
        on
            premises.vintage = passed_on.vintage
            and premises.premises_key = passed_on.premises_key
    left join cleared
        on
            premises.vintage = cleared.vintage
            and premises.premises_key = cleared.premises_key
)

{{
    microdata_patterns(
        'units',
        features={
            'premises_type': [
                'detached', 'semi_detached', 'terraced', 'apartment',
                'retail', 'office', 'industry', 'hospitality', 'lodging', 'other',
            ],
            'floor_area': ['below_100_m2', 'from_100_to_200_m2', 'from_200_m2'],
            'year_built': ['before_1945', 'from_1945_to_1970', 'from_1971_to_1990', 'from_1991'],
            'woz_value': ['below_250000_eur', 'from_250000_to_500000_eur', 'from_500000_eur', 'not_valued'],
            'owner_kind': ['person', 'legal_entity', 'unknown'],
            'n_transfers': ['none', 'once', 'twice_or_more'],
            'last_transfer': ['within_5_years', 'from_5_to_15_years', 'longer_ago', 'unknown'],
        },
        measures={'n_units': 'true', 'n_events': 'units.has_cleared_site'}
    )
}}
