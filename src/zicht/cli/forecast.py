"""``zicht forecast``: how well forecasts came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from zicht.cli.options import AsJson
from zicht.cli.tables import print_json, print_table
from zicht.errors import ReleaseError, UsageError
from zicht.releases.store import CURRENT, current_release
from zicht.settings import Settings

app = typer.Typer(rich_markup_mode=None)
forecast_app = typer.Typer(
    help="What is said of the forecasts of the current release.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(forecast_app, name="forecast")


def _scores(settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``forecast_scores`` of the current release."""
    import duckdb

    current = current_release(settings)
    path = settings.releases / CURRENT / "forecast_scores.parquet"
    if current is None or not path.exists():
        none = f"release {current['release_id']} has none" if current else "there is no release yet"
        raise ReleaseError(
            f"no scores of forecasts: {none}.",
            code="Z-REL-026",
            remedy="Run zicht refresh: a release with new figures has them.",
        )
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(
            "select * from read_parquet($1) order by indicator_id, horizon, peer_group, method",
            [str(path)],
        )
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _number(value: float | None, decimals: int = 2) -> str | None:
    return None if value is None else f"{value:.{decimals}f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f}%"


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a person reads it."""
    n_cases = row["n_cases"]
    return {
        "indicator": row["indicator_id"],
        "ahead": row["horizon"],
        "group": row["peer_group"],
        "method": f"{row['method']} ◀" if row["is_chosen"] else row["method"],
        "cases": n_cases,
        "real_time": _percent(row["n_real_time"] / n_cases) if n_cases else None,
        "rel_WIS": _number(row["relative_wis"]),
        "in_50%": _percent(row["coverage_50"]),
        "in_90%": _percent(row["coverage_90"]),
    }


_FIGURES = ("ahead", "cases", "real_time", "rel_WIS", "in_50%", "in_90%")


def _print_chosen(rows: Sequence[Mapping[str, Any]]) -> None:
    chosen = [row for row in rows if row["is_chosen"] and row["peer_group"] == "all"]
    print_table(
        "methods in use",
        ["indicator", "ahead", "method", *_FIGURES[1:]],
        [{**_line(row), "method": row["method"]} for row in chosen],
        right=_FIGURES,
    )


def _print_all(rows: Sequence[Mapping[str, Any]]) -> None:
    for name in dict.fromkeys(row["indicator_id"] for row in rows):
        print_table(
            f"{name} (◀ in use)",
            ["ahead", "group", "method", *_FIGURES[1:]],
            [_line(row) for row in rows if row["indicator_id"] == name],
            right=_FIGURES,
        )


@forecast_app.command("scores")
def forecast_scores(
    indicator: Annotated[str | None, typer.Option(help="Only this indicator.")] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Only so many periods ahead.")] = None,
    all_methods: Annotated[
        bool,
        typer.Option("--all", help="Every method and group of regions."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Shows how forecasts came out that were made with what was known at the time.

    Per indicator and number of periods ahead: the method in use, how many forecasts were judged and
    which share of them rests on what was really known then, the score against the better of two
    plain methods (under 1 is better), and which share of the figures came within the intervals of
    50 and 90 percent. A method that won looks a little too good: as_chosen (--all) is what choosing
    at each of these moments would have given.

    Example: zicht forecast scores --indicator registered_crimes
    """
    rows = _scores(Settings.from_environment())
    if indicator is not None and indicator not in {row["indicator_id"] for row in rows}:
        raise UsageError(
            f"there are no scores of forecasts of {indicator!r}.",
            code="Z-USE-007",
            remedy="zicht forecast scores lists the indicators that have them.",
        )
    rows = [
        row
        for row in rows
        if indicator in (None, row["indicator_id"]) and horizon in (None, row["horizon"])
    ]
    if as_json:
        print_json(rows)
    elif all_methods:
        _print_all(rows)
    else:
        _print_chosen(rows)
