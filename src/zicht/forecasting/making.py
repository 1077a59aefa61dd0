"""The table ``forecasts``: from the newest figure of each series to now, and on from there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from zicht.forecasting.backtest import LEAST_HISTORY, Backtest, Look
from zicht.forecasting.panel import Floats, Panel
from zicht.periods import Cadence, Period

FORECAST_COLUMNS = (
    *("indicator_id", "theme", "region_code", "region_level", "breakdown", "reference_period"),
    *("horizon", "last_period", "made_at", "point", "lower_50", "upper_50", "lower_90"),
    *("upper_90", "unit", "method", "obs_status", "reason", "breaks", "is_reconciled"),
)
AHEAD = {Cadence.YEARLY: 2, Cadence.QUARTERLY: 4, Cadence.MONTHLY: 12}
"""Periods after the present one."""
MOST_HORIZONS = {Cadence.YEARLY: 6, Cadence.QUARTERLY: 12, Cadence.MONTHLY: 24}
"""No forecast reaches further from the newest figure."""
_ENDS = ("lower_90", "lower_50", "upper_50", "upper_90")
_MOST_PCT = 100.0


def targets(panel: Panel, moment: datetime) -> list[Period]:
    """The periods after the newest one, up to the present one and :data:`AHEAD` more."""
    cadence = panel.periods[-1].cadence
    found = [panel.periods[-1].next()]
    while found[-1].end < moment.date():
        found.append(found[-1].next())
    # The newest figure may be of the present period already, or of one to come.
    is_ahead = panel.periods[-1].end >= moment.date()
    for _ in range(AHEAD[cadence] - is_ahead):
        found.append(found[-1].next())
    return found[: MOST_HORIZONS[cadence]]


def oldest_start(panel: Panel) -> int:
    """The earliest column that may be the newest of a series: a year before that of the others."""
    return max(0, len(panel.periods) - panel.per_year - (panel.per_year == 1))


def horizons(panel: Panel, moment: datetime) -> int:
    """The furthest horizon that any series needs."""
    last = len(panel.periods) - 1
    most = MOST_HORIZONS[panel.periods[-1].cadence]
    return min(most, len(targets(panel, moment)) + last - oldest_start(panel))


def _reason(panel: Panel, row: int) -> str:
    """Why a series has no forecast at all."""
    shown = np.isfinite(panel.values[row])
    if not shown.any():
        return "no_figures"
    if shown.sum() < LEAST_HISTORY:
        return "too_few_periods"
    if len(shown) - 1 - int(shown[::-1].argmax()) < oldest_start(panel):
        return "last_period_hidden"
    return "too_few_periods_since_break"


def _breaks(panel: Panel, first: int, until: int) -> str | None:
    said = [
        f"{_period(panel, column)}:{code}"
        for column, code in sorted(panel.codes.items())
        if first < column <= until
    ]
    return ";".join(said) or None


def _period(panel: Panel, column: int) -> Period:
    period = panel.periods[0]
    for _ in range(column):
        period = period.next()
    return period


def forecast_rows(
    test: Backtest,
    look_at: Callable[[int], Look],
    moment: datetime,
    *,
    is_reconciled: bool,
) -> pd.DataFrame:
    """The rows of ``forecasts`` for one indicator: every region and every period to come.

    A row without a point says why.

    Args:
        look_at: what every method says now of the series of which a column is the newest.
        moment: now.
        is_reconciled: whether regions add up.
    """
    panel = test.panel
    ahead = targets(panel, moment)
    last = len(panel.periods) - 1
    shown = np.isfinite(panel.values)
    newest = np.where(shown.any(axis=1), last - shown[:, ::-1].argmax(axis=1), -1)
    looks = {column: look_at(column) for column in range(oldest_start(panel), last + 1)}
    ends_of: dict[tuple[int, int], tuple[str, Floats, Floats] | None] = {}
    made = []
    for row, region in enumerate(panel.regions):
        column = int(newest[row])
        one = looks.get(column)
        is_usable = one is not None and bool(one.is_usable[row])
        first = int(shown[row].argmax()) if shown[row].any() else 0
        for step, period in enumerate(ahead, 1):
            horizon = last + step - column
            key: dict[str, Any] = {
                "region_code": region,
                "region_level": panel.levels[row],
                "reference_period": str(period),
                "horizon": horizon if column >= 0 else step,
                "last_period": str(panel.periods[column]) if column >= 0 else None,
                "breaks": _breaks(panel, first, last + step),
            }
            if not is_usable:
                made.append({**key, "reason": _reason(panel, row)})
            elif any(last < c <= last + step for c in panel.codes):
                made.append({**key, "reason": "announced_break"})
            else:
                place = (column, horizon)
                if place not in ends_of:
                    assert one is not None
                    ends_of[place] = _ends(test, one, horizon)
                said = ends_of[place]
                if said is None or not np.isfinite([said[1][row], *said[2][row]]).all():
                    made.append({**key, "reason": "too_few_cases"})
                else:
                    made.append({**key, "method": said[0], **_numbers(panel, said, row)})
    frame = pd.DataFrame(made).reindex(columns=list(FORECAST_COLUMNS))
    return frame.assign(
        indicator_id=panel.indicator.id,
        theme=panel.indicator.theme,
        breakdown="total",
        made_at=moment,
        unit=panel.indicator.unit,
        obs_status=np.where(frame["point"].notna(), "F", "M"),
        # Only series that go on from the same period were made to add up with each other.
        is_reconciled=frame["point"].notna()
        & (frame["last_period"] == str(panel.periods[-1]))
        & is_reconciled,
    )


def _numbers(panel: Panel, said: tuple[str, Floats, Floats], row: int) -> dict[str, float]:
    """Point and ends with one decimal more than figures have, within what is possible."""
    _, point, ends = said
    numbers = np.concatenate([[point[row]], ends[row]])
    if (panel.values[np.isfinite(panel.values)] >= 0).all():
        numbers = np.maximum(numbers, 0.0)
    if panel.indicator.unit == "pct":
        numbers = np.minimum(numbers, _MOST_PCT)
    # The point lies within its intervals, also where all errors were on one side.
    numbers[1:3] = np.minimum(numbers[1:3], numbers[0])
    numbers[3:] = np.maximum(numbers[3:], numbers[0])
    numbers = np.round(numbers, panel.indicator.decimals + 1) + 0.0
    return dict(zip(("point", *_ENDS), map(float, numbers), strict=True))


def _ends(test: Backtest, one: Look, horizon: int) -> tuple[str, Floats, Floats] | None:
    """Method, points and interval ends of all series that a look is at; None without a judge."""
    method = test.choice.get(horizon)
    last = len(test.panel.periods) - 1
    if method is None or method not in one.points or horizon > one.points[method].shape[1]:
        return None
    wide = test.width(method, horizon, last, test.panel.values)
    if wide is None:
        return None
    point = one.points[method][:, horizon - 1]
    return method, point, wide.around(point, one.scale, test.classes)
