-- Dwellings that persons bought in the year, by whether the price is within what their households could spend:
-- `income_multiple` times the disposable income of the year plus the wealth on 1 January of all households that own
-- the dwelling at the end of the year, who are taken for the buyers of its last transfer. Not counted: a last
-- transfer without a price (gift, inheritance, exchange), dwellings that a legal entity or somebody unknown owns a
-- share of, and those of which the income or the wealth of one of the households is not known.
--
-- By the norms for mortgages a household borrows about five times its gross income, eight times what it has to spend.
{%- set income_multiple = 8 %}

with transfers as (
    {{ planned_rows('stg_kadaster__transfers', ['premises_key', 'transfer_key', 'transferred_on', 'price_eur']) }}
),

all_rights as (
    {{ planned_rows('stg_kadaster__rights', ['premises_key', 'owner_key', 'municipality_code']) }}
),

premises as (
    {{ planned_rows('stg_bag_woz__premises', ['premises_key', 'municipality_code', 'use_code']) }}
),

persons as (
    {{ planned_rows('stg_brp__persons', ['person_key', 'household_key']) }}
),

incomes as (
    {{ planned_rows('stg_tax_income__households', ['household_key', 'disposable_income_eur']) }}
),

wealths as (
    {{ planned_rows('stg_tax_wealth__households', ['household_key', 'wealth_eur']) }}
),

-- The rights at the end of the year; those of the other quarters come along with their transfers.
rights as (
    select *
    from all_rights
    where delivered_period = reference_period || '-Q4'
),

frame as (
    select distinct
        reference_period,
        vintage,
        division_year,
        municipality_code
    from rights
),

numbered as (
    select
        vintage,
        premises_key,
        price_eur,
        row_number() over (
            partition by vintage, premises_key
            order by transferred_on desc, transfer_key desc
        ) as turn
    from transfers
),

bought as (
    select
        vintage,
        premises_key,
        price_eur
    from numbered
    where
        turn = 1
        and price_eur > 0
),

-- One row per dwelling and household; without one for an owner who is no known inhabitant.
buyers as (
    select distinct
        bought.vintage,
        bought.premises_key,
        bought.price_eur,
        persons.household_key
    from bought
    inner join rights
        on
            bought.vintage = rights.vintage
            and bought.premises_key = rights.premises_key
    left join persons
        on
            rights.vintage = persons.vintage
            and rights.owner_key = persons.person_key
),

purchases as (
    select
        buyers.vintage,
        buyers.premises_key,
        buyers.price_eur,
        min(buyers.household_key) as household_key,
        count(*) as n_buyers,
        count(incomes.household_key) as n_known_incomes,
        count(wealths.household_key) as n_known_wealths,
        sum({{ means_eur('incomes', 'wealths', income_multiple) }}) as means_eur
    from buyers
    left join incomes
        on
            buyers.vintage = incomes.vintage
            and buyers.household_key = incomes.household_key
    left join wealths
        on
            buyers.vintage = wealths.vintage
            and buyers.household_key = wealths.household_key
    group by buyers.vintage, buyers.premises_key, buyers.price_eur
),

units as (
    select
        premises.reference_period,
        premises.vintage,
        premises.division_year,
        premises.municipality_code,
        purchases.household_key as contributor_key,
        premises.use_code = 'dwelling'
        and purchases.n_buyers = purchases.n_known_incomes
        and purchases.n_buyers = purchases.n_known_wealths as is_counted,
        case when purchases.price_eur <= purchases.means_eur then 'within_means' else 'beyond_means' end as means
    from premises
    inner join purchases
        on
            premises.vintage = purchases.vintage
            and premises.premises_key = purchases.premises_key
)

{{
    microdata_cube(
        'units',
        measures={'n_purchases': 'units.is_counted'},
        breakdown={'means': ['within_means', 'beyond_means']},
        frame='frame'
    )
}}
