-- Dwellings of households that own two or more, by whether what they earn and hold explains the homes beyond the one
-- that they live in. Explained: the WOZ value of those homes, each for the household's share, is no more than
-- `income_multiple` times the disposable income of the year plus the wealth on 1 January. Whoever owes more than he
-- or she has, or made a loss, has nothing there rather than less. Only households of which both are known.
--
-- By the norms for mortgages a household borrows about five times its gross income, eight times what it has to spend.
-- Half as much again allows for homes that were bought when they cost far less: in doubt a home is explained.
{%- set income_multiple = 12 %}

with rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_key', 'share_pct']) }}
),

frame as (
    {{ municipality_frame('stg_kadaster__rights') }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'municipality_code', 'use_code', 'woz_value_eur']) }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'household_key', 'dwelling_key']) }}
),

incomes as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'disposable_income_eur']) }}
),

wealths as (
    {{ planned_rows('stg_tax_wealth__households', ['household_key', 'wealth_eur']) }}
),

-- Added up before premises come in, so that rights meet persons by their keys and nothing else.
shares as (
    select
        rights.vintage,
        rights.premises_key,
        persons.household_key,
        max(case when persons.dwelling_key = rights.premises_key then 1 else 0 end) as is_lived_in,
        cast(sum(rights.share_pct) as decimal(18, 2)) as share_pct
    from rights
    inner join persons
        on
            rights.vintage = persons.vintage
            and rights.owner_key = persons.person_key
    group by rights.vintage, rights.premises_key, persons.household_key
),

-- One row per household and dwelling that it owns a share of. Values stay in percents of a euro, which are exact.
homes as (
    select
        premises.reference_period,
        premises.vintage,
        premises.division_year,
        premises.municipality_code,
        premises.premises_key,
        shares.household_key,
        shares.is_lived_in,
        shares.share_pct * cast(coalesce(premises.woz_value_eur, 0) as decimal(12, 0)) as value_pct_eur
    from premises
    inner join shares
        on
            premises.vintage = shares.vintage
            and premises.premises_key = shares.premises_key
    where premises.use_code = 'dwelling'
),

held as (
    select
        *,
        count(*) over (partition by vintage, household_key) as n_homes,
        sum(case when is_lived_in = 0 then value_pct_eur else 0 end) over (
            partition by vintage, household_key
        ) as other_homes_pct_eur
    from homes
),

judged as (
    select
        held.reference_period,
        held.vintage,
        held.division_year,
        held.municipality_code,
        held.premises_key,
        held.household_key,
        case
            when
                held.other_homes_pct_eur
                <= 100 * ({{ means_eur('incomes', 'wealths', income_multiple) }})
                then 1
            else 0
        end as is_explained
    from held
    inner join incomes
        on
            held.vintage = incomes.vintage
            and held.household_key = incomes.household_key
    inner join wealths
        on
            held.vintage = wealths.vintage
            and held.household_key = wealths.household_key
    where held.n_homes >= 2
),

-- Two households may own a dwelling together: it is one dwelling, and not explained when one of them is not.
units as (
    select
        reference_period,
        vintage,
        division_year,
        municipality_code,
        premises_key,
        min(household_key) as contributor_key,
        case when min(is_explained) = 1 then 'explained' else 'not_explained' end as means
    from judged
    group by reference_period, vintage, division_year, municipality_code, premises_key
)

{{
    microdata_cube(
        'units',
        measures={'n_dwellings': 'units.premises_key is not null'},
        breakdown={'means': ['explained', 'not_explained']},
        frame='frame'
    )
}}
