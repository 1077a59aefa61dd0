-- Enrolments in education: how many were delivered.
{{ coverage_mart('cube_coverage__duo_enrolments') }}
