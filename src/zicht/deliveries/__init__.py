"""Deliveries: what providers hand over, from landing to the ledger or to quarantine."""
