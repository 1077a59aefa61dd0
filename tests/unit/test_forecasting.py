"""Forecasts: what each method says, how sure it is, and that nothing unknown is used."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.holtwinters import SimpleExpSmoothing

from zicht.forecasting import forecast
from zicht.forecasting.backtest import Cases, choose
from zicht.forecasting.intervals import scales, weighted_interval_score, width
from zicht.forecasting.methods import METHODS, Sight, _smoothed, shared_index
from zicht.forecasting.panel import read_indicators, read_panel
from zicht.forecasting.reconciling import reconciled

NOW = datetime(2024, 3, 1, tzinfo=UTC)
NAN = float("nan")
Series = Mapping[str, Mapping[str, float | None]]


def sight(rows: Iterable[Iterable[float]], per_year: int = 1) -> Sight:
    values = np.array(list(rows), dtype=float)
    return Sight(values, np.ones(len(values), dtype=bool), np.ones(len(values)), per_year)


def release(
    series: Mapping[str, Series],
    *,
    known_at: Mapping[tuple[str, str], datetime] | None = None,
    revisions: Iterable[tuple[str, str, str, datetime, float | None]] = (),
    breaks: Iterable[tuple[str, str, str]] = (),
    regions: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    lags: Mapping[str, int] | None = None,
    hidden: Container[tuple[str, str]] = (),
    unit: str = "number",
) -> duckdb.DuckDBPyConnection:
    """The tables of a release that forecasts are made of."""
    made = duckdb.connect()
    made.execute("set timezone = 'UTC'")
    levels = regions or {region: "municipality" for own in series.values() for region in own}
    made.execute(
        "create table regions (region_code varchar, region_level varchar, province_code varchar, "
        "corop_code varchar, safety_region_code varchar, population_1jan bigint)"
    )
    for region, level in levels.items():
        made.execute(
            "insert into regions values (?, ?, ?, null, null, 30000)",
            [region, level, "PV01" if level == "municipality" else None],
        )
    made.execute(
        "create table observations (indicator_id varchar, region_code varchar, "
        "region_level varchar, breakdown varchar, reference_period varchar, "
        "known_at timestamptz, value double, lag_days integer, obs_status varchar)"
    )
    made.execute(
        "create table indicators (indicator_id varchar, theme varchar, unit varchar, "
        "decimals integer, denominator varchar, rounding_base double, kind varchar, "
        "sources varchar)"
    )
    for name, own in series.items():
        made.execute(
            "insert into indicators values (?, 'theme', ?, 0, null, null, 'counts', ?)",
            [name, unit, (sources or {}).get(name, name)],
        )
        rows = [
            (
                *(name, region, levels[region], "total", period),
                (known_at or {}).get((region, period), NOW),
                value,
                (lags or {}).get(name, 60),
                "Q" if (region, period) in hidden else "O" if value is None else "A",
            )
            for region, figures in own.items()
            for period, value in figures.items()
        ]
        made.executemany("insert into observations values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    made.execute(
        "create table revisions (indicator_id varchar, region_code varchar, breakdown varchar, "
        "reference_period varchar, known_at timestamptz, value double)"
    )
    for name, region, period, moment, value in revisions:
        made.execute(
            "insert into revisions values (?, ?, 'total', ?, ?, ?)",
            [name, region, period, moment, value],
        )
    made.execute(
        "create table breaks (indicator_id varchar, reference_period varchar, code varchar)"
    )
    for one in breaks:
        made.execute("insert into breaks values (?, ?, ?)", list(one))
    made.execute(
        "create table coverage (source varchar, unit varchar, reference_period varchar, "
        "region_code varchar, coverage_pct double)"
    )
    return made


def wandering(n: int = 30, years: Iterable[int] = range(2012, 2024), seed: int = 3) -> Series:
    """Series of municipalities that rise by five per cent a year together, each in its own way."""
    chance = np.random.default_rng(seed)
    years = list(years)
    own = chance.uniform(200, 900, n)
    rise = 1.05 ** np.arange(len(years))
    values = chance.poisson(own[:, None] * rise)
    return {
        f"GM{number:04}": dict(zip(map(str, years), map(float, row), strict=True))
        for number, row in enumerate(values)
    }


class TestMethods:
    def test_baselines(self) -> None:
        one = sight([[4, 6, 7], [NAN, 5, 9], [NAN, NAN, 3]])
        assert METHODS["last_value"](one, 2).tolist() == [[7, 7], [9, 9], [3, 3]]
        drifted = METHODS["drift"](one, 2)
        assert drifted[:2].tolist() == [[8.5, 10], [13, 17]]
        assert np.isnan(drifted[2]).all(), "one figure has no step"

    def test_the_same_quarter_of_the_newest_year(self) -> None:
        one = sight([[1, 2, 3, 4, 5, 6]], per_year=4)
        assert METHODS["same_season"](one, 5).tolist() == [[3, 4, 5, 6, 3]]

    def test_smoothing_is_that_of_statsmodels(self) -> None:
        chance = np.random.default_rng(1)
        rows = chance.normal(100, 10, (5, 9))
        level, _ = _smoothed(rows, 0.4, np.ones(5))
        for row, found in zip(rows, level, strict=True):
            model = SimpleExpSmoothing(row, initialization_method="known", initial_level=row[0])
            expected = model.fit(smoothing_level=0.4, optimized=False).forecast(1)[0]
            assert found == pytest.approx(expected)

    def test_who_is_hidden_moves_nothing(self) -> None:
        index = shared_index(sight([[10, 20, 40], [100, NAN, 100], [30, 60, NAN]]))
        # From the first to the second period: 40 to 80; from the second to the third: 20 to 40.
        assert index.tolist() == [0.25, 0.5, 1.0]

    def test_what_all_do_goes_on(self) -> None:
        rows = [[100 * 1.1**step, 50 * 1.1**step] for step in range(8)]
        found = METHODS["shared_growth"](sight(np.array(rows).T), 2)
        assert (found[:, 0] > 1.02 * np.array(rows[-1])).all()


class TestIntervals:
    def test_as_many_lie_within_as_is_said(self) -> None:
        chance = np.random.default_rng(5)
        past, next_ones = chance.standard_t(4, (6, 400)), chance.standard_t(4, 400)
        classes = np.full(400, "small")
        wide = width(past, np.arange(6.0)[::-1], classes, np.ones(400, dtype=bool))
        assert wide is not None
        ends = wide.around(np.zeros(400), np.ones(400), classes)
        for place, coverage in ((0, 0.9), (1, 0.5)):
            inside = (next_ones >= ends[:, place]) & (next_ones <= ends[:, 3 - place])
            assert inside.mean() == pytest.approx(coverage, abs=0.06)

    def test_one_moment_makes_no_interval(self) -> None:
        rows = np.ones(50, dtype=bool)
        assert width(np.ones((1, 50)), np.zeros(1), np.full(50, "small"), rows) is None

    def test_a_class_of_few_borrows(self) -> None:
        errors = np.concatenate([np.full((2, 40), 1.0), np.full((2, 2), 9.0)], axis=1)
        classes = np.array(["small"] * 40 + ["large"] * 2)
        wide = width(errors, np.array([1.0, 0.0]), classes, np.ones(42, dtype=bool))
        assert wide is not None
        assert wide.quantiles["small"][3] == 1.0
        assert wide.quantiles["large"][2] == 1.0, "two errors are too few, all together are not"

    def test_score(self) -> None:
        truth, point = np.array([10.0]), np.array([12.0])
        ends = np.array([[4.0, 11.0, 13.0, 20.0]])
        # Half an error of 2; half of 90%: 0.05 * 16; of 50%: 0.25 * (2 + 4 * 1) for lying below.
        expected = (1.0 + 0.05 * 16 + 0.25 * (2 + 4 * 1)) / 2.5
        assert weighted_interval_score(truth, point, ends)[0] == pytest.approx(expected)

    def test_a_series_that_stood_still_is_not_certain(self) -> None:
        chance = np.random.default_rng(2)
        rows = chance.poisson(50, (30, 8)).astype(float)
        rows[0] = 50
        found = scales(rows, 1)
        assert found[0] > 1.5
        assert found[1:] == pytest.approx(np.abs(np.diff(rows[1:])).mean(axis=1), rel=0.4)


class TestReconciled:
    MATRIX = np.array([[1.0, -1, -1, -1]])

    def test_adds_up_and_the_certain_give_way_least(self) -> None:
        newest, scale = np.array([60.0, 10, 20, 30]), np.array([1.0, 1, 1, 5])
        point = np.array([[66.0], [10], [20], [30]])
        reconciled(self.MATRIX, newest, scale, [point])
        assert point[0, 0] == pytest.approx(point[1:, 0].sum())
        moved = np.abs(point[:, 0] - [66, 10, 20, 30])
        assert moved[3] > 10 * moved[1]

    def test_what_is_hidden_stays_part_of_the_whole(self) -> None:
        newest, scale = np.array([100.0, 10, 20, NAN]), np.ones(4)
        point = np.array([[100.0], [10], [20], [NAN]])
        reconciled(self.MATRIX, newest, scale, [point])
        assert point[:3, 0] == pytest.approx([100, 10, 20], abs=1e-6)
        assert np.isnan(point[3, 0])

    def test_never_below_zero(self) -> None:
        newest, scale = np.array([30.0, 1, 9, 20]), np.array([0.1, 5, 5, 5])
        point = np.array([[10.0], [0], [9], [20]])
        reconciled(self.MATRIX, newest, scale, [point])
        assert (point >= 0).all()
        assert point[0, 0] == pytest.approx(point[1:, 0].sum(), abs=0.01)


class TestKnownThen:
    def test_a_revision_is_not_seen_before_it_came(self) -> None:
        came = [datetime(year + 1, 3, 1, tzinfo=UTC) for year in range(2018, 2024)]
        years = [str(year) for year in range(2018, 2024)]
        figures = {"GM0001": dict(zip(years, [10.0, 11, 99, 13, 14, 15], strict=True))}
        known = {("GM0001", year): moment for year, moment in zip(years, came, strict=True)}
        later = datetime(2023, 6, 1, tzinfo=UTC)
        first = known["GM0001", "2020"]
        known["GM0001", "2020"] = later
        made = release(
            {"a": figures}, known_at=known, revisions=[("a", "GM0001", "2020", first, 12.0)]
        )
        panel = read_panel(made, read_indicators(made)[0])
        assert panel is not None
        assert panel.is_dated == (True,) * 6
        assert panel.as_known(3)[0, :4].tolist() == [10, 11, 12, 13]
        assert panel.as_known(5)[0].tolist() == [10, 11, 99, 13, 14, 15]

    def test_what_came_at_once_is_told_apart_by_its_period(self) -> None:
        made = release({"a": {"GM0001": {"2020": 1.0, "2021": 2.0, "2022": 3.0}}})
        panel = read_panel(made, read_indicators(made)[0])
        assert panel is not None
        assert panel.is_dated == (False, False, True)
        assert np.isnan(panel.as_known(1)[0, 2])
        assert panel.moment(1).date().isoformat() == "2022-03-01"

    def test_before_a_break_is_another_series(self) -> None:
        figures = {"GM0001": {str(year): float(year) for year in range(2015, 2022)}}
        made = release({"a": figures}, breaks=[("a", "2019", "method")])
        panel = read_panel(made, read_indicators(made)[0])
        assert panel is not None
        assert np.isnan(panel.comparable(panel.values)[0, :4]).all()
        assert panel.is_across(3, 1).tolist() == [True]
        assert panel.is_across(4, 2).tolist() == [False]


class TestForecast:
    def test_reasons_where_there_is_none(self) -> None:
        series = dict(wandering())
        series["GM9001"] = {"2012": None}
        series["GM9002"] = {"2022": 5.0, "2023": 6.0}
        series["GM9003"] = {str(year): 9.0 for year in range(2012, 2020)}
        made = release({"a": series})
        rows = forecast(made, NOW).forecasts.set_index(["region_code", "horizon"])
        assert rows.loc["GM9001", "reason"].unique().tolist() == ["no_figures"]
        assert rows.loc["GM9002", "reason"].unique().tolist() == ["too_few_periods"]
        assert rows.loc["GM9003", "reason"].unique().tolist() == ["last_period_hidden"]
        there = rows.loc["GM0000"]
        assert there["obs_status"].unique().tolist() == ["F"]
        assert there["reference_period"].tolist() == ["2024", "2025", "2026"]
        ends = there[["lower_90", "lower_50", "point", "upper_50", "upper_90"]].to_numpy()
        assert (np.diff(ends, axis=1) >= 0).all()

    def test_a_series_hidden_of_late_starts_from_its_own_last_figure(self) -> None:
        series = {region: dict(figures) for region, figures in wandering().items()}
        series["GM0003"]["2023"] = None
        rows = forecast(release({"a": series}), NOW).forecasts
        own = rows[rows["region_code"] == "GM0003"]
        assert own["last_period"].unique().tolist() == ["2022"]
        assert own["horizon"].tolist() == [2, 3, 4]
        assert own["reference_period"].tolist() == ["2024", "2025", "2026"], "2023 stays hidden"
        assert own["point"].notna().all()

    def test_a_period_that_all_wait_for_is_forecast(self) -> None:
        series = {region: {**figures, "2024": None} for region, figures in wandering().items()}
        rows = forecast(release({"a": series}), NOW).forecasts
        assert rows["last_period"].unique().tolist() == ["2023"]
        assert rows["reference_period"].unique().tolist() == ["2024", "2025", "2026"]

    def test_a_period_that_is_hidden_everywhere_is_not(self) -> None:
        series = {region: {**figures, "2024": None} for region, figures in wandering().items()}
        made = release({"a": series}, hidden={(region, "2024") for region in series})
        rows = forecast(made, NOW).forecasts
        assert rows["last_period"].unique().tolist() == ["2023"]
        assert rows["reference_period"].unique().tolist() == ["2025", "2026"]
        assert rows["horizon"].unique().tolist() == [2, 3]

    def test_what_all_do_is_found_and_beats_both_baselines(self) -> None:
        found = forecast(release({"a": wandering()}), NOW)
        score = found.scores.set_index(["peer_group", "horizon", "method"])
        assert score.loc[("all", 2, "last_value"), "relative_wis"] > 1.2, "it rises"
        assert score.loc[("all", 2, "shared_drift"), "relative_wis"] < 0.95
        assert score.loc[("all", 2, "shared_drift"), "is_chosen"]
        assert score.loc[("all", 2, "as_chosen"), "n_origins"] >= 5

    def test_no_better_than_the_baseline_is_the_baseline(self) -> None:
        chance = np.random.default_rng(11)
        walk = 1000 + chance.normal(0, 20, (40, 14)).cumsum(axis=1)
        series = {
            f"GM{n:04}": {str(2010 + k): float(v) for k, v in enumerate(row)}
            for n, row in enumerate(walk)
        }
        scores = forecast(release({"a": series}), NOW).scores
        used = scores[scores["is_chosen"] & (scores["horizon"] == 1)]
        assert used["method"].unique().tolist() == ["last_value"]

    def test_municipalities_add_up_to_the_country(self) -> None:
        series: dict[str, dict[str, float | None]] = {k: dict(v) for k, v in wandering().items()}
        years = list(series["GM0000"])
        series["NL01"] = {
            year: sum(own[year] or 0 for own in series.values()) + 50 for year in years
        }
        regions = dict.fromkeys(series, "municipality") | {"NL01": "country"}
        rows = forecast(release({"a": series}, regions=regions), NOW).forecasts
        first = rows[rows["horizon"] == 1].set_index("region_code")["point"]
        rest = first["NL01"] - first.drop("NL01").sum()
        assert rest == pytest.approx(50 * first["NL01"] / series["NL01"]["2023"], abs=3)
        assert rows["is_reconciled"].all()

    def test_an_announced_break_is_not_crossed(self) -> None:
        made = release({"a": wandering()}, breaks=[("a", "2025", "definition")])
        rows = forecast(made, NOW).forecasts.set_index("reference_period")
        assert rows.loc["2024", "point"].notna().all()
        assert rows.loc["2025", "reason"].unique().tolist() == ["announced_break"]
        assert rows.loc["2026", "breaks"].unique().tolist() == ["2025:definition"]

    def test_a_rate_is_not_above_all(self) -> None:
        series = {
            region: {year: 96 + (value or 0) / 1000 for year, value in own.items()}
            for region, own in wandering().items()
        }
        rows = forecast(release({"a": series}, unit="pct"), NOW).forecasts
        assert rows["upper_90"].max() <= 100

    def test_who_is_known_sooner_helps(self) -> None:
        """Tax data two years late follows a register that comes within months."""
        chance = np.random.default_rng(8)
        growth = chance.choice([-0.15, 0.0, 0.15], (60, 13)) + chance.normal(0, 0.01, (60, 13))
        level = 500 * np.exp(np.cumsum(growth, axis=1))
        late = {
            f"GM{n:04}": {str(2010 + k): round(float(v), 1) for k, v in enumerate(row[:-2])}
            for n, row in enumerate(level)
        }
        soon = {
            f"GM{n:04}": {str(2010 + k): round(float(3 * v), 1) for k, v in enumerate(row)}
            for n, row in enumerate(level)
        }
        made = release({"late": late, "soon": soon}, lags={"late": 730, "soon": 60})
        found = forecast(made, datetime(2023, 3, 1, tzinfo=UTC))
        scores = found.scores[found.scores["indicator_id"] == "late"]
        row = scores.set_index(["peer_group", "horizon", "method"]).loc[("all", 1, "leading")]
        assert row["relative_wis"] < 0.6
        rows = found.forecasts[found.forecasts["indicator_id"] == "late"]
        said = rows[rows["horizon"] == 2].set_index("region_code")["point"]
        truth = pd.Series({f"GM{n:04}": row[-1] for n, row in enumerate(level)})
        last = pd.Series({region: own["2020"] for region, own in late.items()})
        assert (said - truth).abs().mean() < 0.5 * (last - truth).abs().mean()

    def test_only_what_changed_is_made_again(self, tmp_path: Path) -> None:
        series = {"a": wandering(), "b": wandering(seed=4)}
        first = forecast(release(series), NOW, cache=tmp_path)
        assert first.made == ("a", "b")
        later = NOW + timedelta(days=2)
        again = forecast(release(series), later, cache=tmp_path)
        assert again.made == ()
        pd.testing.assert_frame_equal(again.forecasts, first.forecasts)
        changed = {"a": wandering(), "b": {**wandering(seed=4), "GM0001": {"2023": 7.0}}}
        third = forecast(release(changed), later, cache=tmp_path)
        assert third.made == ("b",)
        made_at = third.forecasts.groupby("indicator_id")["made_at"].first()
        assert made_at["a"].to_pydatetime() == NOW
        assert made_at["b"].to_pydatetime() == later
        assert len(list(tmp_path.iterdir())) == 4, "what is of no release is not kept"

    def test_a_damaged_result_is_made_again(self, tmp_path: Path) -> None:
        forecast(release({"a": wandering()}), NOW, cache=tmp_path)
        for path in tmp_path.iterdir():
            path.write_bytes(b"PAR1")
        assert forecast(release({"a": wandering()}), NOW, cache=tmp_path).made == ("a",)

    def test_without_any_figure_there_is_nothing(self) -> None:
        found = forecast(release({"a": {"GM0001": {"2020": None}}}), NOW)
        assert found.forecasts.empty
        assert found.scores.empty


class TestChoice:
    @staticmethod
    def cases(**scores: list[float]) -> dict[tuple[str, int], Cases]:
        made = {}
        for name, of_each in scores.items():
            own = Cases()
            for column, score in enumerate(of_each):
                nothing = np.zeros(1)
                own.add(column, np.array([score]), nothing, (nothing, nothing))
            made[name, 1] = own
        return made

    ROWS = np.ones(1, dtype=bool)

    def test_the_best_of_what_was_known(self) -> None:
        cases = self.cases(last_value=[2, 2, 2, 2], drift=[3, 3, 3, 3], level=[1, 1, 1, 99])
        names = ["last_value", "drift", "level"]
        assert choose(cases, 1, names, self.ROWS, 3, None) == "level", "the last is not known yet"
        assert choose(cases, 1, names, self.ROWS, 4, None) == "last_value"

    def test_two_moments_are_luck(self) -> None:
        cases = self.cases(last_value=[2, 2], drift=[3, 3], level=[1, 1])
        names = ["last_value", "drift", "level"]
        assert choose(cases, 1, names, self.ROWS, 5, None) == "last_value"
        assert choose(cases, 1, names, self.ROWS, 5, "level") == "level"
