"""What an attacker knows beside the published cells, and how it enters the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from zicht.attacker.published import HIDDEN, PublishedTable
from zicht.attacker.system import System
from zicht.errors import AttackError

Key = Mapping[str, str]


class Knowledge(StrEnum):
    """How much an attacker knows.

    ``naive``: no cell is below zero. ``informed``: where policy shows zeros, a hidden cell is at
    least 1. ``flags``: informed, and which hidden cells are primary, so that these lie under the
    threshold and the others do not. ``participant``: informed, and one contributor knows himself.
    """

    NAIVE = "naive"
    INFORMED = "informed"
    FLAGS = "flags"
    PARTICIPANT = "participant"


@dataclass(frozen=True)
class Participant:
    """A contributor who knows that he is in a cell.

    Attributes:
        key: the cell, by dimension; a dimension that is left out is at its total.
        value: what he contributes: 1 to a count, his own amount to a sum.
    """

    key: Key
    value: float = 1.0


@dataclass(frozen=True)
class Clue:
    """Something known about one cell from elsewhere, such as a rate.

    Attributes:
        key: the cell, by dimension; a dimension that is left out is at its total.
        lower: it is at least this.
        upper: it is at most this.
        source: where that comes from.
    """

    key: Key
    lower: float
    upper: float
    source: str = ""


@dataclass(frozen=True)
class HiddenCount:
    """A published remark on hidden cells ("of these 12 cells, 8 are too small; together 140").

    Attributes:
        where: partial key; all hidden cells of the newest table that match it.
        n_primary: how many of them are under the threshold.
        total: their sum.
    """

    where: Key
    n_primary: int | None = None
    total: float | None = None


def variable_of(system: System, key: Key) -> int:
    """The variable of a cell in the newest table.

    Raises:
        AttackError: Z-ATT-012 if that table has no such cell.
    """
    table = system.tables[0]
    wanted = {d.name: key.get(d.name, d.total) for d in table.spec.dimensions}
    found = system.cells_of_newest.get(tuple(str(code) for code in wanted.values()))
    if found is None or set(key) - set(wanted):
        shown = ", ".join(f"{name}={code}" for name, code in key.items())
        raise AttackError(
            f"{table.name}: has no cell {shown}.",
            code="Z-ATT-012",
            remedy=f"Name a code for {', '.join(wanted)}; a total may be left out.",
        )
    return found


def _matching(table: PublishedTable, where: Key) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    hit = np.ones(table.n_cells, dtype=bool)
    for name, code in where.items():
        if name not in table.codes:
            raise AttackError(
                f"{table.name}: has no column {name}.",
                code="Z-ATT-012",
                remedy=f"Use the dimensions of the spec: {', '.join(table.codes)}.",
            )
        hit &= table.codes[name] == code
    return hit


def enter_participant(system: System, participant: Participant) -> None:
    """His cell holds at least what he contributes; the lines say the rest."""
    at = variable_of(system, participant.key)
    if not system.shown[at]:
        system.lower[at] = max(system.lower[at], participant.value)


def enter_clues(system: System, clues: Sequence[Clue]) -> None:
    """Narrows hidden cells to what is known of them from elsewhere."""
    for clue in clues:
        at = variable_of(system, clue.key)
        if not system.shown[at]:
            system.lower[at] = max(system.lower[at], clue.lower)
            system.upper[at] = min(system.upper[at], clue.upper)


def enter_hidden_counts(system: System, counts: Sequence[HiddenCount]) -> None:
    """Turns remarks on hidden cells into bounds and rows."""
    table, place = system.tables[0], system.place[0]
    threshold = table.spec.minimum_frequency
    for count in counts:
        scope = np.unique(place[_matching(table, count.where) & (table.status == HIDDEN)])
        if not len(scope):
            continue
        if count.total is not None:
            system.add_row(scope, count.total, count.total)
        if count.n_primary is None:
            continue
        n_large = len(scope) - count.n_primary
        if n_large <= 0:
            system.upper[scope] = np.minimum(system.upper[scope], threshold - 1)
        elif count.n_primary == 0:
            system.lower[scope] = np.maximum(system.lower[scope], threshold)
        else:
            # Which ones are large is not known; at their least they sum to this.
            gain = np.sort(threshold - np.minimum(system.lower[scope], threshold))[:n_large]
            system.add_row(scope, float(system.lower[scope].sum() + gain.sum()), np.inf)


def enter_flags(system: System, primary: Sequence[Key]) -> None:
    """Primary cells lie under the threshold, the other hidden cells do not."""
    table, place = system.tables[0], system.place[0]
    threshold = table.spec.minimum_frequency
    hidden = np.unique(place[table.status == HIDDEN])
    small = np.array([variable_of(system, key) for key in primary], dtype=np.int64)
    small = np.intersect1d(small, hidden)
    large = np.setdiff1d(hidden, small)
    system.upper[small] = np.minimum(system.upper[small], threshold - 1)
    system.lower[large] = np.maximum(system.lower[large], threshold)
