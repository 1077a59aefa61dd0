"""What indicators that are known sooner suggest about one that comes late.

A register with a short lag says something about this year while tax data still describes the year
before last. Whether that helps is for the backtest to find out; here it is only made use of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from zicht.forecasting.panel import Flags, Floats, Panel, midnight

LEAST_AHEAD = timedelta(days=90)
"""An indicator informs another when it comes so much sooner."""
LEAST_PAIRS = 100
"""Regions and periods of which both changes are known, before one is held to follow the other."""
LEAST_STARTS = 2
"""Moments that these changes begin at."""
_MOST_GROWTH = (-0.5, 1.0)
"""No series is believed to halve or double from what another one did."""
_STRANGE = (0.01, 0.99)
"""Changes beyond these quantiles are drawn in to them."""
_OTHER_NOISE = 0.03
"""Relative change of a figure that means nothing, apart from its rounding."""


def informers(panel: Panel, others: Sequence[Panel]) -> list[Panel]:
    """Indicators that come sooner, of periods as long or shorter, and from another source."""
    return [
        other
        for other in others
        if other.indicator.id != panel.indicator.id
        and not other.indicator.sources & panel.indicator.sources
        and other.per_year >= panel.per_year
        and other.lag + LEAST_AHEAD <= panel.lag
    ]


def known_by(panel: Panel, moment: datetime) -> Floats:
    """The figures as they were known at a moment; shape (regions, periods).

    Of periods that came all at once, so that their own moment is lost, those that the usual lag
    would have brought by then.
    """
    known = np.full(panel.values.shape, np.nan)
    own = panel.cells[panel.cells["known_at"] <= moment]
    known[own["row"].to_numpy(), own["column"].to_numpy()] = own["value"].to_numpy()
    for column, period in enumerate(panel.periods):
        if not panel.is_dated[column]:
            came = midnight(period.end) + panel.lag <= moment
            known[:, column] = panel.values[:, column] if came else np.nan
    return known


def aligned(panel: Panel, other: Panel, known: Floats, columns: int) -> Floats:
    """Figures of another indicator, laid beside the regions and periods of this one.

    Of periods that are shorter, the last one in each; shape (regions, columns).

    Args:
        known: figures of ``other``.
        columns: periods from the first of ``panel`` on, also those that are still to come.
    """
    ends = {period.end: place for place, period in enumerate(other.periods)}
    row = {region: place for place, region in enumerate(other.regions)}
    rows = np.array([row.get(region, -1) for region in panel.regions])
    found = np.full((len(rows), columns), np.nan)
    period = panel.periods[0]
    for column in range(columns):
        place = ends.get(period.end)
        if place is not None:
            found[:, column] = np.where(rows >= 0, known[rows, place], np.nan)
        period = period.next()
    return found


def growth(values: Floats, start: int, horizon: int) -> Floats:
    """Relative change per region from one column to a later one; NaN where it cannot be said."""
    before, after = values[:, start], values[:, start + horizon]
    safe = np.isfinite(before) & np.isfinite(after) & (before > 0)
    return np.where(safe, after / np.where(safe, before, 1.0) - 1.0, np.nan)


def momentum(values: Floats, column: int, horizon: int) -> Floats:
    """Growth from a column on if the mean step until there goes on; 0 without one; (regions)."""
    shown = np.isfinite(values[:, : column + 1])
    first = shown.argmax(axis=1)
    steps = column - first
    newest = values[:, column]
    safe = (steps > 0) & np.isfinite(newest) & (newest > 0)
    step = (newest - values[np.arange(len(values)), first]) / np.maximum(steps, 1)
    return np.where(safe, horizon * step / np.where(safe, newest, 1.0), 0.0)


def weights(own: Floats, other: Floats, steps: tuple[float, float]) -> Floats:
    """How much a change from two figures tells, by their rounding; shape (regions).

    A figure that is rounded to a step has a variance of a twelfth of its square, and a change has
    two figures. The growth of a small one is mostly rounding.

    Args:
        steps: in which figures of both are published.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rounding = ((steps[0] / own) ** 2 + (steps[1] / other) ** 2) / 6
    return np.where(np.isfinite(rounding), 1.0 / (rounding + _OTHER_NOISE**2), 0.0)


@dataclass(frozen=True)
class _Fit:
    """How growth follows from that of another indicator and from the own mean step so far.

    Attributes:
        terms: constant, growth of the other, own momentum.
        explained: share of the variance.
    """

    terms: Floats
    explained: float


def _fit(
    own: Floats,
    other: Floats,
    column: int,
    horizon: int,
    local: Flags,
    steps: tuple[float, float],
) -> _Fit | None:
    """How changes go together, over all municipalities and periods up to a column."""
    parts = []
    for start in range(column - horizon + 1):
        part = np.stack(
            [
                growth(own, start, horizon),
                growth(other, start, horizon),
                momentum(own, start, horizon),
                weights(own[:, start], other[:, start], steps),
            ]
        )[:, local]
        part = part[:, np.isfinite(part).all(axis=0)]
        if part.size:
            parts.append(part)
    if len(parts) < LEAST_STARTS:
        return None
    y, x, before, weight = np.concatenate(parts, axis=1)
    if len(y) < LEAST_PAIRS:
        return None
    y, x, before = (np.clip(one, *np.quantile(one, _STRANGE)) for one in (y, x, before))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    root = np.sqrt(weight)
    causes = np.stack([np.ones(len(y)), x, before], axis=1)
    terms = np.linalg.lstsq(causes * root[:, None], y * root, rcond=None)[0]
    left = np.average((y - causes @ terms) ** 2, weights=weight)
    spread = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
    return _Fit(terms, float(1 - left / spread))


def lead(
    panel: Panel,
    own: Floats,
    column: int,
    horizons: int,
    others: Mapping[str, Floats],
    steps: Mapping[str, float],
) -> Floats | None:
    """Growth of each series since its newest period that others suggest; (regions, horizons).

    Per horizon, of the indicators that reach so far, the one that explained most until then,
    beside the series' own mean step. A region where that one is hidden is held to have moved as
    the others did.

    Args:
        own: figures since the last break, up to ``column``.
        others: per indicator its figures, laid beside these by :func:`aligned`.
        steps: per indicator the step in which its figures are published.
    """
    local = np.array([level == "municipality" for level in panel.levels])
    local = local if local.any() else np.ones(len(panel.levels), dtype=bool)
    found = np.full((len(own), horizons), np.nan)
    for horizon in range(1, horizons + 1):
        best: tuple[float, Floats] | None = None
        before = momentum(own, column, horizon)
        for name, values in sorted(others.items()):
            if column + horizon >= values.shape[1]:
                continue
            moved = growth(values, column, horizon)
            if not np.isfinite(moved[local]).any():
                continue
            both = (panel.indicator.resolution, steps[name])
            fit = _fit(own, values, column, horizon, local, both)
            if fit is None or (best is not None and fit.explained <= best[0]):
                continue
            moved = np.where(np.isfinite(moved), moved, np.nanmedian(moved[local]))
            causes = np.stack([np.ones(len(moved)), moved, before], axis=1)
            best = (fit.explained, np.clip(causes @ fit.terms, *_MOST_GROWTH))
        if best is not None:
            found[:, horizon - 1] = best[1]
    return found if np.isfinite(found).any() else None
