-- Suspects of 10 to 23 years old who were none in the two years before, a count.
-- In the municipality where they lived when they were last recorded in the quarter; a person is one.
with numerator as (
    {{ selected_cells('cube_drugs__first_time_suspects', 'n_first_time_suspects', breakdown=['sex']) }}
)

{{ count_of('numerator', breakdown=['sex']) }}
