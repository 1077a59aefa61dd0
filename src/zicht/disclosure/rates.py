"""Percentages and rates, made from true values and rounded so that they add nothing.

A rate with a known denominator gives its numerator back up to its own rounding. So a rate is shown
only where both may be shown, with as many decimals as leave each of them at least as uncertain as
its own publication leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zicht.disclosure.rounding import implied, round_conventionally
from zicht.disclosure.spec import CellPolicy, Rounding, wrong
from zicht.disclosure.tables import Bools, Floats, Ints

SHOWN = ""
NUMERATOR_HIDDEN = "numerator_hidden"
DENOMINATOR_HIDDEN = "denominator_hidden"
MINIMUM_DENOMINATOR = "minimum_denominator"
NEARLY_ALL = "group_disclosure"
TOO_PRECISE = "too_precise"


@dataclass(frozen=True)
class Part:
    """Numerator or denominator of rates.

    Attributes:
        values: true values, whole for counts, at least 0.
        shown: whether each may be shown.
        rounding: how the values themselves are published; None for exactly.
        is_published: whether they are published at all, or only the rates made of them.
    """

    values: Floats
    shown: Bools
    rounding: Rounding | None = None
    is_published: bool = True

    def own(self, threshold: int) -> tuple[Floats, Floats]:
        """What publication of the part itself leaves open; a rate may not leave less.

        Of a part that is not published, small values are protected up to ``threshold``; larger
        ones might be shown, and need nothing.
        """
        values = np.asarray(self.values, dtype=np.float64)
        if not self.is_published:
            small = (values > 0) & (values < threshold)
            return np.where(small, 1.0, values), np.where(small, float(threshold), values)
        if self.rounding is None:
            return values, values
        base = self.rounding.base
        if self.rounding.mode == "conventional":
            low, high = implied(
                round_conventionally(values.astype(np.int64), base), base, "conventional"
            )
        else:
            # Either neighbour may have been chosen; both leave at least this open.
            floor = (values // base * base).astype(np.int64)
            ceiling = np.where(values % base == 0, floor, floor + base)
            low = np.maximum(ceiling - base + 1, 0)
            high = floor + base - 1
        return low.astype(np.float64), high.astype(np.float64)


@dataclass(frozen=True)
class Rates:
    """Rates that may be published.

    Attributes:
        values: the rounded rate; nan where hidden.
        decimals: decimals of each (negative: tens); 0 where hidden.
        shown: whether each is shown.
        reasons: internal: why a rate is hidden; empty where it is shown.
        low, high: numerators that the rate leaves open when the denominator is known as
            published; nan where hidden.
    """

    values: Floats
    decimals: Ints
    shown: Bools
    reasons: tuple[str, ...]
    low: Floats
    high: Floats


def _rounded(rate: Floats, decimals: int) -> Floats:
    step = 10.0**-decimals
    # 9 digits take the noise of division off, so that halves go up as on paper.
    return np.asarray(np.round(np.floor(np.round(rate / step, 9) + 0.5) * step, max(decimals, 0)))


def _leaves_open(
    rate: tuple[Floats, Floats],
    part: tuple[Floats, Floats],
    whole: tuple[Floats, Floats],
    per: float,
) -> Bools:
    """Whether rates from least to most leave part and whole as uncertain as they are by themselves.

    Args:
        rate, part, whole: least and greatest value of each.
    """
    (least, most), (n_low, n_high), (d_low, d_high) = rate, part, whole
    a, b = least * d_low / per, most * d_high / per
    with np.errstate(divide="ignore", invalid="ignore"):
        c = per * n_low / most
        e = np.where(least > 0, per * n_high / least, np.inf)
    # What is known exactly cannot become less certain; rounding noise is not precision.
    n_safe = (n_low == n_high) | ((a <= n_low + 1e-9) & (b > n_high - 1e-9))
    d_safe = (d_low == d_high) | ((c <= d_low + 1e-9) & (e >= d_high - 1e-9))
    return np.asarray(n_safe & d_safe)


def protect_rates(
    numerator: Part,
    denominator: Part,
    policy: CellPolicy,
    *,
    rest: Part | None = None,
    per: float = 100.0,
    decimals: int = 1,
    coarsest: int = -1,
) -> Rates:
    """Rates ``per * numerator / denominator``, each as precise as its parts allow.

    Args:
        numerator: true values and what may be shown of them.
        denominator: likewise, cell by cell.
        policy: thresholds; ``minimum_denominator``, ``group_disclosure`` and ``income`` apply.
        rest: of shares what the numerator does not count of the denominator: the share of that is
            known as well as the share itself.
        per: 100 for percentages, 1000 for per mille.
        decimals: most decimals.
        coarsest: fewest decimals before a rate is hidden; -1 for tens.

    Raises:
        DisclosureError: Z-DIS-045 if the parts do not fit each other.
    """
    n = np.asarray(numerator.values, dtype=np.float64)
    d = np.asarray(denominator.values, dtype=np.float64)
    if n.shape != d.shape or numerator.shown.shape != n.shape or denominator.shown.shape != d.shape:
        raise wrong(
            "rates",
            "numerator, denominator and what is shown differ in length",
            "Pass one value and one status per rate.",
            "Z-DIS-045",
        )
    if not (np.isfinite(n) & np.isfinite(d) & (n >= 0) & (d >= 0)).all() or per <= 0:
        raise wrong(
            "rates",
            "a value is negative or missing",
            "Pass true values of at least 0.",
            "Z-DIS-045",
        )
    least = policy.minimum_denominator or policy.minimum_frequency
    if policy.income is not None:
        least = max(least, policy.income.minimum_units)
    reasons = np.full(n.shape, SHOWN, dtype=object)
    group = policy.group_disclosure
    if group is not None:
        nearly = (n > 0) & ((n >= group.share * d) | (d - n < group.minimum))
        reasons[nearly] = NEARLY_ALL
    reasons[(d < least) | (d == 0)] = MINIMUM_DENOMINATOR
    reasons[~numerator.shown] = NUMERATOR_HIDDEN
    reasons[~denominator.shown] = DENOMINATOR_HIDDEN
    open_ = reasons == SHOWN
    whole = denominator.own(policy.minimum_frequency)
    part = numerator.own(policy.minimum_frequency)
    other = rest.own(policy.minimum_frequency) if rest is not None else None
    rate = per * n / np.where(d > 0, d, 1.0)
    values = np.full(n.shape, np.nan)
    chosen = np.zeros(n.shape, dtype=np.int64)
    low, high = values.copy(), values.copy()
    for digits in range(decimals, coarsest - 1, -1):
        made = _rounded(rate, digits)
        half = 0.5 * 10.0**-digits
        least_rate, most_rate = np.maximum(made - half, 0.0), made + half
        take = open_ & _leaves_open((least_rate, most_rate), part, whole, per)
        if other is not None:
            ends = np.maximum(per - most_rate, 0.0), per - least_rate
            take &= _leaves_open(ends, other, whole, per)
        values[take], chosen[take] = made[take], digits
        low[take] = (least_rate * whole[0] / per)[take]
        high[take] = (most_rate * whole[1] / per)[take]
        open_ &= ~take
    reasons[open_] = TOO_PRECISE
    if numerator.rounding is not None:
        # So coarse a nought would pass for none at all, and which noughts are true is not shown.
        coarse = (values == 0) | ((values == per) & (rest is not None))
        reasons[coarse] = TOO_PRECISE
        values[coarse] = np.nan
    shown = reasons == SHOWN
    return Rates(values, chosen, shown, tuple(reasons.tolist()), low, high)
