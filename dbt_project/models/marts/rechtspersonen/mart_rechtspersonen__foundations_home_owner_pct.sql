-- Foundations of which a director owns two or more dwellings, as a share of all foundations.
-- On the last day of the quarter, in the municipality of the seat; the dwellings may stand anywhere.
with numerator as (
    {{ selected_cells('cube_rechtspersonen__foundation_owners', 'n_foundations_with_home_owner', breakdown=[]) }}
),

denominator as (
    {{ selected_cells('cube_rechtspersonen__foundation_owners', 'n_foundations', breakdown=[]) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
