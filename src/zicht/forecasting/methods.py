"""Ways to forecast all series of an indicator at once: two plain baselines, and what may beat them.

A method sees figures up to one period and says what it expects of the next ones. It never sees
anything later, and nothing that is not published.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from zicht.forecasting.panel import Flags, Floats

SMOOTHING = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Weights of the newest figure that are tried; 1 is no smoothing."""
LEAST_FOR_THETA = 4
_MOST_SCALED = 10.0
"""An error of more scales than this counts as this many where a weight is chosen."""


@dataclass(frozen=True)
class Sight:
    """What a method sees of one indicator at one moment.

    Attributes:
        values: figures since the last break of each series, the newest in the last column; NaN
            where there is none; shape (regions, periods).
        is_local: the rows of municipalities, of which what is shared is taken.
        scale: per row how far figures move from one period to the next, as a rule.
        per_year: periods in a year.
        lead: relative growth since the newest period that indicators which are known sooner
            suggest, per row and horizon; NaN where they are silent; shape (regions, horizons).
            None when no indicator may inform this one.
    """

    values: Floats
    is_local: Flags
    scale: Floats
    per_year: int
    lead: Floats | None = None


Method = Callable[[Sight, int], Floats]
"""From what is seen to points: shape (regions, horizons), NaN where it has none."""


def last_value(sight: Sight, horizons: int) -> Floats:
    """The newest figure, for every period to come."""
    return np.repeat(sight.values[:, -1:], horizons, axis=1)


def drift(sight: Sight, horizons: int) -> Floats:
    """The newest figure, moved on by the mean step between the first and the last figure.

    As R. Hyndman and G. Athanasopoulos, Forecasting: principles and practice, 3rd ed., 5.2.
    """
    values = sight.values
    shown = np.isfinite(values)
    first = shown.argmax(axis=1)
    steps = values.shape[1] - 1 - first
    total = values[:, -1] - values[np.arange(len(values)), first]
    step = np.where(steps > 0, total / np.maximum(steps, 1), np.nan)
    return values[:, -1:] + step[:, None] * np.arange(1, horizons + 1)


