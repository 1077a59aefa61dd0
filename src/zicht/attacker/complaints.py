"""Errors that several modules of the attacker raise, so that each code means one thing."""

from __future__ import annotations

from collections.abc import Sequence

from zicht.errors import AttackError


def unreadable(message: str, remedy: str) -> AttackError:
    """A file is not there or cannot be read."""
    return AttackError(message, code="Z-ATT-001", remedy=remedy)


def missing_column(name: str, column: str, wanted: Sequence[str]) -> AttackError:
    """A file lacks a column."""
    return AttackError(
        f"{name}: the column {column} is missing.",
        code="Z-ATT-003",
        remedy=f"It needs the columns {', '.join(wanted)}.",
    )


def bad_number(message: str, remedy: str) -> AttackError:
    """A field holds what is no number, or no number that it can be."""
    return AttackError(message, code="Z-ATT-006", remedy=remedy)


def unlike(message: str, remedy: str) -> AttackError:
    """Tables cannot be laid together."""
    return AttackError(message, code="Z-ATT-011", remedy=remedy)
