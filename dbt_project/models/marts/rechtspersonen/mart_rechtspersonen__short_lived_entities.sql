-- Entities founded and dissolved within two years, a count by group of legal forms.
-- Of those dissolved in the quarter, in the municipality of the seat.
with numerator as (
    {{ selected_cells('cube_rechtspersonen__short_lived', 'n_short_lived_entities', breakdown=['form_group']) }}
)

{{ count_of('numerator', breakdown=['form_group']) }}
