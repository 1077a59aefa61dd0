-- Households of which the tax office knows the wealth: how many were delivered.
{{ coverage_mart('cube_coverage__tax_wealth_households') }}
