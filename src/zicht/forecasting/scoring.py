"""The table ``forecast_scores``: how good forecasts have been, by indicator, horizon and class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zicht.forecasting.backtest import CHOSEN, Backtest, Cases
from zicht.forecasting.methods import BASELINES
from zicht.forecasting.panel import Flags

SCORE_COLUMNS = (
    *("indicator_id", "theme", "horizon", "peer_group", "method", "is_chosen", "is_baseline"),
    *("n_cases", "n_origins", "n_real_time", "first_origin", "last_origin"),
    *("mase", "relative_wis", "coverage_50", "coverage_90"),
)
ALL = "all"
"""The class of all municipalities; of all regions where there are none."""


def _groups(test: Backtest) -> dict[str, Flags]:
    every = test.is_local if test.is_local.any() else np.ones(len(test.classes), dtype=bool)
    return {ALL: every, **{str(one): test.classes == one for one in np.unique(test.classes)}}


def _shared_columns(test: Backtest, horizon: int, *methods: str) -> list[int]:
    """The moments at which all of some methods were judged."""
    found = [set(test.cases[m, horizon].columns) for m in methods if (m, horizon) in test.cases]
    return sorted(set.intersection(*found)) if found else []


def _relative(test: Backtest, horizon: int, method: str, rows: Flags) -> float:
    """Score against that of the better baseline, over the same moments; NaN without one."""
    baselines = [name for name in BASELINES if (name, horizon) in test.cases]
    if not baselines:
        return float("nan")
    shared = _shared_columns(test, horizon, method, *baselines)
    best = min(test.cases[name, horizon].mean_wis(shared, rows) for name in baselines)
    own = test.cases[method, horizon].mean_wis(shared, rows)
    return own / best if np.isfinite(own) and 0 < best < np.inf else float("nan")


def _row(test: Backtest, method: str, horizon: int, cases: Cases, rows: Flags) -> dict[str, Any]:
    panel = test.panel
    error = np.stack(cases.error)[:, rows]
    judged = np.isfinite(error)
    columns = [c for c, one in zip(cases.columns, judged, strict=True) if one.any()]
    if not columns:
        return {}
    of_each = judged.sum(axis=1)
    dated = [panel.is_dated[c] for c in cases.columns]
    wide, half = (np.stack([one[place] for one in cases.inside])[:, rows] for place in (0, 1))
    return {
        "is_chosen": test.choice.get(horizon) == method,
        "is_baseline": method in BASELINES,
        "n_cases": int(of_each.sum()),
        "n_origins": len(columns),
        "n_real_time": int(of_each[dated].sum()),
        "first_origin": str(panel.periods[columns[0]]),
        "last_origin": str(panel.periods[columns[-1]]),
        "mase": round(float(np.abs(error[judged]).mean()), 3),
        "relative_wis": round(_relative(test, horizon, method, rows), 3),
        "coverage_50": round(float(np.nanmean(half)), 3),
        "coverage_90": round(float(np.nanmean(wide)), 3),
    }


def score_rows(test: Backtest) -> pd.DataFrame:
    """The rows of ``forecast_scores`` for one indicator."""
    indicator = test.panel.indicator
    made = []
    for (method, horizon), cases in sorted(test.cases.items()):
        for group, rows in _groups(test).items():
            row = _row(test, method, horizon, cases, rows)
            if row:
                key = {"horizon": horizon, "peer_group": group, "method": method}
                made.append({"indicator_id": indicator.id, "theme": indicator.theme, **key, **row})
    return pd.DataFrame(made, columns=list(SCORE_COLUMNS))


__all__ = ["ALL", "CHOSEN", "SCORE_COLUMNS", "score_rows"]
