"""Trends follow from published figures: slope, change, breaks, own past and peers."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from candidate_support import broken_rules, build, cell, content_of, mart, rows_of
from support import PROJECT, settings_at
from zicht.contracts import load_contracts
from zicht.periods import Period
from zicht.releases.errata import Break, BreakCode, break_rows, load_breaks
from zicht.releases.trends import (
    _REVISED,
    LEAST_PEERS,
    PEER_GROUPS,
    make_grid,
    peer_group,
    theil_sen,
    trend_rows,
)
from zicht.releases.writing import DATABASE
from zicht.settings import Settings


def trend(
    figures: dict[str, dict[str, float | None]],
    *,
    known: list[tuple[str, str]] | None = None,
    revised: list[tuple[str, str, str]] | None = None,
    groups: dict[str, str | None] | None = None,
) -> pd.DataFrame:
    """The trends of ``{region: {period: value}}``, by region."""
    rows = [
        {"region_code": region, "breakdown": "total", "reference_period": period, "value": value}
        for region, series in figures.items()
        for period, value in series.items()
    ]
    grid = make_grid(
        pd.DataFrame(rows),
        pd.DataFrame(known or [], columns=["reference_period", "code"]),
        pd.DataFrame(
            [(region, "total", period, code) for region, period, code in revised or []],
            columns=["region_code", "breakdown", "reference_period", "code"],
        ),
    )
    found = trend_rows(grid, groups or {}, 1).set_index("region_code").astype(object)
    return found.where(found.notna(), None)


def years(values: list[float | None], first: int = 2015) -> dict[str, float | None]:
    return {str(first + number): value for number, value in enumerate(values)}


def test_the_slope_is_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    x = np.cumsum(random.integers(1, 3, 14)) / 4
    # Rounded, so that there are ties; with gaps of every size.
    y = np.round(random.normal(size=(150, 14)), 1)
    y[random.random(y.shape) < random.random((150, 1)) * 0.7] = np.nan
    y[0], y[1] = 3.0, np.nan
    slope, lower, upper = theil_sen(x, y)
    for number, row in enumerate(y):
        there = np.isfinite(row)
        found = (slope[number], lower[number], upper[number])
        if there.sum() < 2:
            assert np.isnan(found).all()
            continue
        expected = stats.theilslopes(row[there], x[there])
        wanted = (expected.slope, expected.low_slope, expected.high_slope)
        assert found == pytest.approx(wanted, abs=1e-12)
    assert [len(part) for part in theil_sen(x, y[:0])] == [0, 0, 0]


def test_level_change_and_slope_of_a_plain_series() -> None:
    row = trend({"GM1": years([10.0, 12.0, 14.0, 16.0, 18.0, 20.0])}).loc["GM1"]
    assert (row["first_period"], row["last_period"], row["n_periods"]) == ("2015", "2020", 6)
    assert (row["value"], row["change"], row["change_pct"]) == (20.0, 2.0, 11.1)
    assert (row["slope_per_year"], row["slope_lower"], row["slope_upper"]) == (2.0, 2.0, 2.0)
    assert (row["breaks"], row["reason"], row["own_past"]) == (None, None, "higher")


def test_what_is_not_there_is_said_and_not_filled_in() -> None:
    rows = trend(
        {
            "GM1": years([1.0, 1.0, 1.0, 1.0, None, None]),
            "GM2": years([None] * 6),
            "GM3": years([4.0, 4.0, 4.0, 4.0, None, 4.0]),
            "GM4": years([0.0, 0.0, 0.0, 0.0, 0.0, 3.0]),
        }
    )
    assert list(rows["reason"]) == ["too_few_periods", "no_figures", None, None]
    assert list(rows["last_period"]) == ["2018", None, "2020", "2020"]
    assert rows.loc["GM1", "change"] == 0.0
    assert rows.loc["GM2", "value"] is None
    # The year before has no figure; nor is anything a percentage of zero.
    assert rows.loc["GM3", "change"] is None
    assert rows.loc["GM4", "change"] == 3.0
    assert rows.loc["GM4", "change_pct"] is None
    assert rows.loc["GM3", "own_past"] is None, "four earlier figures are no past"


def test_a_quarter_is_compared_with_that_of_a_year_before() -> None:
    quarters = [f"{year}-Q{quarter}" for year in (2023, 2024) for quarter in (1, 2, 3, 4)]
    values = [10.0, 20.0, 30.0, 40.0, 14.0, 24.0, 34.0, 44.0]
    row = trend({"GM1": dict(zip(quarters, values, strict=True))}).loc["GM1"]
    assert (row["last_period"], row["change"]) == ("2024-Q4", 4.0)
    x = 2023 + np.arange(8) / 4
    assert row["slope_per_year"] == round(stats.theilslopes(values, x).slope, 3)


def test_nothing_is_drawn_across_a_break() -> None:
    series = {"GM1": years([9.0, 8.0, 7.0, 20.0, 21.0, 22.0, 23.0, 24.0])}
    whole, broken = trend(series).loc["GM1"], trend(series, known=[("2018", "method")]).loc["GM1"]
    assert whole["slope_per_year"] > 2
    assert broken["slope_per_year"] == 1.0
    assert (broken["breaks"], broken["n_periods"], broken["reason"]) == ("2018:method", 8, None)
    assert broken["own_past"] is None, "only four figures since the break"
    late = trend(series, known=[("2022", "geography"), ("2018", "method")]).loc["GM1"]
    assert late["change"] is None
    assert late["slope_per_year"] is None
    assert late["breaks"] == "2018:method;2022:geography"
    assert late["reason"] == "too_few_periods_since_break"
    # A break before the first figure or after the last one is none of this series.
    early = trend({"GM1": years([1.0] * 5)}, known=[("2015", "method")]).loc["GM1"]
    assert (early["breaks"], early["slope_per_year"]) == (None, 0.0)


def test_a_period_that_was_made_anew_alone_breaks_its_own_series_only() -> None:
    series = {name: years([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) for name in ("GM1", "GM2")}
    rows = trend(series, revised=[("GM1", "2017", "definition"), ("GM9", "2017", "definition")])
    assert list(rows["breaks"]) == ["2017:definition", None]
    assert list(rows["reason"]) == ["too_few_periods_since_break", None]


def test_revisions_of_one_period_without_the_one_before_are_a_break() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "create table observations as select 'i' as indicator_id, "
            "unnest(['2020', '2021', '2022']) as reference_period"
        )
        connection.execute(
            "create table revisions (region_code varchar, reference_period varchar, "
            "sequence integer, value double, release_id varchar, cause varchar)"
        )
        rows: list[tuple[str, str, float | None, str, str]] = [
            # region, period, new value, release, cause
            ("all", "2020", 2.0, "r2", "definition"),
            ("all", "2021", 2.0, "r2", "definition"),
            ("one", "2022", 2.0, "r3", "geography"),
            ("new data", "2022", 2.0, "r4", "data"),
            ("now hidden", "2022", None, "r5", "definition"),
            ("status only", "2022", 1.0, "r6", "definition"),
        ]
        for region, period, value, release, cause in rows:
            for number, one in ((1, (1.0, "r1", "first")), (2, (value, release, cause))):
                connection.execute(
                    "insert into revisions values (?, ?, ?, ?, ?, ?)",
                    [region, period, number, *one],
                )
        connection.execute(
            "alter table revisions add column indicator_id varchar default 'i'; "
            "alter table revisions add column breakdown varchar default 'total'"
        )
        found = connection.execute(_REVISED).fetchall()
    assert found == [("i", "one", "total", "2022", "geography")]


@pytest.mark.parametrize(
    ("population", "group"),
    [
        (0, "under_20000"),
        (19_999, "under_20000"),
        (20_000, "20000_50000"),
        (10**6, "250000_or_more"),
    ],
)
def test_municipalities_are_grouped_by_size(population: int, group: str) -> None:
    assert peer_group(population) == group
    assert peer_group(None) is None
    assert [least for least, _ in PEER_GROUPS] == sorted({least for least, _ in PEER_GROUPS})


def test_the_last_figure_is_held_against_municipalities_of_similar_size() -> None:
    figures = {f"GM{number}": years([float(number)] * 5) for number in range(1, 8)}
    figures["GM7"]["2019"] = None
    figures["PV1"] = years([100.0] * 5)
    figures["GM8"] = years([100.0] * 5)
    groups: dict[str, str | None] = {f"GM{n}": "under_20000" for n in range(1, 8)}
    rows = trend(figures, groups={**groups, "GM8": "250000_or_more"})
    inside = rows.loc[[f"GM{number}" for number in range(1, 7)]]
    assert set(inside["peer_p25"]) == {2.25}
    assert set(inside["peer_median"]) == {3.5}
    assert set(inside["peer_p75"]) == {4.75}
    assert list(inside["peer_position"]) == ["lower"] * 2 + ["within"] * 2 + ["higher"] * 2
    # The seventh has no figure in 2019, so its own is compared with those of 2018.
    assert rows.loc["GM7", "peer_median"] == 4.0
    assert rows.loc["PV1", "peer_group"] is None
    assert rows.loc["GM8", "peer_group"] == "250000_or_more"
    assert rows.loc["GM8", "peer_median"] is None, f"fewer than {LEAST_PEERS} in its class"


LINE = Break(Period.parse("2018"), BreakCode.METHOD, None, "s", {"nl": "n", "en": "e"}, "r")


def test_a_break_belongs_to_the_first_period_that_ends_after_it() -> None:
    marts = [mart("a"), mart("b"), mart("c", sources=["other"])]
    periods = {"a": [str(year) for year in range(2015, 2021)], "b": ["2017-Q4", "2018-Q2"]}
    found = [
        (row["indicator_id"], row["reference_period"]) for row in break_rows([LINE], marts, periods)
    ]
    assert found == [("a", "2018"), ("b", "2018-Q2")]
    # Nothing lies before it to compare with.
    assert break_rows([LINE], marts, {"a": ["2018", "2019"]}) == []
    # It is still to come.
    later = break_rows([LINE], marts, {"a": ["2015", "2016"], "b": ["2017-Q2", "2017-Q3"]})
    assert [row["reference_period"] for row in later] == ["2018", "2018-Q1"]


def test_a_release_marks_breaks_and_draws_no_trend_across(
    settings: Settings, tmp_path: Path
) -> None:
    series = {str(2015 + number): float(number) for number in range(8)}
    cells = [cell("i", "GM0001", period, value) for period, value in series.items()]
    cells += [
        cell("i", "GM0002", "2018", 1.0, is_provisional=True),
        cell("i", "GM0003", "2018", 1.0, is_estimated=True),
        cell("i", "GM0004", "2018", None),
        cell("i", "GM0001", "2018", None, breakdown="d=a", is_suppressed=True),
    ]
    breakdown = {"d": {"label": {"nl": "D", "en": "D"}, "categories": {
        "a": {"nl": "a", "en": "a"}, "b": {"nl": "b", "en": "b"}}}}  # fmt: skip
    regions = {f"GM000{number}": 1000 for number in range(1, 5)}
    content = content_of(tmp_path, [mart("i", breakdown=breakdown)], cells, regions, breaks=[LINE])
    folder = build(settings, content)
    flags = rows_of(
        folder,
        "select region_code, breakdown, obs_status, obs_flags from observations "
        "where reference_period = '2018' order by all",
    )
    assert flags == [
        ("GM0001", "d=a", "Q", "suppressed;break"),
        ("GM0001", "total", "B", "break"),
        ("GM0002", "total", "B", "break;provisional"),
        ("GM0003", "total", "E", "estimated;break"),
        ("GM0004", "total", "O", "missing;break"),
    ]
    assert rows_of(folder, "select * from breaks") == [("i", "2018", "method", "n", "e", "r")]
    trends = "select n_periods, slope_per_year, breaks, peer_group, reason from trends where "
    assert rows_of(folder, f"{trends} region_code = 'GM0001' and breakdown = 'total'") == [
        (8, 1.0, "2018:method", "under_20000", None)
    ]
    assert rows_of(folder, f"{trends} breakdown = 'd=a'")[0][-1] == "no_figures"
    tables = ["observations", "trends"]
    assert set(broken_rules(settings, folder, tables)) <= {"few_missing"}

    with duckdb.connect(str(folder / DATABASE)) as connection:
        connection.execute("update trends set value = value + 1 where region_code = 'GM0002'")
        connection.execute("update trends set slope_upper = -1 where region_code = 'GM0001'")
        connection.execute("update trends set own_past = '3' where region_code = 'GM0001'")
        connection.execute("update observations set quality = 'E' where region_code = 'GM0002'")
        connection.execute("delete from breaks")
    assert set(broken_rules(settings, folder, tables)) - {"few_missing"} == {
        "last_figure_is_published",
        "slope_rests_on_enough",
        "compared_as_announced",
        "graded",
        "break_is_known",
    }


def test_the_known_breaks_of_the_project_are_about_its_sources() -> None:
    settings = settings_at(PROJECT)
    breaks = load_breaks(settings)
    assert breaks
    assert {one.source for one in breaks if one.source} <= set(load_contracts(settings.contracts))
    assert all(one.reference.startswith("https://") for one in breaks)
