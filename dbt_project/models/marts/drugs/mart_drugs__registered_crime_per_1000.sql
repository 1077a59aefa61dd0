-- Registered crime per 1,000 inhabitants.
-- Numerator: crimes that the police registered in the year, in the municipality where they were committed.
-- Denominator: inhabitants of all ages on 1 January of that year.
with numerator as (
    {{ selected_cells('cube_open_data__crime', 'n_registered_crimes') }}
),

denominator as (
    {{ inhabitants_on_1_january() }}
)

{{ rate('numerator', 'denominator', per=1000) }}
