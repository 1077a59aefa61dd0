"""Forecasts of published figures, made at every release and judged when the truth arrives.

Everything follows from the tables of a release, so a forecast discloses nothing that the figures
do not: what is hidden there is not seen here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache as remembered
from functools import partial
from importlib.resources import files
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zicht.forecasting.backtest import Lead, Look, Reconcile, backtest, look
from zicht.forecasting.keeping import forget_others, keep, kept
from zicht.forecasting.leading import aligned, informers, known_by, lead
from zicht.forecasting.making import FORECAST_COLUMNS, forecast_rows, horizons, targets
from zicht.forecasting.panel import Floats, Panel, read_indicators, read_panel
from zicht.forecasting.reconciling import make_matrix, read_parts, reconciled
from zicht.forecasting.scoring import SCORE_COLUMNS, score_rows
from zicht.releases.trends import peer_group

Say = Callable[[str], None]

__all__ = ["FORECAST_COLUMNS", "SCORE_COLUMNS", "Forecasts", "forecast", "points_now"]


@dataclass(frozen=True)
class Forecasts:
    """What :func:`forecast` made.

    Attributes:
        forecasts: one row per indicator, region and period to come: :data:`FORECAST_COLUMNS`.
        scores: one row per indicator, horizon, class of regions and method:
            :data:`SCORE_COLUMNS`.
        made: the indicators that were calculated now; those of which nothing changed were kept.
    """

    forecasts: pd.DataFrame
    scores: pd.DataFrame
    made: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """All that the forecasts of one indicator follow from."""

    panel: Panel
    classes: NDArray[np.str_]
    matrix: Floats | None
    others: Sequence[Panel]
    moment: datetime

    @property
    def horizons(self) -> int:
        return horizons(self.panel, self.moment)

    def key(self) -> str:
        """A hash of all of it, and of how it is made."""
        digest = hashlib.sha256(_code().encode())
        for panel in (self.panel, *self.others):
            digest.update(repr((panel.indicator, panel.regions, panel.levels)).encode())
            digest.update(repr((panel.periods, sorted(panel.codes.items()), panel.lag)).encode())
            digest.update(repr((panel.came, panel.is_dated)).encode())
            digest.update(panel.starts.tobytes())
            digest.update(pd.util.hash_pandas_object(panel.cells, index=False).to_numpy().tobytes())
        digest.update("|".join(self.classes).encode())
        digest.update(b"" if self.matrix is None else self.matrix.tobytes())
        digest.update(repr([str(period) for period in targets(self.panel, self.moment)]).encode())
        return digest.hexdigest()[:32]

    def reconcile(self) -> Reconcile | None:
        return None if self.matrix is None else partial(reconciled, self.matrix)

    def _lead(self, column: int, own: Floats, figures: Callable[[Panel], Floats]) -> Floats | None:
        columns = len(self.panel.periods) + self.horizons
        laid = {
            other.indicator.id: aligned(self.panel, other, figures(other), columns)
            for other in self.others
        }
        steps = {other.indicator.id: other.indicator.resolution for other in self.others}
        return lead(self.panel, own, column, self.horizons, laid, steps) if laid else None

    def lead_then(self) -> Lead:
        """What was suggested when a period was the newest one."""

        def at(column: int, own: Floats) -> Floats | None:
            moment = self.panel.moment(column)
            return self._lead(column, own, lambda other: known_by(other, moment))

        return at

    def look_now(self, column: int) -> Look:
        """What every method says of the series of which a period is the newest one."""
        values = self.panel.values.copy()
        values[np.isfinite(values[:, column + 1 :]).any(axis=1)] = np.nan
        return look(
            self.panel,
            column,
            self.horizons,
            self.reconcile(),
            lambda place, own: self._lead(place, own, lambda other: other.values),
            values,
        )


@remembered
def _code() -> str:
    """A hash of this package."""
    digest = hashlib.sha256()
    for path in sorted(files(__name__).iterdir(), key=lambda one: one.name):
        if path.name.endswith(".py"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _classes(panel: Panel, inhabitants: Mapping[str, float | None]) -> NDArray[np.str_]:
    """The size class of each municipality, and the level of every other region."""
    return np.array(
        [
            (peer_group(inhabitants.get(region)) or level) if level == "municipality" else level
            for region, level in zip(panel.regions, panel.levels, strict=True)
        ]
    )


def _jobs(published: duckdb.DuckDBPyConnection, moment: datetime) -> list[_Job]:
    inhabitants = dict(
        published.execute("select region_code, population_1jan from regions").fetchall()
    )
    parts = read_parts(published)
    read = (read_panel(published, indicator) for indicator in read_indicators(published))
    panels = [panel for panel in read if panel is not None]
    return [
        _Job(
            panel,
            _classes(panel, inhabitants),
            make_matrix(panel, parts) if panel.indicator.adds_up else None,
            informers(panel, panels),
            moment,
        )
        for panel in panels
    ]


def _calculate(job: _Job) -> tuple[pd.DataFrame, pd.DataFrame]:
    test = backtest(job.panel, job.horizons, job.classes, job.reconcile(), job.lead_then())
    rows = forecast_rows(test, job.look_now, job.moment, is_reconciled=job.matrix is not None)
    return rows, score_rows(test)


def forecast(
    published: duckdb.DuckDBPyConnection,
    moment: datetime,
    *,
    cache: Path | None = None,
    say: Say = lambda _: None,
) -> Forecasts:
    """Forecasts of all indicators, and how good such forecasts have been.

    Args:
        published: holds the tables of a release; nothing else is read.
        moment: now.
        cache: folder where the result per indicator is kept, by the hash of what it follows from.
            What is not of this release is removed. Nothing is kept when omitted.
        say: hears what is being done.
    """
    forecasts, scores, made, keys = [], [], [], []
    jobs = _jobs(published, moment)
    for number, job in enumerate(jobs, 1):
        key = job.key() if cache is not None else ""
        found = kept(cache, key) if cache is not None else None
        if found is None:
            say(f"  forecast {number} of {len(jobs)}: {job.panel.indicator.id}")
            # With several threads sums come out in another order, and small ones take longer.
            with threadpool_limits(1):
                found = _calculate(job)
            made.append(job.panel.indicator.id)
            if cache is not None:
                found = keep(cache, key, found)
        keys.append(key)
        forecasts.append(found[0])
        scores.append(found[1])
    if cache is not None:
        forget_others(cache, keys)
    return Forecasts(
        _together(forecasts, FORECAST_COLUMNS), _together(scores, SCORE_COLUMNS), tuple(made)
    )


def points_now(published: duckdb.DuckDBPyConnection, moment: datetime) -> pd.DataFrame:
    """What every method expects, beside the one that is used: to compare them.

    Returns:
        ``indicator_id``, ``region_code``, ``method``, ``horizon``, ``point``, of the series that
        have a figure of the newest period.
    """
    rows = []
    for job in _jobs(published, moment):
        one = job.look_now(len(job.panel.periods) - 1)
        for method, point in one.points.items():
            for row in np.flatnonzero(one.is_usable):
                rows += [
                    (job.panel.indicator.id, job.panel.regions[row], method, step, float(value))
                    for step, value in enumerate(point[row], 1)
                ]
    columns = ["indicator_id", "region_code", "method", "horizon", "point"]
    return pd.DataFrame(rows, columns=columns)


def _together(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    there = [frame for frame in frames if len(frame)]
    if not there:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(there, ignore_index=True)
