-- Households of which the tax office knows the wealth, by municipality: what was delivered.
{{ coverage_cube('stg_tax_wealth__households', 'household_key') }}
