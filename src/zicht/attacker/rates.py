"""Shares and rates that give back a hidden numerator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zicht.attacker.findings import Finding, Kind, Severity, number, tidy
from zicht.attacker.knowledge import Clue
from zicht.errors import AttackError

Floats = npt.NDArray[np.float64]

_SLACK = 1e-9


def numerators_from_rates(
    rates: npt.ArrayLike,
    denominators: npt.ArrayLike,
    decimals: int,
    *,
    factor: float = 100.0,
    is_share: bool = True,
) -> tuple[Floats, Floats]:
    """Whole numerators that agree with rounded rates and known denominators.

    A rate r with d decimals says: r - 0.5·10^-d <= factor·numerator/denominator <= r + 0.5·10^-d.

    Args:
        rates: [n] published rates; nan where there is none.
        denominators: [n] known denominators.
        decimals: decimals that the rates were rounded to; may be negative.
        factor: 100 for a percentage, 1000 for a rate per thousand.
        is_share: whether a numerator can not be larger than its denominator.

    Returns:
        Least and greatest whole numerator, each [n]; nan where there is no rate. Least above
        greatest: no whole numerator agrees, so the denominator is another one.

    Raises:
        AttackError: Z-ATT-013 if the lengths differ or a denominator is negative.
    """
    rate = np.asarray(rates, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    if rate.shape != below.shape or np.any(below < 0) or factor <= 0:
        raise AttackError(
            f"{rate.shape} rates go with {below.shape} denominators, "
            "and neither these nor the factor may be negative.",
            code="Z-ATT-013",
            remedy="Give one denominator per rate.",
        )
    half = 0.5 * 10.0**-decimals
    low, high = (rate - half) * below / factor, (rate + half) * below / factor
    slack = _SLACK * np.maximum(1.0, np.abs(high))
    least = np.maximum(np.ceil(low - slack), 0.0)
    greatest = np.floor(high + slack)
    if is_share:
        greatest = np.minimum(greatest, below)
    return np.where(np.isnan(rate), np.nan, least), np.where(np.isnan(rate), np.nan, greatest)


@dataclass(frozen=True, eq=False)
class RateTable:
    """Published rates, row by row.

    Attributes:
        name: file or table.
        keys: per row its codes by dimension.
        rate: [n] nan where there is none.
        denominator: [n] known denominators.
        is_hidden: [n] whether the numerator was hidden.
        decimals: decimals of the rates.
        factor: 100 for percentages.
        is_share: whether a numerator can not be larger than its denominator.
    """

    name: str
    keys: Sequence[Mapping[str, str]]
    rate: Floats
    denominator: Floats
    is_hidden: npt.NDArray[np.bool_]
    decimals: int
    factor: float = 100.0
    is_share: bool = True

    def numerators(self) -> tuple[Floats, Floats]:
        """Least and greatest whole numerator per row."""
        return numerators_from_rates(
            self.rate, self.denominator, self.decimals, factor=self.factor, is_share=self.is_share
        )


def rate_findings(table: RateTable, *, minimum_frequency: int = 10) -> Iterable[Finding]:
    """Hidden numerators that a rate gives back, or shows to be small."""
    least, greatest = table.numerators()
    for row in np.flatnonzero(table.is_hidden & ~np.isnan(table.rate)).tolist():
        low, high = float(least[row]), float(greatest[row])
        if high < low:
            continue
        known = f"rate {number(float(table.rate[row]))} of {number(float(table.denominator[row]))}"
        if high == low:
            severity, message = Severity.FAIL, f"the numerator follows from the {known}"
        elif high < minimum_frequency and low > 0:
            severity = Severity.WARN
            message = f"the numerator is known to be small from the {known}"
        else:
            continue
        yield Finding(
            Kind.RATE, severity, table.name, table.keys[row], tidy(low), tidy(high), message
        )


def clues_of_rates(table: RateTable) -> list[Clue]:
    """What rates say of hidden cells, to lay beside the tables of counts."""
    least, greatest = table.numerators()
    return [
        Clue(table.keys[row], float(least[row]), float(greatest[row]), table.name)
        for row in np.flatnonzero(table.is_hidden & ~np.isnan(table.rate)).tolist()
        if greatest[row] >= least[row]
    ]
