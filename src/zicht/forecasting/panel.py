"""The published series of one indicator, and what of them was known at each moment.

Everything is read from the tables of a release: what is hidden there is not here either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zicht.catalogue import TOTAL
from zicht.periods import Period

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

LEAST_SHARE = 0.5
"""A period has come when this share of the regions that ever had a figure has one of it."""
MOST_AHEAD = 120
"""Periods after the newest one that are looked at for a break that was announced."""
COVERAGE_JUMP_PCT = 10.0
"""A series starts anew where a source behind it delivered so much more or less than before, in
percentage points of what was expected."""


@dataclass(frozen=True)
class Indicator:
    """What of a definition matters here.

    Attributes:
        adds_up: a number of something, so that regions add up to larger ones; a rate does not.
        resolution: the step in which figures are published.
    """

    id: str
    theme: str
    unit: str
    decimals: int
    adds_up: bool
    resolution: float
    sources: frozenset[str]


@dataclass(frozen=True)
class Panel:
    """All series of one indicator: a row per region, a column per period.

    Attributes:
        indicator: whose series they are.
        regions: ``region_code`` per row.
        levels: ``region_level`` per row.
        periods: from the first to the last one, without gaps.
        values: as published now; NaN where nothing is shown; shape (regions, periods).
        starts: whether a series starts anew in a period, so that what came before it cannot be
            compared; same shape.
        codes: per column what broke in it, for the whole indicator; columns after the last are of
            breaks that were announced.
        came: per period the moment on which it had come.
        is_dated: per period whether ``came`` lies before that of the next period, so that what was
            known in between can be told. Where all came at once, it cannot.
        cells: every value that was ever shown: ``row``, ``column``, ``known_at``, ``value``, in
            the order of ``known_at``.
        lag: from the end of the newest period to its delivery. Earlier ones may be of an archive.
    """

    indicator: Indicator
    regions: tuple[str, ...]
    levels: tuple[str, ...]
    periods: tuple[Period, ...]
    values: Floats
    starts: Flags
    codes: Mapping[int, str]
    came: tuple[datetime, ...]
    is_dated: tuple[bool, ...]
    cells: pd.DataFrame
    lag: timedelta

    @property
    def per_year(self) -> int:
        """Periods in a year."""
        return 12 // self.periods[0].cadence.months

    def moment(self, column: int) -> datetime:
        """When a period was the newest one: as it came, or by the usual lag where that is lost."""
        if self.is_dated[column]:
            return self.came[column]
        return midnight(self.periods[column].end) + self.lag

    def as_known(self, column: int) -> Floats:
        """The figures as they were when period ``column`` was the newest; shape (regions, periods).

        Where the moment is known, with the values of that moment, which may have been revised
        since; otherwise with those of now. Later periods are NaN.
        """
        known = np.full(self.values.shape, np.nan)
        if self.is_dated[column]:
            own = self.cells[self.cells["known_at"] <= pd.Timestamp(self.came[column])]
            known[own["row"].to_numpy(), own["column"].to_numpy()] = own["value"].to_numpy()
        else:
            known[:] = self.values
        known[:, column + 1 :] = np.nan
        return known

    def comparable(self, values: Floats) -> Floats:
        """The same, without what came before the last break of each series."""
        shown = np.isfinite(values)
        last = np.where(shown.any(axis=1), values.shape[1] - 1 - shown[:, ::-1].argmax(axis=1), 0)
        places = np.arange(values.shape[1])
        start = np.where(self.starts & (places <= last[:, None]), places, 0).max(axis=1)
        return np.where(places >= start[:, None], values, np.nan)

    def is_across(self, column: int, horizon: int) -> Flags:
        """Per series whether it starts anew between a period and the one ``horizon`` later."""
        return np.asarray(self.starts[:, column + 1 : column + 1 + horizon].any(axis=1))


def midnight(day: date) -> datetime:
    """The first moment of a day, UTC."""
    return datetime.combine(day, time(), UTC)


_INDICATORS = """
    select indicator_id, theme, unit, coalesce(decimals, 0), denominator is null
            and unit = 'number' as adds_up,
        greatest(
            power(10.0, -coalesce(decimals, 0)), case when adds_up then rounding_base else 0 end
        ) as resolution,
        sources
    from indicators where kind <> 'modelled'
    order by indicator_id
"""


def read_indicators(published: duckdb.DuckDBPyConnection) -> list[Indicator]:
    """The indicators that have figures by region and period, by identifier."""
    return [
        Indicator(id_, theme, unit, decimals, adds_up, step, frozenset(sources.split(";")))
        for id_, theme, unit, decimals, adds_up, step, sources in published.execute(
            _INDICATORS
        ).fetchall()
    ]


# A value that was replaced is known from the revisions; what never changed only from observations.
_CELLS = f"""
    select region_code, region_level, reference_period, known_at, value, lag_days,
        obs_status = 'Q' as is_hidden
    from observations
    where indicator_id = $1 and breakdown = '{TOTAL}'
    union all
    select r.region_code, o.region_level, r.reference_period, r.known_at, r.value, null, false
    from revisions as r
    inner join observations as o
        using (indicator_id, region_code, breakdown, reference_period)
    where r.indicator_id = $1 and r.breakdown = '{TOTAL}' and r.known_at < o.known_at
    order by all
