"""Unexplained growth: what is found, what is chance, and what its output gives away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.optimize import linprog
from scipy.stats import poisson

from support import PROJECT
from zicht.disclosure.growth import (
    false_discovery,
    fit_counts,
    fit_growth,
    growth_design,
    growth_model,
    growth_sentence,
    number_in_words,
    period_in_words,
    protect_growth,
    signals,
)
from zicht.disclosure.modelled import ModelPolicy
from zicht.errors import DisclosureError

MART = (
    PROJECT / "dbt_project/models/marts/rechtspersonen/mart_rechtspersonen__foundation_growth.yml"
)
POLICY = ModelPolicy(minimum_n=10, minimum_freedom=10, significant_digits=2)
RATE = 0.05
EXPLAIN = ("n_other_founded", "n_business_services")
PERIOD = "2024-Q4"


def country(
    seed: int, n: int = 342, dispersion: float = 0.0, planted: int = 0, factor: float = 6
) -> pd.DataFrame:
    """A country of municipalities of every size, some with growth that nothing explains."""
    draw = np.random.default_rng(seed)
    inhabitants = np.round(np.exp(draw.normal(10.4, 0.8, n))) + 900
    founded = draw.poisson(inhabitants * 0.0136 * np.exp(draw.normal(0, 0.3, n)))
    services = draw.poisson(inhabitants * 0.032)
    mean = 1e-4 * inhabitants * (founded / inhabitants / 0.0136) ** 0.5
    if dispersion:
        mean = mean * draw.gamma(1 / dispersion, dispersion, n)
    is_planted = np.zeros(n, dtype=bool)
    is_planted[draw.choice(n, planted, replace=False)] = True
    return pd.DataFrame(
        {
            "reference_period": PERIOD,
            "region_code": [f"GM{number:04d}" for number in range(n)],
            "value": draw.poisson(mean * np.where(is_planted, factor, 1)),
            "n_inhabitants": inhabitants,
            "n_other_founded": founded,
            "n_business_services": services,
            "is_planted": is_planted,
        }
    )


def fitted(cells: pd.DataFrame) -> pd.DataFrame:
    return fit_growth(
        cells,
        observed="value",
        exposure="n_inhabitants",
        explain=EXPLAIN,
        false_discovery_rate=RATE,
        least=0.5,
    )


def published(cells: pd.DataFrame) -> dict[str, float]:
    """Counts of 10 and more, and zeros, as the policy for counts shows them."""
    shown = cells[(cells["value"] >= 10) | (cells["value"] == 0)]
    return dict(zip(shown["region_code"], shown["value"].astype(float), strict=True))


def indicator() -> dict[str, Any]:
    meta = yaml.safe_load(MART.read_text(encoding="utf-8"))["models"][0]["config"]["meta"]
    definition: dict[str, Any] = meta["indicator"]
    definition["model"]["explain"] = list(EXPLAIN)
    return definition


class TestFinding:
    @pytest.mark.parametrize("dispersion", [0.0, 0.2])
    def test_nothing_planted_nothing_found_but_for_the_declared_rate(
        self, dispersion: float
    ) -> None:
        """Every signal is false here, so the rate is the share of countries with any."""
        some = [fitted(country(s, dispersion=dispersion))["is_signal"].any() for s in range(40)]
        # Of 40 at a true rate of 0.05, more than 5 in one in seventy times.
        assert sum(some) <= 5

    @pytest.mark.parametrize(("dispersion", "power"), [(0.0, 0.85), (0.2, 0.35)])
    def test_planted_growth_is_found_and_little_else(self, dispersion: float, power: float) -> None:
        false, found = [], []
        for seed in range(15):
            cells = country(seed, dispersion=dispersion, planted=20)
            is_signal = fitted(cells)["is_signal"].to_numpy(dtype=bool)
            is_planted = cells["is_planted"].to_numpy()
            false.append((is_signal & ~is_planted).sum() / max(1, is_signal.sum()))
            found.append((is_signal & is_planted).sum() / 20)
        assert np.mean(false) <= RATE
        assert np.mean(found) >= power

    def test_only_growth_above_is_a_signal(self) -> None:
        cells = country(3)
        cells.loc[cells["n_inhabitants"].idxmax(), "value"] = 0
        rows = fitted(cells)
        assert not rows["is_signal"].any()

    def test_what_is_planted_does_not_set_the_norm(self) -> None:
        """Else the exceptions raise what is expected, widen the limits, and hide each other."""
        with_, without = country(5, planted=20, factor=8), country(5)
        ordinary = ~with_["is_planted"]
        # The same municipalities, and other chance.
        assert (with_["n_inhabitants"] == without["n_inhabitants"]).all()
        ratio = fitted(with_)["expected"][ordinary] / fitted(without)["expected"][ordinary]
        assert ratio.median() == pytest.approx(1, abs=0.08)

    def test_more_than_chance_in_counts_is_not_taken_for_growth(self) -> None:
        """Counts that vary more than Poisson's would be full of signals if they were taken so."""
        cells = country(8, dispersion=0.5)
        rows = fitted(cells)
        naive = false_discovery(poisson.sf(rows["observed"] - 1, rows["expected"]))
        assert (naive <= RATE).sum() >= 10
        assert rows["is_signal"].sum() <= 1
        design, offset = growth_design(
            cells["n_inhabitants"].to_numpy(), [cells[one].to_numpy() for one in EXPLAIN]
        )
        fit = fit_counts(cells["value"].to_numpy(dtype=float), design, offset)
        assert 0.3 < fit.dispersion < 0.7

    def test_limits_hold_nineteen_in_twenty(self) -> None:
        rows = fitted(country(11, dispersion=0.2))
        outside = (rows["observed"] < rows["lower"]) | (rows["observed"] > rows["upper"])
        assert 0.01 < outside.mean() < 0.07
        assert (rows["lower"] <= rows["expected"]).all()
        assert (rows["expected"] <= rows["upper"]).all()

    def test_q_values_of_a_worked_example(self) -> None:
        found = false_discovery(np.array([0.01, 0.04, 0.03, 0.005]))
        assert found == pytest.approx([0.02, 0.04, 0.04, 0.02])

    def test_one_province_is_no_fit(self) -> None:
        rows = fitted(country(1, n=13))
        assert set(rows["reason"]) == {"not_enough_municipalities"}
        assert rows["expected"].isna().all()

    def test_a_region_that_lacks_something_takes_no_part(self) -> None:
        cells = country(1)
        whole = fitted(cells.drop(index=[0, 1]))
        cells["value"] = cells["value"].astype("Float64")
        cells.loc[0, "value"] = pd.NA
        cells.loc[1, "n_inhabitants"] = np.nan
        rows = fitted(cells)
        assert rows["reason"].tolist()[:2] == ["incomplete", "incomplete"]
        assert rows["expected"].tolist()[2:] == pytest.approx(whole["expected"].tolist())

    def test_hardly_any_counts_are_no_fit(self) -> None:
        assert set(fitted(country(1).assign(value=0))["reason"]) == {"too_few"}

    @pytest.mark.parametrize(
        "change", [{"n_other_founded": None}, {"value": -1}, {"value": "many"}, {"value": np.inf}]
    )
    def test_what_are_no_counts_is_refused(self, change: Mapping[str, Any]) -> None:
        cells = country(1, n=40)
        ((column, value),) = change.items()
        cells = cells.drop(columns=column) if value is None else cells.assign(**{column: value})
        with pytest.raises(DisclosureError, match=column) as caught:
            fitted(cells)
        assert caught.value.code == "Z-DIS-067"


