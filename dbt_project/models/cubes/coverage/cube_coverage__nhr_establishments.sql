-- Establishments in the trade register, by municipality: what was delivered.
{{ coverage_cube('stg_nhr__establishments', 'establishment_key') }}
