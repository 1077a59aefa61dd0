"""A refresh, hop by hop: plan, stage, gate 2, build, gate 3, protect, forecast, gate 4, publish.

Each hop takes the run's name, reads what the hops before it left under ``runs/<run>/``, and may be
repeated. Airflow only calls these functions in order; so does :func:`refresh_here`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zicht.clock import Clock
from zicht.refresh.building import build, stage
from zicht.refresh.checking import gate_2, gate_3, gate_4
from zicht.refresh.forecasting import forecast
from zicht.refresh.planning import plan
from zicht.refresh.publishing import protect, publish
from zicht.refresh.run import Say, code_digest, pending
from zicht.settings import Settings

Hop = Callable[[Settings, str, Clock, Say], None]

FUNCTIONS: Mapping[str, Hop] = MappingProxyType(
    {
        "stage": stage,
        "gate_2": gate_2,
        "build": build,
        "gate_3": gate_3,
        "protect": protect,
        "forecast": forecast,
        "gate_4": gate_4,
        "publish": publish,
    }
)
"""The hops after ``plan``, in order."""

HOPS = tuple(FUNCTIONS)
"""Their names."""

__all__ = [
    "FUNCTIONS",
    "HOPS",
    "build",
    "code_digest",
    "forecast",
    "gate_2",
    "gate_3",
    "gate_4",
    "pending",
    "plan",
    "protect",
    "publish",
    "refresh_here",
    "stage",
]


def refresh_here(
    settings: Settings, run_id: str, clock: Clock, say: Say, as_of: str | None = None
) -> bool:
    """Runs all hops in this process. Returns False when there was nothing to do."""
    say("plan")
    if not plan(settings, run_id, clock, say, as_of):
        return False
    for name, hop in FUNCTIONS.items():
        say(name)
        hop(settings, run_id, clock, say)
    return True
