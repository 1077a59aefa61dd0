"""What the engine is asked and what it answers: cells, equations, demands and a pattern.

Purely numeric: it knows no dimensions, files or policies. Cells are columns, equations are rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from zicht.errors import DisclosureError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Progress = Callable[[str, dict[str, float]], None]

TOLERANCE = 1e-6


@dataclass(frozen=True)
class System:
    """Cells tied by equations, as everyone may know them.

    Attributes:
        matrix: equations by cells (m × n), small whole coefficients; ``matrix @ values == 0``.
        values: true value per cell.
        lower: least value that the attacker knows for a cell that is hidden.
        upper: largest value that he knows, infinite where he knows none.
    """

    matrix: csr_array
    values: Floats
    lower: Floats
    upper: Floats

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(self.matrix.shape[1])


@dataclass(frozen=True)
class Demand:
    """What a pattern has to do.

    Attributes:
        hidden: must be hidden: primary cells, and latent ones that are never published.
        shown: may never be hidden.
        weight: loss of hiding a cell, at least 0.
        guarded: when hidden, the cell may not be exactly recoverable.
        low: value down to which the interval of a hidden cell must reach; nan for no demand.
        high: value up to which it must reach; nan for no demand.
        unit: smallest shift that counts: 1 for counts.
    """

    hidden: Bools
    shown: Bools
    weight: Floats
    guarded: Bools
    low: Floats
    high: Floats
    unit: float = 1.0


@dataclass(frozen=True)
class Unmet:
    """A demand that cannot be had, whatever is hidden.

    Attributes:
        cell: index of the cell.
        side: ``low``, ``high``, or ``exact`` when it stays exactly recoverable.
        wanted: value that its interval should reach.
        reached: value that it reaches when everything that may be hidden is hidden; the pattern
            reaches it too.
    """

    cell: int
    side: str
    wanted: float
    reached: float


@dataclass(frozen=True)
class Suppression:
    """A safe pattern.

    Attributes:
        hidden: every hidden cell.
        secondary: hidden, though nobody demanded it.
        loss: weight of the secondary cells.
        lower_bound: no safe pattern loses less.
        unmet: demands on intervals that cannot be had, with what is had instead.
        infeasible: guarded cells that must be hidden and stay exactly recoverable.
        seconds: wall-clock time used.
        complete: False when time ran out before loss and bound met within the gap.
        rounds: how many times the cover was solved.
    """

    hidden: Bools
    secondary: Bools
    loss: float
    lower_bound: float
    unmet: tuple[Unmet, ...]
    infeasible: Ints
    seconds: float
    complete: bool
    rounds: int = 0
    notes: dict[str, float] = field(default_factory=dict)


def check(system: System, demand: Demand) -> None:
    """Refuses input that has no answer.

    Raises:
        DisclosureError: Z-DIS-060 shapes differ, Z-DIS-061 equations do not hold, Z-DIS-062 values
            outside what is known of them, Z-DIS-063 a cell both hidden and never to be hidden,
            Z-DIS-064 a negative or missing weight.
    """
    n = system.size
    parts = {
        "values": system.values,
        "lower": system.lower,
        "upper": system.upper,
        "hidden": demand.hidden,
        "shown": demand.shown,
        "weight": demand.weight,
        "guarded": demand.guarded,
        "low": demand.low,
        "high": demand.high,
    }
    for name, part in parts.items():
        if np.shape(part) != (n,):
            raise DisclosureError(
                f"{name} has shape {np.shape(part)}, the equations tie {n} cells",
                code="Z-DIS-060",
                remedy="Pass one number per cell.",
            )
    scale = 1.0 + float(np.abs(system.values).max(initial=0.0))
    off = np.abs(system.matrix @ system.values) if n else np.zeros(0)
    wrong = np.flatnonzero(~(off <= TOLERANCE * scale))
    if len(wrong):
        first = int(wrong[0])
        raise DisclosureError(
            f"{len(wrong)} equations do not hold; the first is number {first}, "
            f"off by {off[first]:g}",
            code="Z-DIS-061",
            remedy="Totals must add up before protection; check the cells and the hierarchies.",
        )
    outside = np.flatnonzero(
        ~((system.values >= system.lower - TOLERANCE) & (system.values <= system.upper + TOLERANCE))
    )
    if len(outside):
        raise DisclosureError(
            f"{len(outside)} cells lie outside what is known of them; the first is {outside[0]}",
            code="Z-DIS-062",
            remedy="Bounds known to the attacker must hold for the true values.",
        )
    both = np.flatnonzero(demand.hidden & demand.shown)
    if len(both):
        raise DisclosureError(
            f"{len(both)} cells must be hidden and may never be hidden; the first is {both[0]}",
            code="Z-DIS-063",
            remedy="Take the cell out of never_hide, or merge or round the table.",
        )
    if not np.all(demand.weight >= 0):
        raise DisclosureError(
            "a weight is negative or missing",
            code="Z-DIS-064",
            remedy="Give every cell a loss of at least 0.",
        )


def tighten(system: System, rounds: int = 8) -> System:
    """Bounds that follow from the equations alone, for all cells hidden at once.

    A hidden total over three leaves of at least 1 is at least 3. The feasible tables stay the
    same; the covering rows that are made of single equations become sharper.
    """
    matrix = system.matrix
    entries = matrix.tocoo()
    row, col, coef = entries.row, entries.col, np.asarray(entries.data, dtype=np.float64)
    m = int(matrix.shape[0])
    lower, upper = system.lower.astype(np.float64).copy(), system.upper.astype(np.float64).copy()
    for _ in range(rounds):
        least = np.where(coef > 0, coef * lower[col], coef * upper[col])
        open_ = np.isinf(least)
        count = np.bincount(row, weights=open_, minlength=m)
        total = np.bincount(row, weights=np.where(open_, 0.0, least), minlength=m)
        # a_p y_p = -sum of the others <= -(least of the others)
        alone = count[row] - open_ == 0
        most = np.where(alone, -(total[row] - np.where(open_, 0.0, least)), np.inf)
        new_lower, new_upper = lower.copy(), upper.copy()
        up = coef > 0
        np.minimum.at(new_upper, col[up], most[up] / coef[up])
        np.maximum.at(new_lower, col[~up], most[~up] / coef[~up])
        new_lower = np.minimum(new_lower, system.values)
        new_upper = np.maximum(new_upper, system.values)
        if np.array_equal(new_lower, lower) and np.array_equal(new_upper, upper):
            break
        lower, upper = new_lower, new_upper
    return System(system.matrix, system.values, lower, upper)
