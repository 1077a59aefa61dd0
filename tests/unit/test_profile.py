"""Feature profile: its estimates against known ones, and what a published one leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import chi2, chi2_contingency

from zicht.disclosure.modelled import ModelPolicy
from zicht.disclosure.profile import (
    COLUMNS,
    COUNTRY,
    Q_STEPS,
    fit_profile,
    hidden_categories,
    penalised_logit,
    profiles,
    protect_profile,
)
from zicht.errors import DisclosureError

FEATURES = {
    "kind": ["house", "flat", "shed"],
    "age": ["old", "new"],
    "size": ["small", "middle", "large"],
}
POLICY = ModelPolicy(significant_digits=2)
NO_PRIOR = 1e6
CHANCES = {"shed": 4.0, "old": 3.0}
"""Factors on the odds of an event; the others have 1."""


def patterns(
    n: int = 200_000,
    chances: Mapping[str, float] = CHANCES,
    base: float = 0.002,
    seed: int = 1,
) -> pd.DataFrame:
    """Every combination of categories, with events drawn by their odds.

    Size goes with age: most of what is old is large. It does nothing by itself.
    """
    random = np.random.default_rng(seed)
    shares = {"house": 0.6, "flat": 0.35, "shed": 0.05, "old": 0.3, "new": 0.7}
    sizes = {"old": (0.1, 0.2, 0.7), "new": (0.5, 0.3, 0.2)}
    rows = []
    for kind, age, size in product(*FEATURES.values()):
        share = shares[kind] * shares[age] * sizes[age][FEATURES["size"].index(size)]
        units = round(n * share)
        odds = base * np.prod([chances.get(one, 1.0) for one in (kind, age, size)])
        events = int(random.binomial(units, odds / (1 + odds)))
        rows.append((kind, age, size, units, events))
    return pd.DataFrame(rows, columns=[*FEATURES, "n_units", "n_events"])


def fitted(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
    own = {"policy": POLICY, "false_discovery_rate": 0.05, **options}
    return fit_profile(frame, FEATURES, **own)


def by_category(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_index("category")


class TestFit:
    def test_without_a_prior_it_is_plain_logistic_regression(self) -> None:
        """As statsmodels 0.15 has it: GLM with the family Binomial, and contrasts of its terms."""
        small = pd.DataFrame(
            [
                *(("house", "small", 4000, 8), ("house", "large", 2000, 13)),
                *(("flat", "small", 3000, 5), ("flat", "large", 500, 4)),
                *(("shed", "small", 100, 2), ("shed", "large", 400, 11)),
            ],
            columns=["kind", "size", "n_units", "n_events"],
        )
        units, events = (small[one].to_numpy(dtype=float) for one in ("n_units", "n_events"))
        terms = [small["kind"] == "flat", small["kind"] == "shed", small["size"] == "large"]
        design = np.column_stack([np.ones(6), *terms]).astype(float)
        fit = penalised_logit(design, units, events, np.full(4, np.inf))
        assert fit.coefficients == pytest.approx(
            [-6.19544215, -0.03496433, 1.56688566, 1.15525186], rel=1e-6
        )
        assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(
            [0.3087285, 0.41038003, 0.37342659, 0.35633862], rel=1e-5
        )
        own = {"kind": ["house", "flat", "shed"], "size": ["small", "large"]}
        rows = by_category(
            fit_profile(small, own, POLICY, false_discovery_rate=0.05, prior_sd=NO_PRIOR)
        )
        # Against the mean effect of the feature's other categories, weighted by units.
        for category, expected in {
            "house": (0.8476674, 0.4079191, 1.7614770),
            "flat": (0.8559922, 0.3875037, 1.8908794),
            "shed": (4.8538260, 2.3630862, 9.9698548),
            "large": (3.1748229, 1.5790778, 6.3831564),
        }.items():
            found = rows.loc[category, ["odds_ratio", "odds_lower", "odds_upper"]].tolist()
            assert found == pytest.approx(expected, rel=1e-5), category

    def test_of_one_feature_with_two_categories_it_is_the_table(self) -> None:
        rows = by_category(
            fit_profile(
                pd.DataFrame(
                    {"age": ["old", "new"], "n_units": [1000, 9000], "n_events": [60, 140]}
                ),
                {"age": ["old", "new"]},
                POLICY,
                false_discovery_rate=0.05,
                prior_sd=NO_PRIOR,
            )
        )
        old = rows.loc["old"]
        assert (old["share_all_pct"], old["share_events_pct"]) == (10, 30)
        assert old["lift"] == pytest.approx(3)
        error = np.sqrt(1 / 60 - 1 / 200)
        assert old["lift_lower"] == pytest.approx(3 * np.exp(-1.959964 * error))
        assert old["lift_upper"] == pytest.approx(3 * np.exp(1.959964 * error))
        assert old["odds_ratio"] == pytest.approx((60 / 940) / (140 / 8860), rel=1e-6)
        assert rows.loc["new", "odds_ratio"] == pytest.approx(1 / old["odds_ratio"], rel=1e-6)
        # Drawing without replacement takes one unit of the 10,000 off Pearson's statistic.
        pearson = chi2_contingency([[60, 940], [140, 8860]], correction=False)
        assert old["p_value"] == pytest.approx(chi2.sf(pearson.statistic * 9_999 / 10_000, 1))

    def test_q_values_are_those_of_benjamini_and_hochberg_over_all_rows(self) -> None:
        rows = fitted(patterns(base=0.0005, chances={"old": 1.3}))
        for p, q in (("p_value", "q_value"), ("odds_p_value", "odds_q_value")):
            ordered = np.sort(rows[p])
            assert rows[q].tolist() == pytest.approx(
                [
                    min(1, *(own * 8 / (at + 1) for at, own in enumerate(ordered) if own >= one))
                    for one in rows[p]
                ]
            )

    def test_what_only_goes_with_a_cause_is_not_distinguishing(self) -> None:
        rows = by_category(fitted(patterns()))
        large = rows.loc["large"]
        assert large["lift_lower"] > 1.2
        assert large["q_value"] < 0.001
        assert large["odds_lower"] < 1 < large["odds_upper"]
        assert set(rows.index[rows["is_distinguishing"]]) == {"shed", "old"}
        assert rows.loc["old", "odds_lower"] < 3 < rows.loc["old", "odds_upper"]

    def test_where_nothing_is_planted_few_are_found(self) -> None:
        """The rate is of findings that are false: where all are, of tables with any at all."""
        found = [fitted(patterns(chances={}, seed=s))["is_distinguishing"].any() for s in range(60)]
        assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)

    def test_a_category_without_events_stays_finite(self) -> None:
        frame = patterns()
        frame.loc[frame["kind"] == "shed", "n_events"] = 0
        shed = by_category(fitted(frame)).loc["shed"]
        assert shed["lift"] == 0
        assert 0 < shed["odds_lower"] < shed["odds_ratio"] < shed["odds_upper"] < np.inf
        assert shed["odds_ratio"] < 0.2

    def test_events_among_ten_million_units_are_as_sure_as_among_fewer(self) -> None:
        """What is learned follows from the number of events."""
        frame = patterns()
        many = frame.assign(n_units=frame["n_units"] * 50)
        few, rare = by_category(fitted(frame)), by_category(fitted(many))
        assert rare["odds_ratio"].to_numpy() == pytest.approx(
            few["odds_ratio"].to_numpy(), rel=0.05
        )
        assert rare["odds_lower"].to_numpy() == pytest.approx(
            few["odds_lower"].to_numpy(), rel=0.05
        )

    def test_with_few_events_there_is_no_adjusted_figure(self) -> None:
        frame = patterns(n=6_000, base=0.001)
        rows = fitted(frame)
        assert 0 < frame["n_events"].sum() < 6 + POLICY.minimum_freedom
        assert rows[["odds_ratio", "odds_q_value"]].isna().all(axis=None)
        assert not rows["is_distinguishing"].any()

    def test_a_category_that_does_not_occur_is_left_out(self) -> None:
        frame = patterns()
        rows = by_category(fitted(frame[frame["kind"] != "flat"]))
        assert rows.loc["flat", ["lift", "p_value", "odds_ratio"]].isna().all()
        assert rows.loc["shed", "odds_lower"] > 1

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"n_events": -1}, "n_events"),
            ({"n_events": 10**9}, "more events than units"),
            ({"kind": "boat"}, "kind has the category 'boat'"),
            ({"n_events": 0}, "0 of .* units have an event"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: dict[str, Any], says: str) -> None:
        with pytest.raises(DisclosureError, match=says) as raised:
            fitted(patterns().assign(**change))
        assert raised.value.code == "Z-DIS-046"

    def test_a_model_without_a_best_fit_says_so(self) -> None:
        frame = patterns()
        twice = np.ones((len(frame), 2))
        units, events = (frame[one].to_numpy(dtype=float) for one in ("n_units", "n_events"))
        with pytest.raises(DisclosureError) as raised:
            penalised_logit(twice, units, events, np.full(2, np.inf))
        assert raised.value.code == "Z-DIS-047"


# Protection ------------------------------------------------------------------------------------


def counts_of(events: Sequence[Sequence[int]], units: int = 5_000) -> pd.DataFrame:
    """Counts of one feature: a row per region, a column per category."""
    return pd.DataFrame(
        [
            (f"VR{region:02}", "kind", f"c{category}", units, count)
            for region, own in enumerate(events)
            for category, count in enumerate(own)
        ],
        columns=["region_code", "feature", "category", "n_units", "n_events"],
    )


def with_country(counts: pd.DataFrame) -> pd.DataFrame:
    summed = counts.groupby(["feature", "category"], as_index=False)[["n_units", "n_events"]].sum()
    return pd.concat([summed.assign(region_code=COUNTRY), counts], ignore_index=True)


def range_of(counts: pd.DataFrame, hidden: np.ndarray[Any, Any], row: int) -> tuple[float, float]:
    """What an attacker infers of a count: he knows all totals, all counts that are shown, that of
    a hidden row without units with an event, and that another is at least 1.
    """
    country = counts["region_code"] == COUNTRY
    cells = counts[~country]
    equations, totals = [], []
    for _, own in cells.groupby("region_code"):
        equations.append(np.isin(counts.index, own.index))
        totals.append(own["n_events"].sum())
    for at in counts.index[country]:
        same = (cells["category"] == counts.loc[at, "category"]).reindex(
            counts.index, fill_value=False
        )
        line = same.to_numpy(dtype=float)
        line[at] = -1
        equations.append(line)
        totals.append(0)
    if country.any():
        equations.append(country.to_numpy(dtype=float))
        totals.append(cells["n_events"].sum())
    bounds = [
        (1, None) if hide and count else (count, count)
        for hide, count in zip(hidden, counts["n_events"], strict=True)
    ]
    cost = np.zeros(len(counts))
    cost[row] = 1
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * cost, A_eq=np.array(equations, dtype=float), b_eq=totals, bounds=bounds
        )
        assert found.status in (0, 3)
        ends.append(sign * found.fun if found.status == 0 else np.inf)
    return ends[0], ends[1]


tables = st.integers(2, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 30), min_size=width, max_size=width), min_size=1, max_size=4
    )
)


@settings(max_examples=25, deadline=None)
@given(tables, st.booleans())
def test_no_count_under_the_threshold_can_be_inferred(
    events: list[list[int]], country: bool
) -> None:
    """Not even by who knows every total, and the exact count behind every row that is shown."""
    events = [[*own, 60] for own in events]
    counts = counts_of(events)
    if country:
        counts = with_country(counts)
    hidden = hidden_categories(counts, POLICY)
    for row in np.flatnonzero(counts["n_events"] < POLICY.minimum_n):
        assert hidden[row]
        if counts.loc[row, "n_events"]:
            low, high = range_of(counts, hidden, row)
            assert high >= POLICY.minimum_n
            assert low <= counts.loc[row, "n_events"] - 1 or counts.loc[row, "n_events"] == 1


def test_of_two_categories_both_are_hidden_or_none() -> None:
    assert hidden_categories(counts_of([[9, 91]]), POLICY).tolist() == [True, True]
    assert hidden_categories(counts_of([[10, 90]]), POLICY).tolist() == [False, False]


def test_a_hidden_row_of_a_region_does_not_follow_from_the_country() -> None:
    counts = with_country(counts_of([[50, 60], [50, 60], [50, 9]]))
    own = (counts["category"] == "c1").to_numpy()
    hidden = set(counts[own & hidden_categories(counts, POLICY)]["region_code"])
    assert "VR02" in hidden
    assert len(hidden) >= 2


def test_where_nearly_all_units_have_an_event_the_feature_is_hidden() -> None:
    """How many units there are is public: 40 units bound what a hidden count can be."""
    counts = counts_of([[35, 60, 70]])
    assert not hidden_categories(counts, POLICY).any()
    counts.loc[0, "n_units"] = 44
    assert hidden_categories(counts, POLICY).all()


class TestProtectedProfile:
    def test_rows_on_few_events_say_nothing_and_the_rest_is_rounded(self) -> None:
        rows = fitted(patterns(n=40_000, base=0.003, chances={"old": 3.0}))
        made = protect_profile(rows, POLICY)
        assert 0 < by_category(rows).loc["shed", "n_events"] < 10
        status = by_category(made)["obs_status"]
        assert status["shed"] == "Q"
        assert sorted([status["house"], status["flat"]]) == ["A", "Q"]
        assert set(status[["old", "new", "small", "middle", "large"]]) == {"A"}
        assert list(made.columns) == list(COLUMNS)
        assert not {"n_units", "n_events", "p_value"} & set(made.columns)
        shown = made["obs_status"] == "A"
        estimates = [one for one in COLUMNS[2:] if one != "obs_status"]
        assert made.loc[~shown, estimates].isna().all(axis=None)
        assert made.loc[shown, estimates].notna().all(axis=None)
        for column in ("share_events_pct", "lift", "odds_ratio"):
            for value in made.loc[shown, column]:
                assert value == float(f"{value:.1e}")
        assert set(made.loc[shown, "q_value"]) <= set(Q_STEPS)
        exact = rows.loc[shown.to_numpy(), "q_value"].to_numpy()
        assert (made.loc[shown, "q_value"].to_numpy() >= exact).all()

    def test_the_fewer_events_the_fewer_digits(self) -> None:
        """Lift times the expected number of events, both as published, leaves 10 counts open."""

        def lift_of(times: int) -> float:
            frame = pd.DataFrame(
                {"age": ["old", "new"], "n_units": [30_000, 70_000], "n_events": [46, 54]}
            )
            own = frame.assign(n_events=frame["n_events"] * times)
            made = fit_profile(own, {"age": ["old", "new"]}, POLICY, false_discovery_rate=0.05)
            return float(by_category(protect_profile(made, POLICY)).loc["old", "lift"])

        assert lift_of(1) == 2  # 1.5 to 2.5 times 25 to 35
        assert lift_of(10) == 1.5  # 1.45 to 1.55 times 295 to 305

    def test_adjusted_figures_can_be_absent_where_the_plain_ones_are_shown(self) -> None:
        frame = pd.DataFrame({"age": ["old", "new"], "n_units": [500, 500], "n_events": [50, 40]})
        policy = ModelPolicy(minimum_freedom=1000)
        own = {"age": ["old", "new"]}
        made = protect_profile(fit_profile(frame, own, policy, false_discovery_rate=0.05), policy)
        assert made["obs_status"].tolist() == ["A", "A"]
        assert made["lift"].notna().all()
        assert made["odds_ratio"].isna().all()


META = {
    "id": "premises_features",
    "breakdown": {f: {"categories": dict.fromkeys(own)} for f, own in FEATURES.items()},
    "model": {
        "method": "feature_profile",
        "units": "n_units",
        "events": "n_events",
        "levels": ["country", "safety_region"],
        "false_discovery_rate": 0.05,
    },
}


def cells(sizes: Mapping[str, int], period: str = "2023") -> pd.DataFrame:
    """Patterns of safety regions of these sizes."""
    parts = [
        patterns(n=size, seed=seed).assign(region_code=code)
        for seed, (code, size) in enumerate(sizes.items())
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(region_level="safety_region", reference_period=period)


class TestProfiles:
    def test_country_and_regions_with_enough_events_have_one(self) -> None:
        sizes = {"VR01": 200_000, "VR02": 150_000, "VR03": 3_000, "VR04": 3_000}
        made = profiles(cells(sizes), META, POLICY)
        assert list(made.columns) == ["region_code", "region_level", "reference_period", *COLUMNS]
        sizes_made = made.groupby("region_code", sort=False).size().to_dict()
        assert list(sizes_made) == [COUNTRY, "VR01", "VR02"]
        assert set(sizes_made.values()) == {8}
        country = made[made["region_code"] == COUNTRY]
        assert set(country["region_level"]) == {"country"}
        assert set(country[country["is_distinguishing"]]["category"]) == {"shed", "old"}

    def test_regions_without_a_profile_do_not_follow_from_the_country(self) -> None:
        own = cells({"VR01": 200_000, "VR02": 150_000, "VR03": 3_000, "VR04": 3_000})
        made = profiles(own, META, POLICY)
        rest = own[own["region_code"].isin(["VR03", "VR04"])]
        small = 0
        for feature, categories in FEATURES.items():
            for category in categories:
                count = rest.loc[rest[feature] == category, "n_events"].sum()
                status = made.loc[made["category"] == category, "obs_status"]
                if 0 < count < POLICY.minimum_n:
                    small += 1
                    assert set(status) != {"A"}, category
        assert small

    def test_one_region_is_not_left_over(self) -> None:
        """What is left of the country would be its profile."""
        sizes = {"VR01": 200_000, "VR02": 90_000, "VR03": 1_000}
        made = profiles(cells(sizes), META, POLICY)
        assert set(made["region_code"]) == {COUNTRY, "VR01"}

    def test_without_enough_events_there_is_none(self) -> None:
        made = profiles(cells({"VR01": 2_000}), META, POLICY)
        assert made.empty
        assert list(made.columns) == ["region_code", "region_level", "reference_period", *COLUMNS]

    def test_periods_stand_by_themselves(self) -> None:
        one, two = cells({"VR01": 200_000}), cells({"VR01": 190_000}, "2024")
        made = profiles(pd.concat([one, two]), META, POLICY)
        alone = profiles(two, META, POLICY)
        own = made[made["reference_period"] == "2024"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone)

    @pytest.mark.parametrize(
        "model", [None, {"method": "other"}, {**META["model"], "false_discovery_rate": 5}]
    )
    def test_an_incomplete_definition_is_refused(self, model: Any) -> None:
        with pytest.raises(DisclosureError) as raised:
            profiles(cells({"VR01": 9_000}), {**META, "model": model}, POLICY)
        assert raised.value.code == "Z-DIS-046"
