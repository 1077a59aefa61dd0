-- Registrations of suspects in closed investigations, by where they live: how many were delivered.
{{ coverage_mart('cube_coverage__police_suspects_registrations') }}
