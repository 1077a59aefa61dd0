-- Benefits paid: how many were delivered.
{{ coverage_mart('cube_coverage__uwv_svb_benefits') }}
