-- Registered suspects of (fire)arms crime per 10,000 inhabitants.
-- Numerator: persons living in the municipality who were registered as a suspect of a (fire)arms crime
-- in the year, each once.
-- Denominator: inhabitants of all ages on 1 January of that year.
with numerator as (
    {{ selected_cells('cube_open_data__suspects', 'n_suspects_firearms') }}
),

denominator as (
    {{ inhabitants_on_1_january() }}
)

{{ rate('numerator', 'denominator', per=10000) }}
