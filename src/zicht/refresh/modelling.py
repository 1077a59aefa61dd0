"""Marts of modelled output: fitted and protected inside the wall, by the method that each names.

What comes out is no table of observations: a method has a table of its own in the release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from zicht.catalogue import Mart
from zicht.disclosure.modelled import ModelPolicy
from zicht.disclosure.policies import Policy
from zicht.errors import ConfigurationError
from zicht.refresh.tables import Regions
from zicht.sql import literal

_COMMON = ("vintage", "known_at", "lag_days")


@dataclass(frozen=True)
class Fit:
    """What a method fits a mart with.

    Attributes:
        mart: the mart.
        cells: its rows. Confidential.
        policy: what its rows must be like.
        shown: per period and region the published count that the mart's model names; empty when
            it names none.
        names: per region its name.
    """

    mart: Mart
    cells: pd.DataFrame
    policy: ModelPolicy
    shown: Mapping[tuple[str, str], float]
    names: Mapping[str, str]


def _profiles(fit: Fit) -> pd.DataFrame:
    from zicht.disclosure.profile import profiles

    rows: pd.DataFrame = profiles(fit.cells, fit.mart.indicator, fit.policy)
    return rows


def _signals(fit: Fit) -> pd.DataFrame:
    from zicht.disclosure.growth import signals

    rows: pd.DataFrame = signals(fit.cells, fit.mart.indicator, fit.policy, fit.shown, fit.names)
    return rows


METHODS: Mapping[str, tuple[str, Callable[[Fit], pd.DataFrame]]] = {
    "feature_profile": ("feature_profiles", _profiles),
    "unexplained_growth": ("signals", _signals),
}
"""Per method the table of the release that its rows go to, and how they are made."""


def table_of(mart: Mart) -> str:
    """The table of the release for a modelled mart.

    Raises:
        ConfigurationError: Z-CFG-048 if the mart names no method that there is.
    """
    method = str((mart.indicator.get("model") or {}).get("method"))
    if method not in METHODS:
        raise ConfigurationError(
            f"{mart.name}: meta.indicator.model names the method {method}.",
            code="Z-CFG-048",
            remedy=f"Choose one of: {', '.join(METHODS)}.",
        )
    return METHODS[method][0]


def fit_mart(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    mart: Mart,
    policy: Policy,
    shown: Callable[[str], Mapping[tuple[str, str], float]],
    regions: Regions,
) -> pd.DataFrame:
    """The protected rows of a modelled mart.

    Args:
        shown: gives the published totals of a counts indicator, by period and municipality.
    """
    table_of(mart)
    model = mart.indicator["model"]
    _, method = METHODS[model["method"]]
    names = dict(zip(regions.frame["region_code"], regions.frame["name"], strict=True))
    cells = connection.execute(f"select * from {relation}").df()
    if cells.empty:
        return cells
    counts = shown(model["of"]["indicator"]) if "of" in model else {}
    rows = method(Fit(mart, cells, ModelPolicy(**policy.protection), counts, names))
    common = cells.groupby("reference_period", sort=True)[[*_COMMON]].first().reset_index()
    return rows.merge(common, on="reference_period", validate="many_to_one").assign(
        indicator_id=mart.indicator["id"], theme=mart.indicator["theme"]
    )


def write_modelled(
    connection: duckdb.DuckDBPyConnection, frames: Mapping[str, list[pd.DataFrame]], folder: Path
) -> dict[str, Path]:
    """Writes ``<table>.parquet`` per table that has rows, in a fixed order.

    Returns:
        The file per table.
    """
    written = {}
    for table, parts in sorted(frames.items()):
        target = folder / f"{table}.parquet"
        target.unlink(missing_ok=True)
        if not parts:
            continue
        rows = pd.concat(parts, ignore_index=True)
        connection.register("modelled", rows)
        connection.execute(
            f"copy (select * from modelled order by all) to {literal(str(target))} (format parquet)"
        )
        connection.unregister("modelled")
        written[table] = target
    return written
