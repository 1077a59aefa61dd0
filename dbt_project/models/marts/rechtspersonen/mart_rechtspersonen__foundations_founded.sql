-- Foundations with one director that were founded in the four quarters up to the end of the quarter, a count.
-- Not dissolved on its last day, in the municipality of the seat.
with numerator as (
    {{ selected_cells('cube_rechtspersonen__foundation_growth', 'n_lone_founded', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
