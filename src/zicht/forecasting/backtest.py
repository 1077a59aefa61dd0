"""Every past moment once more: what each method would have said then, and what came.

The judge of all methods. At each moment only what was known then is used: for the points, for the
errors that intervals are made of, and for the choice of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zicht.forecasting.intervals import (
    LEVELS,
    Width,
    is_within,
    scales,
    weighted_interval_score,
    width,
)
from zicht.forecasting.methods import BASELINES, Sight, points
from zicht.forecasting.panel import Flags, Floats, Panel

LEAST_HISTORY = 3
"""A series with fewer figures since its last break gets no forecast."""
MOST_ORIGINS = 16
"""Past moments that are looked back to."""
LEAST_JUDGED = 3
"""A method is chosen over the baseline after this many moments, not before."""
LEAST_GAIN = 0.01
"""By so much it must have been better: less is chance."""
CHOSEN = "as_chosen"
"""The name under which is scored what choosing at each moment would have given."""

Reconcile = Callable[[Floats, Floats, Sequence[Floats]], None]
"""Makes points add up, in place: from newest figures and scales, of shape (regions), and points."""
Lead = Callable[[int, Floats], Floats | None]
"""What other indicators suggested when a period was the newest one, beside the figures of then: see
:class:`zicht.forecasting.methods.Sight`."""


@dataclass(frozen=True)
class Look:
    """What one past moment held.

    Attributes:
        column: the newest period of that moment.
        values: figures since the last break, as known then; shape (regions, column + 1).
        scale: see :func:`scales`; shape (regions).
        is_usable: rows with a figure in the newest period and enough of them before.
        points: per method; shape (regions, horizons).
    """

    column: int
    values: Floats
    scale: Floats
    is_usable: Flags
    points: Mapping[str, Floats]


def look(
    panel: Panel,
    column: int,
    horizons: int,
    reconcile: Reconcile | None,
    lead: Lead | None = None,
    values: Floats | None = None,
) -> Look:
    """What every method says when period ``column`` is the newest one.

    Args:
        values: as known then; from the panel when omitted.
    """
    known = panel.as_known(column) if values is None else values
    own = panel.comparable(known)[:, : column + 1]
    usable = (np.isfinite(own).sum(axis=1) >= LEAST_HISTORY) & np.isfinite(own[:, -1])
    own = np.where(usable[:, None], own, np.nan)
    scale = scales(own, panel.indicator.resolution)
    is_local = np.array([level == "municipality" for level in panel.levels])
    if not usable.any():
        return Look(column, own, scale, usable, {})
    sight = Sight(own, is_local, scale, panel.per_year, lead(column, own) if lead else None)
    said = points(sight, horizons)
    if (panel.values[np.isfinite(panel.values)] >= 0).all():
        said = {name: np.maximum(point, 0.0) for name, point in said.items()}
    if reconcile is not None:
        reconcile(own[:, -1], scale, list(said.values()))
    return Look(column, own, scale, usable, said)


@dataclass
class Cases:
    """Judged forecasts of one method and horizon; a row per past moment.

    Attributes:
        columns: the newest period of each moment.
        wis: weighted interval score in scales; NaN where nothing was judged; (moments, regions).
        error: truth minus point, in scales.
        inside: per interval, the wide one first, whether the truth lay in it; NaN where not judged.
    """

    columns: list[int] = field(default_factory=list)
    wis: list[Floats] = field(default_factory=list)
    error: list[Floats] = field(default_factory=list)
    inside: list[tuple[Floats, Floats]] = field(default_factory=list)

    def add(self, column: int, wis: Floats, error: Floats, inside: tuple[Floats, Floats]) -> None:
        """Adds what was judged of one moment."""
        self.columns.append(column)
        self.wis.append(wis)
        self.error.append(error)
        self.inside.append(inside)

    def mean_wis(self, columns: Sequence[int], rows: Flags) -> float:
        """Mean score over some moments and rows; infinite when there is none."""
        parts = [w[rows] for c, w in zip(self.columns, self.wis, strict=True) if c in columns]
        every = np.concatenate(parts) if parts else np.empty(0)
        every = every[np.isfinite(every)]
        return float(every.mean()) if every.size else np.inf


@dataclass(frozen=True)
class Backtest:
    """What all past moments together say.

    Attributes:
        looks: per newest period what was seen and said.
        cases: per method and horizon (from 1) what was judged.
        choice: per horizon the method that is used now.
    """

    panel: Panel
    horizons: int
    classes: NDArray[np.str_]
    is_local: Flags
    looks: Mapping[int, Look]
    cases: Mapping[tuple[str, int], Cases]
    choice: Mapping[int, str]

    def width(self, method: str, horizon: int, column: int, known: Floats) -> Width | None:
        """What errors that were known when ``column`` was the newest period say of the next."""
        return _width(
            self.panel, self.looks, method, horizon, column, known, self.classes, self.is_local
        )


def _errors(panel: Panel, one: Look, method: str, horizon: int, known: Floats) -> Floats:
    """Truth minus point in scales; NaN where it is not known, or a break lies in between."""
    nothing = np.full(len(one.scale), np.nan)
    target = one.column + horizon
    if method not in one.points or target >= known.shape[1]:
        return nothing
    error = (known[:, target] - one.points[method][:, horizon - 1]) / one.scale
    judged = one.is_usable & ~panel.is_across(one.column, horizon)
    return np.where(judged, error, np.nan)


def _width(
    panel: Panel,
    looks: Mapping[int, Look],
    method: str,
    horizon: int,
    column: int,
    known: Floats,
    classes: NDArray[np.str_],
    is_local: Flags,
) -> Width | None:
    earlier = [looks[c] for c in sorted(looks) if c + horizon <= column]
    if not earlier:
        return None
    errors = np.stack([_errors(panel, one, method, horizon, known) for one in earlier])
    ages = np.array([column - one.column for one in earlier]) / panel.per_year
    return width(errors, ages, classes, is_local)


def backtest(
    panel: Panel,
    horizons: int,
    classes: NDArray[np.str_],
    reconcile: Reconcile | None = None,
    lead: Lead | None = None,
) -> Backtest:
    """Forecasts from every past moment, with intervals, judged by what is published now.

    Args:
        classes: per region its size class, or its level when it is no municipality.
    """
    is_local = np.array([level == "municipality" for level in panel.levels])
    judged_rows = is_local if is_local.any() else np.ones(len(classes), dtype=bool)
    last = len(panel.periods) - 1
    looks: dict[int, Look] = {}
    cases: dict[tuple[str, int], Cases] = {}
    for column in range(max(LEAST_HISTORY - 1, last - MOST_ORIGINS), last):
        one = look(panel, column, horizons, reconcile, lead)
        if not one.is_usable.any():
            continue
        looks[column] = one
        known = panel.as_known(column)
        chosen: str | None = None
        for horizon in range(1, min(horizons, last - column) + 1):
            said = {}
            for method in one.points:
                wide = _width(panel, looks, method, horizon, column, known, classes, is_local)
                if wide is not None:
                    said[method] = wide
            chosen = choose(cases, horizon, said, judged_rows, column, chosen)
            for method, wide in said.items():
                _judge(panel, one, method, method, horizon, wide, classes, cases)
            if chosen in said:
                _judge(panel, one, chosen, CHOSEN, horizon, said[chosen], classes, cases)
    choice: dict[int, str] = {}
    for horizon in range(1, horizons + 1):
        judged = {method for method, h in cases if h == horizon}
        found = choose(cases, horizon, judged, judged_rows, last, choice.get(horizon - 1))
        if found is not None:
            choice[horizon] = found
    return Backtest(panel, horizons, classes, is_local, looks, cases, choice)


def _judge(
    panel: Panel,
    one: Look,
    method: str,
    name: str,
    horizon: int,
    wide: Width,
    classes: NDArray[np.str_],
    cases: dict[tuple[str, int], Cases],
) -> None:
    """Judges one method at one moment by what is published now."""
    error = _errors(panel, one, method, horizon, panel.values)
    if not np.isfinite(error).any():
        return
    # In scales, the point lies at 0.
    ends = wide.around(np.zeros(len(error)), np.ones(len(error)), classes)
    wis = weighted_interval_score(error, np.zeros(len(error)), ends)
    judged = np.isfinite(wis)
    inside = tuple(
        np.where(judged, is_within(error, ends, place), np.nan) for place in range(len(LEVELS) // 2)
    )
    cases.setdefault((name, horizon), Cases()).add(
        one.column, wis, np.where(judged, error, np.nan), (inside[0], inside[1])
    )


def choose(
    cases: Mapping[tuple[str, int], Cases],
    horizon: int,
    candidates: Iterable[str],
    rows: Flags,
    column: int,
    nearer: str | None,
) -> str | None:
    """The method with the lowest score at the moments of which the outcome was known.

    The better baseline, unless another beat it by :data:`LEAST_GAIN` over :data:`LEAST_JUDGED`
    moments or more. With fewer moments the method of the horizon before, unless a baseline was
    better at those that there are. Each is held against the baselines over the same moments.

    Args:
        column: the newest period of the moment of choosing.
        nearer: the method chosen for one period less ahead.
    """
    known = {
        method: {c for c in cases[method, horizon].columns if c + horizon <= column}
        for method in candidates
        if method != CHOSEN and (method, horizon) in cases
    }
    shared = set.intersection(*(known.get(name, set()) for name in BASELINES))
    if not shared:
        return nearer or BASELINES[0]

    def score(name: str, moments: set[int]) -> float:
        return cases[name, horizon].mean_wis(sorted(moments), rows)

    def relative(name: str) -> float:
        """Against the better baseline, over the moments at which all three were judged."""
        moments = shared & known.get(name, set())
        if not moments:
            return np.inf
        best = min(score(baseline, moments) for baseline in BASELINES)
        return score(name, moments) / best if best > 0 else np.inf

    baseline = min(BASELINES, key=lambda name: score(name, shared))
    if len(shared) < LEAST_JUDGED:
        return nearer if nearer is not None and relative(nearer) < 1 else baseline
    judged = [name for name in sorted(known) if len(shared & known[name]) >= LEAST_JUDGED]
    best = min(judged, key=relative)
    return best if relative(best) < 1 - LEAST_GAIN else baseline
