-- Cleared sites, by municipality: what was delivered.
{{ coverage_cube('stg_cannabis_sites__sites', 'site_key', frame='stg_brp__persons') }}
