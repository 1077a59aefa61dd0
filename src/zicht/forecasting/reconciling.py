"""Points that add up: municipalities to larger regions, provinces to the country.

Least squares, each region weighing by how certain it is (S. Wickramasuriya, G. Athanasopoulos and
R. Hyndman, Optimal forecast reconciliation for hierarchical and grouped time series through trace
minimization, Journal of the American Statistical Association 114, 2019, with a diagonal matrix).
What a region has beyond its parts that have a point (hidden or missing ones, or what belongs to no
municipality) is a part of its own, that moves with the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np

from zicht.forecasting.panel import Flags, Floats, Panel

_ROUNDS = 4
"""Points below zero are held at zero and the rest made to add up again, so many times."""
_RIDGE = 1e-9


Parts = Mapping[str, Sequence[Sequence[str]]]
"""Per region the ways in which it can be cut up, the coarsest first."""


def read_parts(published: duckdb.DuckDBPyConnection) -> Parts:
    """The parts of every region, from the table ``regions``."""
    rows = published.execute(
        "select region_code, region_level, province_code, corop_code, safety_region_code "
        "from regions order by region_code"
    ).fetchall()
    local = [row for row in rows if row[1] == "municipality"]
    parts: dict[str, list[list[str]]] = {}
    for place in (2, 3, 4):
        for row in local:
            if row[place] is not None:
                parts.setdefault(row[place], [[]])[0].append(row[0])
    provinces = [row[0] for row in rows if row[1] == "province"]
    for row in rows:
        if row[1] == "country":
            parts[row[0]] = [provinces, [one[0] for one in local]]
    return parts


def make_matrix(panel: Panel, parts: Parts) -> Floats:
    """Per region that has parts a row: 1 for itself and -1 for each part; shape (m, regions)."""
    place = {region: number for number, region in enumerate(panel.regions)}
    rows = []
    for upper, ways in sorted(parts.items()):
        found = ([place[region] for region in lower if region in place] for lower in ways)
        own = next((one for one in found if one), None)
        if upper in place and own:
            row = np.zeros(len(panel.regions))
            row[place[upper]] = 1.0
            row[own] = -1.0
            rows.append(row)
    return np.array(rows).reshape(len(rows), len(panel.regions))


def reconciled(matrix: Floats, newest: Floats, scale: Floats, points: Sequence[Floats]) -> None:
    """Makes all points add up, in place.

    Args:
        matrix: see :func:`make_matrix`.
        newest: newest figure per region; NaN where it cannot be used.
        scale: how far each series moves; its square is how uncertain it is.
        points: each of shape (regions, horizons), with points where ``newest`` has a figure.
    """
    known = np.isfinite(newest)
    upper = matrix.argmax(axis=1) if len(matrix) else np.empty(0, dtype=int)
    is_used: Flags = known[upper] & ((matrix < 0) & known).any(axis=1)
    used, upper = matrix[is_used], upper[is_used]
    if not len(used):
        return
    used = np.where(known, used, 0.0)
    figures = np.where(known, newest, 0.0)
    rest = used @ figures
    top = figures[upper]
    share = np.divide(rest, top, out=np.zeros(len(rest)), where=top != 0)
    # The rest is one more variable per row: uncertain in proportion to the region that it is of.
    wide = np.hstack([used, -np.eye(len(used))])
    uncertain = np.concatenate(
        [np.where(known, scale, 0.0) ** 2, (scale[upper] * np.minimum(np.abs(share), 1.0)) ** 2]
    )
    gain = _gain(wide, uncertain)
    for point in points:
        first = np.where(known[:, None], point, 0.0)
        both = np.vstack([first, share[:, None] * first[upper]])
        moved = both - gain @ (wide @ both)
        for horizon in np.flatnonzero((moved < 0).any(axis=0)):
            moved[:, horizon] = _not_negative(wide, uncertain, both[:, horizon])
        point[:] = np.where(known[:, None] & np.isfinite(point), moved[: len(point)], point)


def _gain(wide: Floats, uncertain: Floats) -> Floats:
    """What takes away a gap in sums, from the least certain most; shape (variables, sums)."""
    weighed = wide * uncertain
    inner = weighed @ wide.T
    inner[np.diag_indices_from(inner)] += _RIDGE * max(float(np.trace(inner)), _RIDGE) / len(inner)
    return np.asarray(np.linalg.solve(inner, weighed).T, dtype=np.float64)


def _not_negative(wide: Floats, uncertain: Floats, start: Floats) -> Floats:
    """As without a limit, with what would be negative held at zero while the rest gives way."""
    may_be_negative = start < 0
    held = np.zeros(len(start), dtype=bool)
    for _ in range(_ROUNDS):
        begin = np.where(held, 0.0, start)
        moved = begin - _gain(wide, np.where(held, 0.0, uncertain)) @ (wide @ begin)
        below = (moved < 0) & ~may_be_negative & ~held
        if not below.any():
            break
        held |= below
    return np.where(may_be_negative, moved, np.maximum(moved, 0.0))
