"""What share of the expected units was delivered, from values that may be published.

Measured against an independent frame (inhabitants, dwellings, establishments), and against the
period before of the same source. A region that is measured less is not a region with less: where
coverage lies below its limit, a figure is missing.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from zicht.periods import Period

COLUMNS = (
    *("source", "unit", "reference_period", "region_code", "frame", "n_expected", "n_delivered"),
    *("coverage_pct", "before_pct", "limit_pct", "is_below_limit", "known_at", "vintage"),
)
"""Columns of the table, in order."""

LEAST = 1000
"""Units from which on a share is given: below it, rounding to hundreds decides."""

_KEY = ["reference_period", "region_code"]


def _share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Percentages to one decimal; nan where the whole is unknown or small."""
    return (100 * part / whole.where(whole >= LEAST)).round(1)


def with_shares(counts: pd.DataFrame, limit_pct: float | None) -> pd.DataFrame:
    """Adds what was delivered as a share of what is expected, and of the period before.

    The limit holds for the share of what is expected; where no frame says that, for the share of
    the period before.

    Args:
        counts: of one source and unit: ``reference_period``, ``region_code`` (one row for each
            pair), ``n_delivered`` (units, rounded, nan when hidden or missing) and ``n_expected``
            (units, nan when not known).
        limit_pct: the limit, in percent; None for none.

    Returns:
        the same rows with ``coverage_pct``, ``before_pct`` (percent, one decimal, nan where the
        whole is unknown or below :data:`LEAST` units), ``limit_pct`` and ``is_below_limit``.
    """
    earlier = {
        period: str(Period.parse(period).before()) for period in counts["reference_period"].unique()
    }
    before = counts.set_index(_KEY)["n_delivered"]
    keys = pd.MultiIndex.from_arrays(
        [counts["reference_period"].map(earlier), counts["region_code"]], names=_KEY
    )
    former = pd.Series(before.reindex(keys).to_numpy(), index=counts.index, dtype=float)
    coverage = _share(counts["n_delivered"], counts["n_expected"])
    change = _share(counts["n_delivered"], former)
    judged = coverage.where(counts["n_expected"].notna(), change)
    limit = float("nan") if limit_pct is None else float(limit_pct)
    return counts.assign(
        coverage_pct=coverage,
        before_pct=change,
        limit_pct=limit,
        is_below_limit=(judged < limit).to_numpy(dtype=bool),
    )


def low_coverage(rows: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Source, reference period and municipality of which too little was delivered.

    An indicator figure that rests on one of them is missing, not small.

    Args:
        rows: the table, see :data:`COLUMNS`.
    """
    low = rows[rows["is_below_limit"] & rows["region_code"].str.startswith("GM")]
    found: Iterable[tuple[str, str, str]] = low[
        ["source", "reference_period", "region_code"]
    ].itertuples(index=False, name=None)
    return set(found)
