"""The tables ``across_themes`` and ``correlations``: indicators of different themes side by side.

Made of published figures only. Areas are not people: that two figures go together over
municipalities says nothing about the persons in them (Robinson, Ecological correlations and the
behavior of individuals, American Sociological Review 15, 1950). Every correlation says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import atanh, sqrt, tanh

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zicht.catalogue import TOTAL, Mart
from zicht.releases.schema import PublishedColumn
from zicht.sql import literal, quoted

LEAST_REGIONS = 30
"""A correlation over fewer municipalities is not published."""
Z_95 = 1.959963984540054
"""Half the width of an interval of 95 percent, in standard errors: quantile 0.975 of the normal
distribution."""
WARNING = {
    "nl": "Gebieden zijn geen mensen: dat twee cijfers over gemeenten samengaan, zegt niet dat het "
    "om dezelfde inwoners gaat, en niet dat het een het ander veroorzaakt.",
    "en": "Areas are not people: that two figures go together over municipalities does not mean "
    "that they are about the same inhabitants, nor that one causes the other.",
}


def wide_columns(marts: Sequence[Mart]) -> tuple[PublishedColumn, ...]:
    """The columns that a wide table has beside its own: one per indicator, by identifier.

    Modelled output has no figures per municipality and year to lay beside others.
    """
    definitions = sorted(
        (mart.indicator for mart in marts if mart.indicator["kind"] != "modelled"),
        key=lambda meta: str(meta["id"]),
    )
    return tuple(
        PublishedColumn(
            meta["id"],
            "DOUBLE",
            {
                language: f"{meta['label'][language]} ({meta['unit'][language]})"
                for language in ("nl", "en")
            },
        )
        for meta in definitions
    )


def across_query(columns: Sequence[PublishedColumn]) -> str:
    """A query with the rows of ``across_themes`` from ``observations``.

    One row per municipality and year, with the figures over all categories. The figure of a year is
    the one about the year, or the one about its last quarter or month. A row is there when
    indicators of at least two themes have a figure to lay side by side in it.
    """
    figures = "".join(
        f", max(value) filter (where indicator_id = {literal(c.name)}) as {quoted(c.name)}"
        for c in columns
    )
    return f"""
        select region_code, left(reference_period, 4) as reference_period{figures}
        from observations
        where region_level = 'municipality' and breakdown = {literal(TOTAL)} and value is not null
            and regexp_full_match(reference_period, '[0-9]{{4}}(-Q4|-12)?')
        group by region_code, left(reference_period, 4)
        having count(distinct theme) >= 2
    """


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 on of a row of numbers, equal ones sharing the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: NDArray[np.float64] = counts.cumsum() - (counts - 1) / 2
    return shared[inverse]


def rank_correlation(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[float, float, float] | None:
    """Spearman's rho of two rows of numbers, with the ends of its interval of 95 percent.

    The interval is Fisher's z with the variance (1 + rho²/2) / (n - 3) of Bonett and Wright, Sample
    size requirements for estimating Pearson, Kendall and Spearman correlations, Psychometrika 65,
    2000.

    Returns:
        rho, lower, upper; None when all values of a row are equal, or there are fewer than four.
    """
    if len(a) < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    rho = float(np.clip(np.corrcoef(ranks(a), ranks(b))[0, 1], -1.0, 1.0))
    if abs(rho) > 1 - 1e-12:
        return rho, rho, rho
    half = Z_95 * sqrt((1 + rho**2 / 2) / (len(a) - 3))
    return rho, tanh(atanh(rho) - half), tanh(atanh(rho) + half)


def correlations(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """The rows of ``correlations`` from ``across_themes`` and ``indicators``.

    Pairs of indicators of different themes, in every year that both cover in at least
    :data:`LEAST_REGIONS` municipalities. Only indicators with a denominator: two counts go together
    because large municipalities have more of everything.
    """
    frame = connection.execute("select * from across_themes order by all").df()
    themes = dict(
        connection.execute(
            "select indicator_id, theme from indicators where denominator is not null"
        ).fetchall()
    )
    names = [column for column in frame.columns if column in themes]
    pairs = [(a, b) for a, b in combinations(sorted(names), 2) if themes[a] != themes[b]]
    rows = []
    for period, own in frame.groupby("reference_period", sort=True):
        values = {name: own[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}
        for a, b in pairs:
            both = np.isfinite(values[a]) & np.isfinite(values[b])
            n = int(both.sum())
            found = rank_correlation(values[a][both], values[b][both])
            if n < LEAST_REGIONS or found is None:
                continue
            # Adding zero makes a negative zero an ordinary one.
            rho, lower, upper = (round(number, 2) + 0.0 for number in found)
            rows.append((a, b, themes[a], themes[b], str(period), n, rho, lower, upper))
    columns = ["indicator_a", "indicator_b", "theme_a", "theme_b", "reference_period"]
    result = pd.DataFrame(rows, columns=[*columns, "n_regions", "rho", "lower", "upper"])
    return result.assign(warning_nl=WARNING["nl"], warning_en=WARNING["en"])
