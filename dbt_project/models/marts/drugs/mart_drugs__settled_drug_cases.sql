-- Settled drug cases by kind of disposal, a count.
-- Disposed of in the quarter, in the municipality where the person lives; one per person in the case.
with numerator as (
    {{ selected_cells('cube_drugs__settled_drug_cases', 'n_settled_drug_cases', breakdown=['disposal_type']) }}
)

{{ count_of('numerator', breakdown=['disposal_type']) }}