"""

_COVERAGE_BREAKS = f"""
    with covered as (
        select region_code, reference_period,
            coverage_pct - lag(coverage_pct) over (
                partition by source, unit, region_code order by reference_period
            ) as moved
        from coverage
        where source in (select unnest(string_split($1, ';'))) and coverage_pct is not null
    )
    select distinct region_code, reference_period from covered
    where abs(moved) >= {COVERAGE_JUMP_PCT}
"""


def read_panel(published: duckdb.DuckDBPyConnection, indicator: Indicator) -> Panel | None:
    """The series of an indicator over all categories; None when it has not a single figure.

    Args:
        published: holds the tables of a release.
    """
    cells = published.execute(_CELLS, [indicator.id]).df()
    if cells.empty or not cells["value"].notna().any():
        return None
    codes = published.execute(
        "select reference_period, string_agg(code, '+' order by code) from breaks "
        "where indicator_id = $1 group by 1 order by 1",
        [indicator.id],
    ).fetchall()
    jumps = published.execute(_COVERAGE_BREAKS, [";".join(sorted(indicator.sources))]).fetchall()
    return make_panel(indicator, cells, dict(codes), jumps)


def make_panel(
    indicator: Indicator,
    cells: pd.DataFrame,
    codes: Mapping[str, str],
    jumps: list[tuple[str, str]],
) -> Panel:
    """Lays cells out by region and period.

    Args:
        cells: ``region_code``, ``region_level``, ``reference_period``, ``known_at``, ``value``,
            ``lag_days``, ``is_hidden``; the successive values of a cell in the order of
            ``known_at``. At least one has a value.
        codes: per period what broke for the whole indicator.
        jumps: region and period of a source of which coverage jumped.
    """
    # A period that all regions wait for is one to forecast; one that is hidden is not.
    is_there = cells["value"].notna() | cells["is_hidden"]
    newest = max(Period.parse(text) for text in cells.loc[is_there, "reference_period"])
    cells = cells[[Period.parse(text) <= newest for text in cells["reference_period"]]]
    there = sorted({Period.parse(text) for text in cells["reference_period"].unique()})
    periods = [there[0]]
    while periods[-1] < there[-1]:
        periods.append(periods[-1].next())
    column = {str(period): place for place, period in enumerate(periods)}
    regions = sorted(cells["region_code"].unique())
    row = {region: place for place, region in enumerate(regions)}
    level = dict(zip(cells["region_code"], cells["region_level"], strict=True))
    laid = pd.DataFrame(
        {
            "row": cells["region_code"].map(row).astype(int),
            "column": cells["reference_period"].map(column).astype(int),
            "known_at": pd.to_datetime(cells["known_at"], utc=True),
            "value": cells["value"].astype(float),
        }
    ).sort_values(["known_at", "row", "column"], kind="stable", ignore_index=True)
    values = np.full((len(regions), len(periods)), np.nan)
    values[laid["row"], laid["column"]] = laid["value"]
    starts = np.zeros(values.shape, dtype=bool)
    for period in codes:
        if period in column:
            starts[:, column[period]] = True
    for region, text in jumps:
        # A source may have shorter periods than the figures that rest on it.
        day = Period.parse(text).start
        place = next((n for n, p in enumerate(periods) if p.start <= day <= p.end), None)
        if region in row and place is not None:
            starts[row[region], place] = True
    came = _came(laid, values)
    dated = tuple(
        place + 1 == len(came) or moment < came[place + 1] for place, moment in enumerate(came)
    )
    lags = cells.loc[cells["reference_period"] == str(newest), "lag_days"].dropna()
    return Panel(
        indicator,
        tuple(regions),
        tuple(str(level[region]) for region in regions),
        tuple(periods),
        values,
        starts,
        {_column(periods, period): code for period, code in codes.items()},
        came,
        dated,
        laid,
        timedelta(days=float(lags.median()) if len(lags) else 0.0),
    )


def _column(periods: list[Period], text: str) -> int:
    """The column of a period that is there, or would be after the last one."""
    period, place = periods[0], 0
    while str(period) != text and place < len(periods) + MOST_AHEAD:
        period, place = period.next(), place + 1
    return place


def _came(cells: pd.DataFrame, values: Floats) -> tuple[datetime, ...]:
    """Per period when half of the regions that have a figure of it had one; never goes back."""
    shown = cells[cells["value"].notna()].drop_duplicates(["row", "column"])
    found: list[datetime] = []
    earliest = cells["known_at"].min().to_pydatetime()
    for column in range(values.shape[1]):
        moments = shown.loc[shown["column"] == column, "known_at"].sort_values()
        half = int(np.ceil(LEAST_SHARE * len(moments))) - 1
        moment = moments.iloc[half].to_pydatetime() if len(moments) else earliest
        found.append(max(moment, found[-1]) if found else moment)
    return tuple(found)
