-- Drug cases that the prosecution service or a court disposed of in the quarter, by the municipality where the person
-- lives and the kind of disposal. A case against two persons is two: each has a disposal of their own.
with cases as (
    {{
        planned_rows(
            'stg_om_cases__cases', ['person_key', 'municipality_code', 'offence_group', 'disposal_type']
        )
    }}
),

frame as (
    {{ municipality_frame('stg_brp__persons') }}
),

units as (
    select
        {{ unit_columns('person_key') }},
        disposal_type,
        offence_group = 'drugs' as is_drug_case
    from cases
)

{{
    microdata_cube(
        'units',
        measures={'n_settled_drug_cases': 'units.is_drug_case'},
        breakdown={
            'disposal_type': ['penalty_order', 'community_service', 'conviction', 'acquittal', 'dismissal'],
        },
        frame='frame'
    )
}}
