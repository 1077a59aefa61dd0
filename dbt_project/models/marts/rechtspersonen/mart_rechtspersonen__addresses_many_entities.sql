-- Addresses with very many entities, a count of premises.
-- Ten or more entities have their seat there on the last day of the quarter, dissolved ones left out.
with numerator as (
    {{ selected_cells('cube_rechtspersonen__shared_addresses', 'n_shared_addresses', breakdown=[]) }}
)

{{ count_of('numerator', breakdown=[]) }}
