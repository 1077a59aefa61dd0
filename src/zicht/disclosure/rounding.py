"""Rounding to a base: conventional, or controlled so that tables stay additive.

The attacker knows the base. Of a value rounded conventionally he knows the half-open interval of
half a base around it; of one rounded in a controlled way, that it is less than a base away. What
follows from adding such intervals up is computed here, and what it gives away is hidden after all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zicht.disclosure.spec import Rounding, wrong
from zicht.disclosure.tables import Bools, Floats, Ints, Table, equations

Recoverable = Callable[[Any, Floats, Floats, Floats, Bools], Ints]
"""Cells that are exactly recoverable, from equations, values, lower and upper bounds, and which
cells are looked at."""


@dataclass(frozen=True)
class Rounded:
    """A rounded table.

    Attributes:
        values: rounded value per cell (flat, in published order).
        low, high: whole values between which the true one lies, for who knows base and mode.
        hidden: cells that rounding alone gives away, and that are hidden therefore.
        moved: multiples of the base that had to move, so that all lines add up.
    """

    values: Ints
    low: Ints
    high: Ints
    hidden: Bools
    moved: Ints


def round_conventionally(values: Ints, base: int) -> Ints:
    """To the nearest multiple; halves go up."""
    return np.asarray((2 * values + base) // (2 * base) * base, dtype=np.int64)


def implied(rounded: Ints, base: int, mode: str) -> tuple[Ints, Ints]:
    """Whole values that a rounded value leaves open, both ends included."""
    if mode == "conventional":
        low, high = rounded - base // 2, rounded + (base - 1) // 2
    else:
        low, high = rounded - base + 1, rounded + base - 1
    return np.maximum(low, 0), high


def _solve(
    matrix: Any, floor: Ints, cost: Floats, low: Floats, high: Floats, base: int, seconds: float
) -> Ints | None:
    """Whole multiples ``floor + base * z`` that add up on every line, cheapest first."""
    import scipy.sparse as sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    right = -np.asarray(matrix @ (floor // base), dtype=np.float64)
    rows = np.flatnonzero(np.diff(matrix.indptr))
    # What z costs is |z - wanted|: bounds of 0 and 1 make that linear; outside, each step is dear.
    n = len(floor)
    over = (low < 0) | (high > 1)
    extra = np.flatnonzero(over)
    step = sparse.csr_array(
        (np.ones(len(extra)), (extra, np.arange(len(extra)))), shape=(n, len(extra))
    )
    whole = sparse.hstack([matrix, matrix @ step, -(matrix @ step)], format="csr")
    dear = np.full(2 * len(extra), 10.0 * base)
    result = milp(
        np.concatenate([np.where(over, 0.0, cost), dear]),
        integrality=np.ones(n + 2 * len(extra), dtype=np.int64),
        bounds=Bounds(
            np.concatenate([np.where(over, 0.0, low), np.zeros(2 * len(extra))]),
            np.concatenate(
                [np.where(over, 0.0, high), np.where(over, high, 0)[extra], -low[extra]]
            ),
        ),
        constraints=LinearConstraint(whole[rows], right[rows], right[rows]),
        options={"time_limit": seconds, "mip_rel_gap": 1e-3},
    )
    if result.x is None:
        return None
    z = np.round(result.x).astype(np.int64)
    moved = step @ (z[n : n + len(extra)] - z[n + len(extra) :]) if len(extra) else 0
    return np.asarray(floor + base * (z[:n] + moved), dtype=np.int64)


def round_controlled(table: Table, base: int, seconds: float) -> tuple[Ints, Ints]:
    """Multiples of ``base`` that add up on every line, each within one base of the true value.

    Zeros stay zero and other multiples stay as they are; only where no such table exists may
    other multiples move by one base. Source: Salazar-González, Controlled rounding and cell
    perturbation, Mathematical Programming 105 (2006), solved whole by HiGHS.

    Returns:
        rounded values, and the multiples of the base that had to move (cells).

    Raises:
        DisclosureError: Z-DIS-042 if no such table exists or none was found in ``seconds``.
    """
    values = table.count.ravel()
    floor = values // base * base
    rest = values - floor
    matrix = equations(table.axes)
    cost = (base - 2.0 * rest).astype(np.float64)
    free = (rest > 0).astype(np.float64)
    made = _solve(matrix, floor, cost, np.zeros(len(values)), free, base, seconds)
    if made is None:
        exact = (rest == 0) & (values > 0)
        low, high = np.where(exact, -1.0, 0.0), np.where(exact, 1.0, free)
        made = _solve(matrix, floor, cost, low, high, base, seconds)
    if made is None:
        raise wrong(
            table.name,
            f"no table of multiples of {base} was found that adds up within one base",
            "Raise policy.seconds, choose another base, or round conventionally.",
            "Z-DIS-042",
        )
    moved = np.flatnonzero((rest == 0) & (made != values))
    return made, moved


def _hide_given_away(table: Table, low: Floats, high: Floats, recoverable: Recoverable) -> Bools:
    """Cells to hide so that the intervals of the rest give nothing away, smallest first."""
    values = table.count.ravel().astype(np.float64)
    matrix = equations(table.axes)
    hidden = np.zeros(table.size, dtype=bool)
    looked_at = values > 0
    columns = matrix.tocsc()
    while True:
        found = recoverable(matrix, values, low, high, looked_at)
        if not len(found):
            return hidden
        # One cell per line is enough to open it; the rest may then be free again.
        closed = np.zeros(matrix.shape[0], dtype=bool)
        before = int(hidden.sum())
        for cell in sorted(found.tolist(), key=lambda one: (values[one], one)):
            lines = columns.indices[columns.indptr[cell] : columns.indptr[cell + 1]]
            if closed[lines].any():
                continue
            mates = np.unique(matrix[lines].indices) if hidden[cell] else np.array([cell])
            # Zeros are never hidden here: whoever knows that takes a hidden cell to be at least 1.
            mates = mates[~hidden[mates] & (values[mates] > 0)]
            if len(mates):
                chosen = min(mates.tolist(), key=lambda one: (values[one], one))
                hidden[chosen], low[chosen], high[chosen] = True, 0.0, np.inf
                closed[lines] = True
        if int(hidden.sum()) == before:
            break
    raise wrong(
        table.name,
        "rounding gives cells away, even when they are hidden as well",
        "Choose a larger rounding.base, or method suppress.",
        "Z-DIS-042",
    )


def round_table(
    table: Table, rounding: Rounding, seconds: float, recoverable: Recoverable
) -> Rounded:
    """A table as policy rounds it.

    Controlled rounding gives nothing away: one unit more in any innermost cell and in its totals
    fits what is published as well. Conventional rounding can, where many small values sum to a
    total at the edge of its interval; such cells are hidden.

    Raises:
        DisclosureError: Z-DIS-042 if it cannot be done.
    """
    values = table.count.ravel()
    base = rounding.base
    nothing = np.zeros(table.size, dtype=bool)
    if rounding.mode == "controlled":
        made, moved = round_controlled(table, base, seconds)
        low, high = implied(made, base, "controlled")
        if len(moved):
            low, high = np.maximum(low - 1, 0), high + 1
        return Rounded(made, low, high, nothing, moved)
    made = round_conventionally(values, base)
    low, high = implied(made, base, "conventional")
    hidden = _hide_given_away(table, low.astype(np.float64), high.astype(np.float64), recoverable)
    return Rounded(made, low, high, hidden, np.zeros(0, dtype=np.int64))
