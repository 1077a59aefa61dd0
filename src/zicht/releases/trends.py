"""The table ``trends``: per indicator and region how its published figures move.

Level, change, a robust slope with its interval, breaks, and the place of the last figure among the
region's own earlier ones and among municipalities of similar size. Never a ranking. All of it
follows from figures that are in the same release, so it discloses nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zicht.catalogue import TOTAL
from zicht.periods import Period
from zicht.releases.across import Z_95

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

LEAST_PERIODS = 5
"""Fewer figures than this make no slope, and no past to compare with."""
LEAST_PEERS = 4
"""Quartiles of fewer municipalities than this would be single figures, not a group. There are four
with 250,000 inhabitants or more, and they are mostly compared with each other."""
MOST_CATEGORIES = 4
"""Categories have trends of their own when an indicator has at most this many."""
PEER_GROUPS = (
    (0, "under_20000"),
    (20_000, "20000_50000"),
    (50_000, "50000_100000"),
    (100_000, "100000_250000"),
    (250_000, "250000_or_more"),
)
"""Size classes by inhabitants: least number, name."""
_PAIRS_AT_ONCE = 4_000_000

COLUMNS = (
    *("indicator_id", "theme", "region_code", "breakdown", "first_period", "last_period"),
    *("n_periods", "value", "change", "change_pct", "slope_per_year", "slope_lower"),
    *("slope_upper", "breaks", "own_past", "peer_group", "peer_p25", "peer_median"),
    *("peer_p75", "peer_position", "reason"),
)


def theil_sen(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Median slope of many series at once, with the ends of its interval of 95 percent.

    As ``scipy.stats.theilslopes`` for one series (Sen, Estimates of the regression coefficient
    based on Kendall's tau, Journal of the American Statistical Association 63, 1968).

    Args:
        x: moments, ascending and all different; shape (n).
        y: a series per row, NaN where there is no figure; shape (m, n).

    Returns:
        Slope, lower and upper end, each of shape (m); NaN for a series of fewer than two figures.
    """
    step = max(1, _PAIRS_AT_ONCE // max(1, len(x) ** 2))
    parts = [_theil_sen(x, y[start : start + step]) for start in range(0, len(y), step)]
    if not parts:
        return np.empty(0), np.empty(0), np.empty(0)
    slope, lower, upper = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    return slope, lower, upper


def _theil_sen(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[:, second] - y[:, first]) / (x[second] - x[first]), axis=1)
    there = np.isfinite(y)
    n = there.sum(axis=1)
    n_slopes = n * (n - 1) // 2
    # A group of k equal figures adds k (k - 1) (2 k + 5); every figure of it a k-th part of that.
    ties = (y[:, :, None] == y[:, None, :]).sum(axis=2)
    tied = np.where(there, (ties - 1) * (2 * ties + 5), 0).sum(axis=1)
    sigma = np.sqrt(np.maximum(n * (n - 1) * (2 * n + 5) - tied, 0) / 18)
    low = np.maximum(np.round((n_slopes - Z_95 * sigma) / 2).astype(int) - 1, 0)
    high = np.minimum(np.round((n_slopes + Z_95 * sigma) / 2).astype(int), n_slopes - 1)
    rows, enough = np.arange(len(y)), n >= 2

    def at(place: Numbers) -> Floats:
        if not slopes.shape[1]:
            return np.full(len(y), np.nan)
        found = slopes[rows, np.clip(place, 0, slopes.shape[1] - 1)]
        return np.where(enough, found, np.nan)

    median = (at((n_slopes - 1) // 2) + at(n_slopes // 2)) / 2
    return median, at(low), at(high)


@dataclass(frozen=True)
class Grid:
    """The series of one indicator: a row per region and breakdown, a column per period.

    Attributes:
        keys: ``region_code`` and ``breakdown`` per row.
        periods: all periods from the first to the last, also those without any figure.
        values: NaN where there is no figure; shape (rows, periods).
        broken: whether a figure cannot be compared with those before it; same shape.
        codes: per row what is broken where, as (place of the period, code), in order.
    """

    keys: pd.DataFrame
    periods: tuple[Period, ...]
    values: Floats
    broken: Flags
    codes: tuple[tuple[tuple[int, str], ...], ...]

    @property
    def per_year(self) -> int:
        """Periods in a year."""
        return 12 // self.periods[0].cadence.months


def make_grid(figures: pd.DataFrame, known: pd.DataFrame, revised: pd.DataFrame) -> Grid:
    """Lays the figures of one indicator out by period.

    Args:
        figures: ``region_code``, ``breakdown``, ``reference_period``, ``value``; at least one row.
        known: breaks of the whole indicator: ``reference_period``, ``code``; one that is still to
            come marks nothing.
        revised: breaks of single series: also ``region_code``, ``breakdown``.
    """
    wide = figures.pivot(
        index=["region_code", "breakdown"], columns="reference_period", values="value"
    ).sort_index()
    there = {Period.parse(str(text)): str(text) for text in wide.columns}
    periods = [min(there)]
    while periods[-1] < max(there):
        periods.append(periods[-1].next())
    texts = [there.get(period, str(period)) for period in periods]
    keys = wide.index.to_frame(index=False)
    place = {text: number for number, text in enumerate(texts)}
    marks: list[set[tuple[int, str]]] = [set() for _ in range(len(keys))]
    for row in known[known["reference_period"].isin(place)].itertuples():
        for one in marks:
            one.add((place[str(row.reference_period)], str(row.code)))
    number_of = {key: n for n, key in enumerate(keys.itertuples(index=False, name=None))}
    for row in revised.itertuples():
        number = number_of.get((row.region_code, row.breakdown))
        if number is not None:
            marks[number].add((place[str(row.reference_period)], str(row.code)))
    values = wide.reindex(columns=texts).to_numpy(dtype=np.float64, na_value=np.nan)
    broken = np.zeros(values.shape, dtype=bool)
    for number, one in enumerate(marks):
        broken[number, [where for where, _ in one]] = True
    codes = tuple(tuple(sorted(one)) for one in marks)
    return Grid(keys, tuple(periods), values, broken, codes)


def peer_group(population: float | None) -> str | None:
    """The size class of a municipality; None when its number of inhabitants is not known."""
    if population is None or not np.isfinite(population):
        return None
    return [name for least, name in PEER_GROUPS if population >= least][-1]


def trend_rows(grid: Grid, groups: Mapping[str, str | None], decimals: int) -> pd.DataFrame:
    """The rows of ``trends`` for one indicator, without its name and theme.

    Args:
        groups: the peer group of each municipality; other regions are not in it.
        decimals: of the figures. Differences get as many, quartiles one more and slopes two more.
    """
    values, count = grid.values, len(grid.keys)
    rows = np.arange(count)
    shown = np.isfinite(values)
    n_shown = shown.sum(axis=1)
    has = n_shown > 0
    places = np.arange(values.shape[1])
    first = np.where(has, shown.argmax(axis=1), 0)
    last = np.where(has, values.shape[1] - 1 - shown[:, ::-1].argmax(axis=1), 0)
    latest = values[rows, last]
    # A series counts from its last break on.
    breaks_until_last = grid.broken & (places <= last[:, None])
    start = np.where(breaks_until_last, places, 0).max(axis=1)
    since_break = np.where(places >= start[:, None], values, np.nan)

    before = last - grid.per_year
    is_comparable = has & (before >= start)
    earlier = np.where(is_comparable, values[rows, np.maximum(before, 0)], np.nan)
    change = latest - earlier
    with np.errstate(divide="ignore", invalid="ignore"):
        change_pct = np.where(earlier != 0, 100 * change / np.abs(earlier), np.nan)

    moments = np.array([p.year + (p.number - 1) * p.cadence.months / 12 for p in grid.periods])
    slopes = theil_sen(moments, since_break)
    n_since = np.isfinite(since_break).sum(axis=1)
    is_enough = n_since >= LEAST_PERIODS
    slope, lower, upper = (np.where(is_enough, ends, np.nan) for ends in slopes)

    past = np.where(places < last[:, None], since_break, np.nan)
    quarter, three_quarters = _quartiles(past, LEAST_PERIODS)
    group = [groups.get(region) for region in grid.keys["region_code"]]
    peers = _peer_quartiles(grid, np.array([one or "" for one in group]), last, has)
    p25, median, p75 = (_rounded(ends, decimals + 1) for ends in peers)
    return pd.DataFrame(
        {
            "region_code": grid.keys["region_code"],
            "breakdown": grid.keys["breakdown"],
            "first_period": _texts(grid.periods, first, has),
            "last_period": _texts(grid.periods, last, has),
            "n_periods": n_shown,
            "value": latest,
            "change": _rounded(change, decimals),
            "change_pct": _rounded(change_pct, 1),
            "slope_per_year": _rounded(slope, decimals + 2),
            "slope_lower": _rounded(lower, decimals + 2),
            "slope_upper": _rounded(upper, decimals + 2),
            "breaks": [
                ";".join(
                    f"{grid.periods[place]}:{code}"
                    for place, code in codes
                    if first[number] < place <= last[number]
                )
                or None
                for number, codes in enumerate(grid.codes)
            ],
            "own_past": _positions(latest, quarter, three_quarters),
            "peer_group": group,
            "peer_p25": p25,
            "peer_median": median,
            "peer_p75": p75,
            # Held against the quartiles as they are published, so that a reader finds the same.
            "peer_position": _positions(latest, p25, p75),
            "reason": [
                _reason(*one) for one in zip(n_shown.tolist(), n_since.tolist(), strict=True)
            ],
        }
    )


def _reason(n_shown: int, n_since_break: int) -> str | None:
    """Why a series has no slope; None when it has one."""
    if not n_shown:
        return "no_figures"
    if n_shown < LEAST_PERIODS:
        return "too_few_periods"
    return None if n_since_break >= LEAST_PERIODS else "too_few_periods_since_break"


def _texts(periods: Sequence[Period], places: Numbers, has: Flags) -> list[str | None]:
    return [str(periods[place]) if one else None for place, one in zip(places, has, strict=True)]


def _rounded(values: Floats, decimals: int) -> Floats:
    # Adding zero makes a negative zero an ordinary one.
    rounded: Floats = np.round(values, decimals) + 0.0
    return rounded


def _positions(values: Floats, lower: Floats, upper: Floats) -> list[str | None]:
    """Where values lie: below, within or above the middle half; None without one."""
    return [
        None
        if not np.isfinite([value, low, high]).all()
        else "lower"
        if value < low
        else "higher"
        if value > high
        else "within"
        for value, low, high in zip(values, lower, upper, strict=True)
    ]


def _quartiles(values: Floats, least: int) -> tuple[Floats, Floats]:
    """First and third quartile per row; NaN for a row of fewer than ``least`` numbers."""
    enough = np.isfinite(values).sum(axis=1) >= least
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if enough.any():
        low[enough], high[enough] = np.nanpercentile(values[enough], [25, 75], axis=1)
    return low, high


def _peer_quartiles(
    grid: Grid, groups: NDArray[Any], last: Numbers, has: Flags
) -> tuple[Floats, Floats, Floats]:
    """Quartiles of the peer group of each row, in the period of its last figure.

    The municipality itself is one of the group.
    """
    found = np.full((3, len(grid.keys)), np.nan)
    breakdown = grid.keys["breakdown"].to_numpy()
    keys = zip(breakdown, groups, last.tolist(), has.tolist(), strict=True)
    wanted = sorted({(part, group, place) for part, group, place, one in keys if one and group})
    for part, group, place in wanted:
        peers = (breakdown == part) & (groups == group)
        figures = grid.values[peers, place]
        figures = figures[np.isfinite(figures)]
        if len(figures) >= LEAST_PEERS:
            own = peers & has & (last == place)
            found[:, own] = np.percentile(figures, [25, 50, 75])[:, None]
    return found[0], found[1], found[2]


_SERIES = f"""
    with parts as (
        select indicator_id, count(distinct breakdown) as n_parts
        from observations
        where breakdown <> '{TOTAL}'
        group by indicator_id
    )
    select o.indicator_id, o.region_code, o.breakdown, o.reference_period, o.value
    from observations as o
    left join parts as p using (indicator_id)
    where o.breakdown = '{TOTAL}' or p.n_parts <= {MOST_CATEGORIES}
    order by all
"""

# A period of which figures were made anew in another way, while none of the period before it was:
# the two are no longer made alike. A figure that was not changed by it does not differ.
_REVISED = """
    with periods as (
        select indicator_id, reference_period,
            lag(reference_period) over (partition by indicator_id order by reference_period)
                as period_before
        from (select distinct indicator_id, reference_period from observations)
    ),
    numbered as (
        select *,
            lag(value) over (
                partition by indicator_id, region_code, breakdown, reference_period
                order by sequence
            ) as value_before
        from revisions
    ),
    redefined as (
        select * from numbered
        where cause in ('definition', 'geography') and value <> value_before
    )
    select distinct r.indicator_id, r.region_code, r.breakdown, r.reference_period, r.cause as code
    from redefined as r
    inner join periods as p using (indicator_id, reference_period)
    where p.period_before is not null and not exists (
        from redefined as other
        where other.indicator_id = r.indicator_id and other.reference_period = p.period_before
            and other.release_id = r.release_id and other.cause = r.cause
    )
    order by all
"""


def trends(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """The rows of ``trends`` from ``observations``, ``breaks``, ``revisions`` and ``regions``."""
    figures = connection.execute(_SERIES).df()
    definitions = {
        name: (theme, decimals)
        for name, theme, decimals in connection.execute(
            "select indicator_id, theme, coalesce(decimals, 0) from indicators"
        ).fetchall()
    }
    groups = {
        region: peer_group(population)
        for region, population in connection.execute(
            "select region_code, population_1jan from regions where region_level = 'municipality'"
        ).fetchall()
    }
    known = connection.execute(
        "select indicator_id, reference_period, code from breaks order by all"
    ).df()
    revised = connection.execute(_REVISED).df()
    made = []
    for name, own in figures.groupby("indicator_id", sort=True):
        theme, decimals = definitions[str(name)]
        grid = make_grid(
            own, known[known["indicator_id"] == name], revised[revised["indicator_id"] == name]
        )
        rows = trend_rows(grid, groups, decimals)
        made.append(rows.assign(indicator_id=name, theme=theme)[list(COLUMNS)])
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=list(COLUMNS))
