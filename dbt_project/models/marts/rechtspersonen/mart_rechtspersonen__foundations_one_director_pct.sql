-- Foundations with one director, as a share of all foundations.
-- Registered and not dissolved on the last day of the quarter, in the municipality of the seat.
with foundations as (
    {{
        selected_cells(
            'cube_rechtspersonen__legal_entities', 'n_legal_entities', breakdown=['legal_form', 'n_directors']
        )
    }}
),

numerator as (
    select *
    from foundations
    where
        legal_form = 'stichting'
        and n_directors = 'one'
),

-- Every foundation is in one cell, so contributors add up like foundations.
denominator as (
    select
        region_code,
        reference_period,
        sum(value) as value,
        cast(sum(n_contributors) as bigint) as n_contributors,
        max(is_provisional) as is_provisional,
        false as is_estimated
    from foundations
    where legal_form = 'stichting'
    group by region_code, reference_period
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
