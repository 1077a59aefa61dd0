-- Persons of whom the tax office has an income: how many were delivered.
{{ coverage_mart('cube_coverage__tax_income_persons') }}
