"""Which deliveries gate 2 has passed: one small file each, so that none is looked at twice.

Losing them only costs time: the deliveries are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from zicht.clock import format_moment
from zicht.files import write_json
from zicht.settings import Settings


def _folder(settings: Settings, source: str) -> Path:
    return settings.home / "checked" / "gate_2" / source


def passed_gate_2(settings: Settings, source: str) -> frozenset[str]:
    """The ids of the deliveries of a source that have passed gate 2."""
    folder = _folder(settings, source)
    if not folder.exists():
        return frozenset()
    return frozenset(path.stem for path in folder.iterdir() if path.suffix == ".json")


def note_passed(
    settings: Settings, run_id: str, deliveries: Iterable[tuple[str, str, str]], at: datetime
) -> None:
    """Keeps that deliveries (source, reference period, id) have passed gate 2, each once."""
    for source, period, delivery in deliveries:
        path = _folder(settings, source) / f"{delivery}.json"
        if not path.exists():
            write_json(
                path,
                {
                    "source": source,
                    "id": delivery,
                    "reference_period": period,
                    "run_id": run_id,
                    "checked_at": format_moment(at),
                },
            )


def forget_passed(settings: Settings, deliveries: Iterable[tuple[str, str]]) -> list[str]:
    """Forgets that deliveries (source, id) passed gate 2; returns the ids that were known."""
    forgotten = []
    for source, delivery in deliveries:
        path = _folder(settings, source) / f"{delivery}.json"
        if path.exists():
            path.unlink()
            forgotten.append(delivery)
    return forgotten
