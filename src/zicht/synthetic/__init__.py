"""Synthetic deliveries: a made-up country, the same in all registers and over the years.

Nobody is stored. Every fact about a person, household, premises, entity or case follows from a
hash of the seed and its number, so any source and period can be made alone and still agrees with
the rest.
"""

from zicht.synthetic.generate import Made, make, synthesise
from zicht.synthetic.geography import Geography, load_geography
from zicht.synthetic.planning import Options, Scope, Wanted, plan_deliveries, scope_of

__all__ = [
    "Geography",
    "Made",
    "Options",
    "Scope",
    "Wanted",
    "load_geography",
    "make",
    "plan_deliveries",
    "scope_of",
    "synthesise",
]
