"""Watches landing from the triggerer, so that no worker slot is held while waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from zicht.settings import Settings

_PATIENCE = 10
"""The interval between repeated rings grows to this many times the first one."""


class LandingTrigger(BaseEventTrigger):
    """Rings while complete deliveries of one source lie in landing; silent when none do.

    It rings at once when a delivery appears that was not there at the last look, and again after
    ``repeat`` seconds (doubling) for what still lies there: a ring that got lost is so repaired.
    The payload only informs people; intake reads landing itself.

    Args:
        source: the contract whose landing folder is watched.
        poll: seconds between two looks.
        repeat: seconds before the first repeated ring.
    """

    def __init__(self, source: str, poll: float = 5.0, repeat: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = source
        self.poll = poll
        self.repeat = repeat

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make an equal trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"source": self.source, "poll": self.poll, "repeat": self.repeat},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Looks every ``poll`` seconds, for as long as the triggerer keeps it; yields the rings."""
        clock = asyncio.get_running_loop().time
        known: frozenset[str] = frozenset()
        wait, due = self.repeat, 0.0
        while True:
            lying = await self._look()
            if lying is not None:
                now = clock()
                if lying - known:
                    wait, due = self.repeat, now
                if lying and now >= due:
                    payload = {"source": self.source, "deliveries": len(lying)}
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                    due = now + wait
                    wait = min(wait * 2, self.repeat * _PATIENCE)
                known = lying
            await asyncio.sleep(self.poll)

    async def _look(self) -> frozenset[str] | None:
        """Names of the complete deliveries, or None when landing could not be read."""
        try:
            return await asyncio.to_thread(_complete, self.source)
        except Exception:
            # A trigger that raises is dropped and never looks again: a disk that is away for a
            # minute must not end event-driven intake for good.
            self.log.exception("Landing of %s could not be read; trying again.", self.source)
            return None


def _complete(source: str) -> frozenset[str]:
    from zicht.deliveries.landing import complete_deliveries

    found: list[Path] = complete_deliveries(Settings.from_environment(), source)
    return frozenset(path.name for path in found)
