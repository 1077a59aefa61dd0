-- Persons of whom the tax office has an income, by municipality: what was delivered.
{{ coverage_cube('stg_tax_income__persons', 'person_key') }}
