"""StatLine, the open data of Statistics Netherlands (CBS): reading it, cutting it, replaying it.

`client` speaks to the OData v3 service, `fetch` cuts a table into deliveries in landing, and
`replay` is a local service that answers as CBS does, from files.
"""
