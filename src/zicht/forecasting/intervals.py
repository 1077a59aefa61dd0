"""How wide: intervals from the errors that were really made, and the score that judges them.

An interval is the point with quantiles of earlier errors around it (conformal prediction: V. Vovk,
A. Gammerman and G. Shafer, Algorithmic learning in a random world, 2005), each error in units of
how far its own series moves, and within a class of regions of like size. How well a method fits
what it was fitted to plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zicht.forecasting.panel import Flags, Floats

COVERAGES = (0.5, 0.9)
"""The two intervals: half of what comes lies in the first, nine tenths in the second."""
LEVELS = (0.05, 0.25, 0.75, 0.95)
"""The ends of both, in ascending order."""
LEAST_CASES = 20
"""A class with fewer errors than this borrows those of all regions of its kind."""
FADING = 0.5
"""An error counts for so much of what one of a year later counts for: how well the future can be
told changes, and the newest errors know best (R. Barber, E. Candès, A. Ramdas and R. Tibshirani,
Conformal prediction beyond exchangeability, Annals of Statistics 51, 2023)."""
LEAST_ORIGINS = 2
"""Errors of a single moment are all of one mood: no interval is made of them."""
_OWN = 6.0
"""A series of this many steps counts for as much as what series of its size have in common."""
_RECENT = 4


def scales(values: Floats, resolution: float) -> Floats:
    """How far each series moves from one period to the next, as a rule; shape (regions).

    The mean step of the series itself, drawn towards what series of its size do, so that a short
    one or one that happened to stand still is not thought to be certain. At least half the step in
    which figures are published.

    Args:
        values: NaN where there is no figure; shape (regions, periods).
        resolution: the step in which figures are published.
    """
    steps = np.abs(np.diff(values, axis=1))
    n = np.isfinite(steps).sum(axis=1)
    own = np.where(n > 0, np.nansum(steps, axis=1) / np.maximum(n, 1), np.nan)
    recent = np.abs(values[:, -_RECENT:])
    shown = np.isfinite(recent).sum(axis=1)
    size = np.where(shown > 0, np.nansum(recent, axis=1) / np.maximum(shown, 1), np.nan)
    floor = max(resolution / 2, np.finfo(float).tiny)
    log_own, log_size = np.log(np.maximum(own, floor)), np.log(np.maximum(size, floor))
    known = (n > 0) & np.isfinite(log_size)
    if not known.any():
        return np.full(len(values), floor)
    if known.sum() >= 10 and np.ptp(log_size[known]) > 0:
        slope, start = np.polyfit(log_size[known], log_own[known], 1)
    else:
        slope, start = 0.0, float(log_own[known].mean())
    common = start + slope * np.where(np.isfinite(log_size), log_size, 0.0)
    weight = n / (n + _OWN)
    found: Floats = np.exp(weight * np.where(known, log_own, common) + (1 - weight) * common)
    return np.maximum(found, floor)


@dataclass(frozen=True)
class Width:
    """Quantiles of earlier errors, in scales, per class of regions.

    Attributes:
        quantiles: per class four of them, at :data:`LEVELS`.
        n_origins: moments that they come from.
    """

    quantiles: Mapping[str, Floats]
    n_origins: int

    def around(self, points: Floats, scale: Floats, classes: NDArray[np.str_]) -> Floats:
        """The ends of both intervals, in the order of :data:`LEVELS`; shape (regions, 4)."""
        nothing = np.full(len(LEVELS), np.nan)
        own = np.array([self.quantiles.get(str(one), nothing) for one in classes])
        ends: Floats = points[:, None] + scale[:, None] * own.reshape(len(points), len(LEVELS))
        return ends


def width(errors: Floats, ages: Floats, classes: NDArray[np.str_], is_local: Flags) -> Width | None:
    """What earlier errors say of those to come; None when they come from too few moments.

    Args:
        errors: truth minus point, in scales; NaN where there is none; shape (origins, regions).
        ages: how many years ago each moment was; shape (origins).
        classes: of the regions.
        is_local: the rows of municipalities. The others are too few for a class each.
    """
    n_origins = int(np.isfinite(errors).any(axis=1).sum())
    if n_origins < LEAST_ORIGINS:
        return None
    weights = np.broadcast_to(FADING ** ages[:, None], errors.shape)
    found = {}
    for one in np.unique(classes):
        own = classes == one
        kind = is_local == bool(is_local[own].any())
        for rows in (own, kind, np.ones_like(own)):
            shown = np.isfinite(errors[:, rows])
            if shown.sum() >= LEAST_CASES or rows.all():
                break
        if shown.any():
            found[str(one)] = _quantiles(errors[:, rows][shown], weights[:, rows][shown])
    return Width(found, n_origins)


def _quantiles(errors: Floats, weights: Floats) -> Floats:
    """Ends as far below as above, so far out that the next error is as likely within them.

    Of all weight, that of the next error included, the share that is asked for lies within. Signs
    are left out: errors of a few moments mostly lie on one side, and the next one need not.
    """
    order = np.argsort(np.abs(errors), kind="stable")
    sizes, reached = np.abs(errors)[order], np.cumsum(weights[order])
    place = [
        min(len(sizes) - 1, int(np.searchsorted(reached, coverage * (reached[-1] + weights.max()))))
        for coverage in COVERAGES
    ]
    half = sizes[place]
    return np.array([-half[1], -half[0], half[0], half[1]])


def weighted_interval_score(truth: Floats, point: Floats, ends: Floats) -> Floats:
    """Error of a point with its intervals: near and narrow is low; shape of ``truth``.

    J. Bracher, E. Ray, T. Gneiting and N. Reich, Evaluating epidemic forecasts in an interval
    format, PLOS Computational Biology 17, 2021. In the unit of the figure.

    Args:
        ends: in the order of :data:`LEVELS`, along the last axis.
    """
    total = 0.5 * np.abs(truth - point)
    for place, coverage in enumerate(reversed(COVERAGES)):
        alpha = 1 - coverage
        low, high = ends[..., place], ends[..., len(LEVELS) - 1 - place]
        outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
        total = total + alpha / 2 * ((high - low) + 2 / alpha * outside)
    score: Floats = total / (len(COVERAGES) + 0.5)
    return score


def is_within(truth: Floats, ends: Floats, place: int) -> Flags:
    """Whether the truth lies in an interval: the widest for 0, the one of half for 1."""
    inside: Flags = (truth >= ends[..., place]) & (truth <= ends[..., len(LEVELS) - 1 - place])
    return inside
