"""The attacker: computes what published tables give away, knowing nothing but what is published.

It shares no code with the protector, so that a fault in one is not a fault in both.
"""

from zicht.attacker.attacking import attack
from zicht.attacker.canaries import CanaryHit, canary_findings, search_canaries
from zicht.attacker.findings import Finding, Kind, Severity
from zicht.attacker.knowledge import Clue, HiddenCount, Knowledge, Participant
from zicht.attacker.published import (
    PublishedTable,
    Structure,
    make_table,
    read_structure,
    read_table,
    read_tables,
    tables_of_release,
)
from zicht.attacker.rates import RateTable, numerators_from_rates, rate_findings
from zicht.attacker.report import Report, render
from zicht.attacker.spec import Dimension, Spec, load_spec, parse_spec

__all__ = [
    "CanaryHit",
    "Clue",
    "Dimension",
    "Finding",
    "HiddenCount",
    "Kind",
    "Knowledge",
    "Participant",
    "PublishedTable",
    "RateTable",
    "Report",
    "Severity",
    "Spec",
    "Structure",
    "attack",
    "canary_findings",
    "load_spec",
    "make_table",
    "numerators_from_rates",
    "parse_spec",
    "rate_findings",
    "read_structure",
    "read_table",
    "read_tables",
    "render",
    "search_canaries",
    "tables_of_release",
]
