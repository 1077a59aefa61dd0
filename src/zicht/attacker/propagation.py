"""Bounds that follow row by row, without a linear program.

Interval propagation to a fixed point ("feasibility-based bound tightening"): every row bounds each
of its variables by what the others can be at most and at least. It is sound, cheap, and finds
what a person with pencil and paper finds: the last gap in a line, and then the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zicht.attacker.system import System

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TOLERANCE = 1e-6
_MOST_ROUNDS = 200
_MOST_REPAIRS = 20


@dataclass(eq=False)
class Bounds:
    """What propagation found.

    Attributes:
        lower: [n]
        upper: [n]
        lower_row: [n] row that gave the lower bound; -1 if it was known from the start.
        upper_row: [n] likewise.
        dropped: rows that contradict the rest and were left out.
        rounds: passes that were made.
    """

    lower: Floats
    upper: Floats
    lower_row: Ints
    upper_row: Ints
    dropped: Ints
    rounds: int

    def is_fixed(self) -> Bools:
        """[n] whether one value is left."""
        return np.asarray(self.upper - self.lower <= TOLERANCE)


@dataclass(eq=False)
class _Active:
    """Rows that still say something, with their entries sorted by row and by variable."""

    rows: Ints  # [r] number of the row in the system
    start: Ints  # [r] where it begins
    of_row: Ints  # [e] its position in ``rows``
    columns: Ints  # [e]
    positive: Bools  # [e]
    by_column: Ints  # [e] entries in order of variable
    column_start: Ints  # [c] where each variable begins in ``by_column``
    distinct: Ints  # [c] the variables


def _active(system: System, rows: Ints) -> _Active:
    length = system.start[rows + 1] - system.start[rows]
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    of_row = np.repeat(np.arange(len(rows), dtype=np.int64), length)
    entries = (
        np.arange(int(length.sum()), dtype=np.int64) - start[of_row] + system.start[rows][of_row]
    )
    columns = system.columns[entries]
    by_column = np.argsort(columns, kind="stable")
    distinct, column_start = np.unique(columns[by_column], return_index=True)
    return _Active(
        rows=rows,
        start=start,
        of_row=of_row,
        columns=columns,
        positive=system.signs[entries] > 0,
        by_column=by_column,
        column_start=column_start.astype(np.int64),
        distinct=distinct,
    )


def _others(values: Floats, active: _Active) -> tuple[Floats, Floats]:
    """Per row the sum, and per entry the sum of the other entries; infinities kept apart."""
    infinite = ~np.isfinite(values)
    finite = np.where(infinite, 0.0, values)
    sums = np.add.reduceat(finite, active.start)
    counts = np.add.reduceat(infinite.astype(np.int64), active.start)
    sign = -np.inf if np.any(values == -np.inf) else np.inf
    rest = sums[active.of_row] - finite
    rest[(counts[active.of_row] - infinite) > 0] = sign
    return np.where(counts > 0, sign, sums), rest


def _pass(
    system: System, active: _Active, lower: Floats, upper: Floats
) -> tuple[Floats, Ints, Floats, Ints, Ints]:
    """One pass: implied bounds of the distinct variables, the rows that gave them, conflicts."""
    low, high = lower[active.columns], upper[active.columns]
    least = np.where(active.positive, low, -high)
    most = np.where(active.positive, high, -low)
    least_sum, least_rest = _others(least, active)
    most_sum, most_rest = _others(most, active)
    row_lower, row_upper = system.row_lower[active.rows], system.row_upper[active.rows]
    scale = TOLERANCE * np.maximum(1.0, np.abs(np.where(np.isfinite(least_sum), least_sum, 0.0)))
    wrong = (least_sum > row_upper + scale) | (most_sum < row_lower - scale)
    ceiling = row_upper[active.of_row] - least_rest
    floor = row_lower[active.of_row] - most_rest
    new_high = np.where(active.positive, ceiling, -floor)
    new_low = np.where(active.positive, floor, -ceiling)
    by = active.by_column
    best_low = np.maximum.reduceat(new_low[by], active.column_start)
    best_high = np.minimum.reduceat(new_high[by], active.column_start)
    group = np.repeat(
        np.arange(len(active.distinct)), np.diff(np.append(active.column_start, len(by)))
    )
    row_of = active.rows[active.of_row[by]]
    low_row = _first_row(new_low[by] == best_low[group], group, row_of, len(active.distinct))
    high_row = _first_row(new_high[by] == best_high[group], group, row_of, len(active.distinct))
    return best_low, low_row, best_high, high_row, active.rows[wrong]


def _first_row(hit: Bools, group: Ints, rows: Ints, n: int) -> Ints:
    found = np.full(n, -1, dtype=np.int64)
    where = np.flatnonzero(hit)[::-1]
    found[group[where]] = rows[where]
    return found


def _useful(system: System, rows: Ints, open_: Bools) -> Ints:
    """Rows with at least one variable that is not fixed."""
    if not len(rows):
        return rows
    active = _active(system, rows)
    return rows[np.add.reduceat(open_[active.columns].astype(np.int64), active.start) > 0]


def _settle(
    system: System, rows: Ints, lower: Floats, upper: Floats
) -> tuple[Floats, Floats, Ints, Ints, Ints, int]:
    lower, upper = lower.copy(), upper.copy()
    lower_row = np.full(len(lower), -1, dtype=np.int64)
    upper_row = np.full(len(lower), -1, dtype=np.int64)
    rows = _useful(system, rows, upper - lower > TOLERANCE)
    if not len(rows):
        return lower, upper, lower_row, upper_row, rows, 0
    active = _active(system, rows)
    for turn in range(1, _MOST_ROUNDS + 1):
        low, low_row, high, high_row, wrong = _pass(system, active, lower, upper)
        if len(wrong):
            return lower, upper, lower_row, upper_row, wrong, turn
        at = active.distinct
        step = TOLERANCE * np.maximum(1.0, np.abs(lower[at]))
        up = low > lower[at] + step
        down = high < upper[at] - step
        lower[at[up]] = low[up]
        lower_row[at[up]] = low_row[up]
        upper[at[down]] = high[down]
        upper_row[at[down]] = high_row[down]
        crossed = at[lower[at] > upper[at] + step]
        if len(crossed):
            guilty = np.concatenate([lower_row[crossed], upper_row[crossed]])
            return lower, upper, lower_row, upper_row, np.unique(guilty[guilty >= 0]), turn
        if not (up.any() or down.any()):
            break
        if turn % 3 == 0:
            rows = _useful(system, rows, upper - lower > TOLERANCE)
            if not len(rows):
                break
            if len(rows) < 0.8 * len(active.rows):
                active = _active(system, rows)
    return lower, upper, lower_row, upper_row, np.empty(0, dtype=np.int64), turn


def broken_rows(system: System) -> Ints:
    """Rows that what is published cannot satisfy, whatever is hidden."""
    rows = np.arange(len(system.row_lower), dtype=np.int64)
    if not len(rows):
        return rows
    return _pass(system, _active(system, rows), system.lower, system.upper)[4]


def propagate(system: System) -> Bounds:
    """Tightens the bounds of a system to a fixed point.

    Rows that contradict what is published are left out and reported, so that one wrong total
    does not hide what the rest gives away.
    """
    rows = np.arange(len(system.row_lower), dtype=np.int64)
    dropped = broken_rows(system)
    rounds = 0
    for _ in range(_MOST_REPAIRS):
        kept = np.setdiff1d(rows, dropped, assume_unique=True)
        lower, upper, lower_row, upper_row, wrong, turn = _settle(
            system, kept, system.lower, system.upper
        )
        rounds += turn
        if not len(wrong):
            break
        dropped = np.union1d(dropped, wrong)
    else:
        # Too many contradictions to repair: what was known from the start is all that is certain.
        lower, upper = system.lower.copy(), system.upper.copy()
        lower_row = np.full(len(lower), -1, dtype=np.int64)
        upper_row = lower_row.copy()
        dropped = rows
    if system.is_whole:
        lower, upper = np.ceil(lower - TOLERANCE), np.floor(upper + TOLERANCE)
    return Bounds(lower, upper, lower_row, upper_row, dropped, rounds)
