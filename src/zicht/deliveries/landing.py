"""The landing zone: what providers dropped, untouched, one folder per delivery."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from zicht.deliveries.package import DESCRIPTOR
from zicht.settings import Settings


def _folders(settings: Settings, source: str) -> list[Path]:
    base = settings.landing / source
    if not base.is_dir():
        return []
    return sorted(
        entry
        for entry in base.iterdir()
        if not entry.name.startswith(".") and entry.is_dir() and not entry.is_symlink()
    )


def _is_complete(folder: Path) -> bool:
    # A link counts as present, so that it is refused with a reason and not ignored for ever.
    descriptor = folder / DESCRIPTOR
    return descriptor.is_file() or descriptor.is_symlink()


def complete_deliveries(settings: Settings, source: str) -> list[Path]:
    """Folders in landing that have their descriptor, in order of name. Costs one listing."""
    return [folder for folder in _folders(settings, source) if _is_complete(folder)]


def unread_entries(settings: Settings, sources: Collection[str]) -> list[Path]:
    """What lies in landing where nothing looks: no folder of a source, or no folder in one.

    Args:
        sources: those with a contract.
    """
    if not settings.landing.is_dir():
        return []
    found = []
    for entry in sorted(settings.landing.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.name not in sources or not entry.is_dir() or entry.is_symlink():
            found.append(entry)
            continue
        found += [
            inner
            for inner in sorted(entry.iterdir())
            if not inner.name.startswith(".") and (inner.is_symlink() or not inner.is_dir())
        ]
    return found


def claimed_folder(settings: Settings, source: str) -> Path:
    """Where intake moves a delivery while it works on it, out of the provider's reach."""
    return settings.landing / source / ".taking"


def claimed_deliveries(settings: Settings, source: str) -> list[Path]:
    """Deliveries that intake works on now, or that a killed one left; the next run goes on."""
    base = claimed_folder(settings, source)
    return sorted(p for p in base.iterdir() if p.name[0] != ".") if base.is_dir() else []


def incomplete_deliveries(settings: Settings, source: str) -> list[Path]:
    """Folders in landing that wait for their descriptor."""
    return [folder for folder in _folders(settings, source) if not _is_complete(folder)]
