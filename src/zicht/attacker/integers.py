"""Bounds in whole numbers for small components.

A linear program allows halves, so that its interval can be wider than what whole numbers allow. For
a component of a few cells the difference can be closed, and a cell may turn out to be recoverable
by integrality alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from zicht.attacker.programs import Program, Search, is_recovered
from zicht.attacker.propagation import TOLERANCE

SMALL = 25
"""Components of at most this many variables are solved in whole numbers too."""


def tighten(search: Search, late: Callable[[], bool]) -> npt.NDArray[np.bool_]:
    """Narrows the bounds of a search to what whole numbers attain.

    Returns:
        [n] where whole numbers made a bound tighter than the linear program did.
    """
    n = len(search.lower)
    tighter = np.zeros(n, dtype=bool)
    program = Program(search.block, integer=True)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)

    def learn(solution: npt.NDArray[np.float64] | None) -> bool:
        if solution is None:
            return False
        whole = np.round(solution)
        np.minimum(low, whole, out=low)
        np.maximum(high, whole, out=high)
        return True

    if not learn(program.minimise(np.zeros(n))):
        return tighter
    for i in np.flatnonzero(search.goal.asked()).tolist():
        for upwards in (True, False):
            full = bool(search.goal.interval[i])
            # Two whole-number tables with different values: no exact recovery, nothing to prove.
            settled = not full and (high[i] > low[i]) and _reaches(search, i, float(high[i]))
            if (
                settled
                or is_recovered(search.lower[i : i + 1], search.upper[i : i + 1], whole=True).all()
            ):
                continue
            end = search.upper[i] if upwards else search.lower[i]
            seen = high[i] if upwards else low[i]
            if end == seen or abs(end - seen) <= TOLERANCE:
                continue
            if late():
                return tighter
            if not learn(program.end(i, upwards=upwards)):
                return tighter
            reached = high[i] if upwards else low[i]
            if upwards and reached < np.floor(search.upper[i] + TOLERANCE):
                search.upper[i], tighter[i] = reached, True
            elif not upwards and reached > np.ceil(search.lower[i] - TOLERANCE):
                search.lower[i], tighter[i] = reached, True
    # What only halves attain is not attained.
    np.maximum(search.seen_lower, low, out=search.seen_lower, where=np.isfinite(low) & tighter)
    np.minimum(search.seen_upper, high, out=search.seen_upper, where=np.isfinite(high) & tighter)
    search.n_programs += program.n_solved
    return tighter


def _reaches(search: Search, i: int, high: float) -> bool:
    wanted = search.goal.reach[i]
    return bool(np.isnan(wanted) or high >= wanted - TOLERANCE or search.upper[i] < wanted)