class TestProtection:
    def test_a_hidden_count_leaves_nothing_but_its_region(self) -> None:
        cells = country(2, planted=20)
        shown = published(cells)
        made = protect_growth(fitted(cells), POLICY, shown)
        assert set(made.loc[made["obs_status"] == "A", "region_code"]) == {
            code for code, count in shown.items() if count >= 10
        }
        hidden = made[made["obs_status"] != "A"]
        figures = ["observed", "expected", "lower", "upper", "q_value", "is_signal"]
        assert len(hidden)
        assert hidden[figures].isna().all().all()
        reasons = dict(zip(made["region_code"], made["reason"], strict=True))
        assert {reasons[c] for c in reasons if c not in shown} == {"count_not_published"}
        assert {reasons[c] for c, count in shown.items() if count == 0} <= {"too_few"}

    def test_figures_are_rounded(self) -> None:
        made = protect_growth(
            fitted(country(2, planted=20)), POLICY, published(country(2, planted=20))
        )
        made = made[made["obs_status"] == "A"]
        for column in ("expected", "lower", "upper"):
            assert [float(f"{one:.1e}") for one in made[column]] == made[column].tolist()
        assert made["is_signal"].any()
        assert made["q_value"].min() == 0.01
        assert (100 * made["q_value"] == (100 * made["q_value"]).round()).all()
        assert (made["is_signal"] == (made["q_value"] <= RATE)).all()

    def test_few_hidden_counts_hide_the_fit(self) -> None:
        """One that is hidden beside 341 that are known would be what fits the expected numbers."""
        cells = country(4)
        shown = {
            code: 10 + float(n)
            for code, n in zip(cells["region_code"], cells["value"], strict=True)
        }
        cells["value"] += 10
        rows = fitted(cells)
        n_parameters = int(rows["n_parameters"].iloc[0])

        def status(n_hidden: int) -> set[tuple[str, str]]:
            own = dict(list(shown.items())[n_hidden:])
            made = protect_growth(rows, POLICY, own)[n_hidden:].fillna({"reason": ""})
            return set(zip(made["obs_status"], made["reason"], strict=True))

        assert status(0) == {("A", "")}
        assert status(1) == status(9 + n_parameters) == {("Q", "few_hidden")}
        assert status(10 + n_parameters) == {("A", "")}

    def test_too_few_degrees_of_freedom_show_nothing(self) -> None:
        cells = country(4, n=40)
        strict = ModelPolicy(10, minimum_freedom=36, significant_digits=2)
        made = protect_growth(fitted(cells), strict, {})
        assert set(made["obs_status"]) == {"Q"}
        shown = dict.fromkeys(cells["region_code"], 12.0)
        made = protect_growth(fitted(cells), strict, shown)
        assert set(zip(made["obs_status"], made["reason"], strict=True)) == {
            ("M", "not_enough_municipalities")
        }

    def test_one_more_in_a_hidden_cell_changes_hardly_any_published_figure(self) -> None:
        cells = country(6, planted=20)
        shown = published(cells)
        figures = ["expected", "lower", "upper", "q_value", "is_signal"]

        def made(own: pd.DataFrame) -> pd.DataFrame:
            table = protect_growth(fitted(own), POLICY, shown)
            return table.loc[table["obs_status"] == "A", figures].astype(float)

        before = made(cells)
        hidden = [n for n, code in enumerate(cells["region_code"]) if code not in shown]
        changed = []
        for number in hidden[::12]:
            more = cells.copy()
            more.loc[number, "value"] += 1
            changed.append((made(more) != before).to_numpy().mean())
        assert len(changed) > 15
        assert np.mean(changed) < 0.03

    def test_who_knows_the_coefficients_exactly_cannot_compute_a_hidden_count(self) -> None:
        """More than is published: the equations of the fit, every term of it, and all totals.

        With them and the totals per region of nine municipalities, a linear program bounds each
        hidden count. The fit's equations may narrow what the totals leave open by hardly anything.
        """
        cells = country(9)
        counts = cells["value"].to_numpy(dtype=float)
        design, offset = growth_design(
            cells["n_inhabitants"].to_numpy(), [cells[one].to_numpy() for one in EXPLAIN]
        )
        fit = fit_counts(counts, design, offset)
        expected = fit.expected(design, offset)
        weighted = design.T / (1 + fit.dispersion * expected)
        # What makes them equations: at the best fit, weighted remainders add up to nothing.
        assert weighted @ (counts - expected) == pytest.approx(np.zeros(len(weighted)), abs=1e-3)
        hidden = ~np.isin(cells["region_code"], list(published(cells)))
        groups = np.array([np.arange(len(cells)) // 9 == one for one in range(len(cells) // 9 + 1)])
        totals, both = groups[:, hidden], np.vstack([groups[:, hidden], weighted[:, hidden]])

        def width(equations: Any, number: int) -> float:
            aim = np.eye(hidden.sum())[number]
            ends = [
                linprog(
                    sign * aim,
                    A_eq=equations,
                    b_eq=equations @ counts[hidden],
                    bounds=(1, 9),
                ).fun
                for sign in (1, -1)
            ]
            return float(-ends[1] - ends[0])

        for number in range(0, int(hidden.sum()), 20):
            assert width(both, number) >= width(totals, number) - 0.5


class TestSignals:
    def test_every_period_is_fitted_by_itself(self) -> None:
        now, past = country(2, planted=20), country(3).assign(reference_period="2024-Q3")
        shown = {(PERIOD, code): count for code, count in published(now).items()}
        both = signals(pd.concat([now, past]), indicator(), POLICY, shown, {})
        alone = signals(now, indicator(), POLICY, shown, {})
        assert both["reference_period"].is_monotonic_increasing
        pd.testing.assert_frame_equal(
            both[both["reference_period"] == PERIOD].reset_index(drop=True), alone
        )
        # No count of the other period is published.
        assert set(both.loc[both["reference_period"] != PERIOD, "obs_status"]) == {"Q"}

    def test_sentences_say_what_was_seen_and_what_it_does_not_mean(self) -> None:
        cells = country(2, planted=20)
        shown = {(PERIOD, code): count for code, count in published(cells).items()}
        names = {code: f"Plaats {code}" for code in cells["region_code"]}
        made = signals(cells, indicator(), POLICY, shown, names)
        is_shown = made["obs_status"] == "A"
        assert made.loc[~is_shown, ["sentence_nl", "sentence_en"]].isna().all().all()
        for _, row in made[is_shown].iterrows():
            observed = number_in_words(row["observed"], "nl")
            start = (
                f"tot en met het vierde kwartaal van 2024 kwamen er in Plaats {row['region_code']} "
            )
            assert f"{start}{observed} stichtingen" in row["sentence_nl"]
            assert f"{number_in_words(row['expected'], 'en')} were to be exp" in row["sentence_en"]
            says_nothing = "Dat zegt niets over een stichting of een persoon" in row["sentence_nl"]
            assert says_nothing == row["is_signal"]
            assert ("That is no signal" in row["sentence_en"]) == (not row["is_signal"])
        assert {True, False} == set(made.loc[is_shown, "is_signal"])

    def test_a_region_twice_is_refused(self) -> None:
        cells = pd.concat([country(1), country(1).head(1)])
        with pytest.raises(DisclosureError, match="GM0000 is there twice in 2024-Q4") as caught:
            signals(cells, indicator(), POLICY, {}, {})
        assert caught.value.code == "Z-DIS-068"

    def test_no_cells_no_signals(self) -> None:
        made = signals(country(1).head(0), indicator(), POLICY, {}, {})
        assert list(made.columns) == list(signals(country(1), indicator(), POLICY, {}, {}).columns)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"method": "another"}, "Z-DIS-065"),
            ({"exposure": None}, "Z-DIS-065"),
            ({"false_discovery_rate": 5}, "Z-DIS-065"),
            ({"sentences": {"signal": {"nl": "Het zijn er {observed}."}}}, "Z-DIS-069"),
            ({"sentences": {"signal": {"nl": "{region"}}}, "Z-DIS-069"),
        ],
    )
    def test_a_model_that_is_not_declared_well_is_refused(
        self, changes: Mapping[str, Any], code: str
    ) -> None:
        meta = indicator()
        meta["model"] |= changes
        meta["model"] = {key: value for key, value in meta["model"].items() if value is not None}
        with pytest.raises(DisclosureError, match="indicator foundation_growth") as caught:
            growth_model(meta)
        assert caught.value.code == code

    def test_numbers_and_periods_in_words(self) -> None:
        assert [number_in_words(1200.0, one) for one in ("nl", "en")] == ["1.200", "1,200"]
        assert [number_in_words(0.5, one) for one in ("nl", "en")] == ["0,5", "0.5"]
        assert period_in_words("2024-Q1", "en") == "the first quarter of 2024"
        assert period_in_words("2024-03", "nl") == "maart 2024"
        assert period_in_words("2024", "nl") == "2024"

    def test_a_sentence_of_the_project_is_one_with_every_figure(self) -> None:
        row = {"observed": 34.0, "expected": 12.0, "lower": 6.0, "upper": 19.0, "is_signal": True}
        made = growth_sentence(row, growth_model(indicator()), PERIOD, "Zundert", "nl")
        assert "in Zundert 34 stichtingen met één bestuurder bij;" in made
        assert "ongeveer 12 te verwachten (6 tot 19)" in made
        assert made.endswith("Kijk eerst daarnaar.")
