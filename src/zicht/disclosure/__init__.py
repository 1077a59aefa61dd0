"""Disclosure control: takes aggregated cells and a policy, returns the same cells, protected.

A subsystem with a wall around it: it knows nothing of Airflow, dbt, themes or sources, and of our
own code it imports only the error hierarchy.
"""