def same_season(sight: Sight, horizons: int) -> Floats:
    """The figure of the same quarter or month of the newest year."""
    values, year = sight.values, sight.per_year
    found = np.full((len(values), horizons), np.nan)
    for horizon in range(1, horizons + 1):
        place = values.shape[1] - 1 + horizon - year * -(-horizon // year)
        if place >= 0:
            found[:, horizon - 1] = values[:, place]
    return found


def shared_index(sight: Sight) -> Floats:
    """How the municipalities moved together: 1 in the newest period; shape (periods).

    Chained from period to period over the municipalities that have a figure of both, so that one
    that is hidden in some periods moves nothing. NaN before the chain begins.
    """
    local = sight.values[sight.is_local] if sight.is_local.any() else sight.values
    index = np.full(local.shape[1], np.nan)
    index[-1] = 1.0
    for place in range(local.shape[1] - 1, 0, -1):
        both = np.isfinite(local[:, place]) & np.isfinite(local[:, place - 1])
        total = local[both, place].sum()
        if total <= 0:
            break
        index[place - 1] = index[place] * local[both, place - 1].sum() / total
    return index


def forecast_index(index: Floats, horizons: int, per_year: int) -> Floats:
    """The shared movement of periods to come, by the theta method of statsmodels; shape (horizons).

    It goes on with half the slope that there has been.

    V. Assimakopoulos and K. Nikolopoulos, The theta model, International Journal of Forecasting
    16, 2000. No movement where the index is too short for it.
    """
    from statsmodels.tsa.forecasting.theta import ThetaModel

    if len(index) < LEAST_FOR_THETA:
        return np.ones(horizons)
    is_seasonal = per_year > 1 and len(index) >= 2 * per_year + 1
    model = ThetaModel(
        pd.Series(index), period=per_year if is_seasonal else 1, deseasonalize=is_seasonal
    )
    with warnings.catch_warnings():
        # A series without any movement has no trend to fit, which is no news.
        warnings.simplefilter("ignore")
        ahead = model.fit(use_mle=False).forecast(horizons)
    found: Floats = np.maximum(np.asarray(ahead, dtype=np.float64), 0.0)
    return np.where(np.isfinite(found), found, 1.0)


def _smoothed(values: Floats, weight: float, scale: Floats) -> tuple[Floats, float]:
    """Simple exponential smoothing of each row, and its mean error of one step in scales.

    A period without a figure leaves the level where it was (D. Wright, Forecasting data published
    at irregular time intervals, Management Science 32, 1986, without its discount).
    """
    level = np.full(len(values), np.nan)
    errors = []
    for column in values.T:
        shown = np.isfinite(column)
        known = np.isfinite(level)
        both = shown & known
        errors.append(np.abs(column[both] - level[both]) / scale[both])
        level = np.where(both, level + weight * (column - level), np.where(shown, column, level))
    every = np.minimum(np.concatenate(errors), _MOST_SCALED)
    return level, float(every.mean()) if every.size else np.inf


def smoothed(values: Floats, sight: Sight) -> Floats:
    """The level of each row, with the weight that did best over all municipalities; shape (n)."""
    local = sight.is_local if sight.is_local.any() else np.ones(len(values), dtype=bool)
    tried = [
        (_smoothed(values[local], weight, sight.scale[local])[1], weight) for weight in SMOOTHING
    ]
    # Of equally good weights the largest, which trusts the newest figure most.
    weight = min(tried, key=lambda one: (one[0], -one[1]))[1]
    return _smoothed(values, weight, sight.scale)[0]


def level(sight: Sight, horizons: int) -> Floats:
    """The level after smoothing, for every period to come."""
    return np.repeat(smoothed(sight.values, sight)[:, None], horizons, axis=1)


def _with_others(
    sight: Sight, horizons: int, go_on: Callable[[Floats, int, int], Floats]
) -> Floats:
    index = shared_index(sight)
    usable = np.isfinite(index) & (index > 0)
    shares = np.where(usable, sight.values / np.where(usable, index, 1.0), np.nan)
    ahead = go_on(index[usable], horizons, sight.per_year)
    found: Floats = smoothed(shares, sight)[:, None] * ahead
    return found


def shared_growth(sight: Sight, horizons: int) -> Floats:
    """The region's smoothed share in what municipalities have in common, and how that goes on."""
    return _with_others(sight, horizons, forecast_index)


def shared_drift(sight: Sight, horizons: int) -> Floats:
    """The same, with the mean step of what they have in common going on undamped."""
    return _with_others(sight, horizons, _drifting)


def _drifting(index: Floats, horizons: int, per_year: int) -> Floats:
    """The shared movement by the mean relative step of whole years; shape (horizons)."""
    steps = (len(index) - 1) // per_year * per_year
    if steps == 0:
        return np.ones(horizons)
    growth = (index[-1] / index[-1 - steps]) ** (1 / steps)
    found: Floats = growth ** np.arange(1, horizons + 1)
    return found


def leading(sight: Sight, horizons: int) -> Floats:
    """The smoothed level, moved by what indicators that are known sooner have done since.

    Beyond what they are known of, it stays where they left it.
    """
    if sight.lead is None:
        return np.full((len(sight.values), horizons), np.nan)
    base = shared_growth(sight, horizons)
    start = smoothed(sight.values, sight)
    moved = start[:, None] * (1.0 + sight.lead)
    found = np.full(base.shape, np.nan)
    reached = np.full(len(base), np.nan)
    for horizon in range(horizons):
        known = np.isfinite(moved[:, horizon])
        reached = np.where(known, moved[:, horizon] / base[:, horizon], reached)
        found[:, horizon] = np.where(known, moved[:, horizon], base[:, horizon] * reached)
    return found


BASELINES = ("last_value", "drift")
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "last_value": last_value,
        "drift": drift,
        "same_season": same_season,
        "level": level,
        "shared_growth": shared_growth,
        "shared_drift": shared_drift,
        "leading": leading,
    }
)
"""Every method by name; the baselines first."""


def points(sight: Sight, horizons: int) -> dict[str, Floats]:
    """What every method that has anything to say expects; shape (regions, horizons) each."""
    found = {}
    for name, method in METHODS.items():
        if name == "same_season" and sight.per_year == 1:
            continue
        said = method(sight, horizons)
        if np.isfinite(said).any():
            found[name] = said
    return found
