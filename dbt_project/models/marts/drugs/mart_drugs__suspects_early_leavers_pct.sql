-- Suspects who left school early, as a share of suspects of 12 to 22 years old in the education register.
-- Numerator and denominator are true values here; the percentage is made from them at the wall.
with numerator as (
    {{ selected_cells('cube_drugs__suspects_in_education', 'n_suspects_early_leavers', breakdown=[]) }}
),

denominator as (
    {{ selected_cells('cube_drugs__suspects_in_education', 'n_suspects_in_education', breakdown=[]) }}
)

{{ rate('numerator', 'denominator', per=100, breakdown=[]) }}
