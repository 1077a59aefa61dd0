"""Themes side by side, correlations, and the tables that come from the wall as they are."""

from __future__ import annotations

from dataclasses import replace
from math import atanh, sqrt, tanh
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats

from candidate_support import (
    broken_rules,
    build,
    cell,
    content_of,
    mart,
    rows_of,
    write_parquet,
)
from zicht.periods import Period
from zicht.releases.across import LEAST_REGIONS, WARNING, rank_correlation, ranks, wide_columns
from zicht.releases.candidate import content_hash
from zicht.releases.errata import Break, BreakCode
from zicht.releases.writing import DATABASE
from zicht.settings import Settings

MARTS = [
    mart("homes", "one"),
    mart("homes_too", "one"),
    mart("quarterly", "two"),
    mart("count", "two", denominator=None),
    mart("model", "two", kind="modelled", policy="modelled"),
]
REGIONS = {"NL01": None, "PV20": None, **{f"GM{n:04}": 1000 * n for n in range(1, 41)}}
MUNICIPALITIES = [region for region in REGIONS if region.startswith("GM")]


def figures() -> list[dict[str, Any]]:
    """Figures of forty municipalities over two years, of which one shows in both."""
    random = np.random.default_rng(3)
    cells = []
    for number, region in enumerate(MUNICIPALITIES):
        noise = random.integers(-8, 8, 2).tolist()
        for year in ("2023", "2024"):
            cells.append(cell("homes", region, year, float(number + noise[0]), theme="one"))
        cells += [
            cell("homes_too", region, "2023", float(number), theme="one"),
            cell("count", region, "2024", 10.0 * number, theme="two"),
            cell("quarterly", region, "2024-Q3", 999.0, theme="two"),
            cell("quarterly", region, "2024-Q4", float(number + noise[1]), theme="two"),
            cell("quarterly", region, "2024-Q4", 5.0, theme="two", breakdown="d=a"),
        ]
    cells += [cell("homes", "PV20", "2024", 1.0, theme="one")]
    return cells


def test_ranks_and_correlation_are_those_of_scipy() -> None:
    random = np.random.default_rng(7)
    a = np.round(random.normal(size=60), 1)
    b = np.round(a + random.normal(size=60), 1)
    assert ranks(a).tolist() == stats.rankdata(a).tolist()
    found = rank_correlation(a, b)
    rho = float(stats.spearmanr(a, b).statistic)
    half = stats.norm.ppf(0.975) * sqrt((1 + rho**2 / 2) / 57)
    assert found == pytest.approx((rho, tanh(atanh(rho) - half), tanh(atanh(rho) + half)))
    assert rank_correlation(a, -a) == (-1.0, -1.0, -1.0)
    assert rank_correlation(a, np.full(60, 2.0)) is None


def test_the_interval_holds_what_it_promises() -> None:
    """Over samples of a known correlation it holds the true rho about 95 times in 100."""
    random = np.random.default_rng(11)
    true = 6 / np.pi * np.arcsin(0.6 / 2)
    hits = 0
    for _ in range(600):
        a, e = random.normal(size=(2, 50))
        found = rank_correlation(a, 0.6 * a + 0.8 * e)
        assert found is not None
        hits += found[1] <= true <= found[2]
    assert 0.92 <= hits / 600 <= 0.98


def test_columns_follow_from_the_indicators() -> None:
    assert [column.name for column in wide_columns(list(reversed(MARTS)))] == [
        *("count", "homes", "homes_too", "quarterly")
    ]


@pytest.fixture
def released(settings: Settings, tmp_path: Path) -> Path:
    breakdown = {
        "d": {"label": {"nl": "D", "en": "D"}, "categories": {"a": {"nl": "a", "en": "a"}}}
    }
    quarterly = mart("quarterly", "two", breakdown=breakdown)
    marts = [quarterly if one.indicator["id"] == "quarterly" else one for one in MARTS]
    return build(settings, content_of(tmp_path / "in", marts, figures(), REGIONS))


def test_themes_lie_side_by_side_where_two_of_them_have_figures(
    settings: Settings, released: Path
) -> None:
    rows = rows_of(released, "select * from across_themes")
    # In 2023 there is one theme only; a province has no row; the last quarter stands for the year.
    assert [row[:2] for row in rows] == [(region, "2024") for region in MUNICIPALITIES]
    names = [row[0] for row in rows_of(released, "describe across_themes")]
    assert names == ["region_code", "reference_period", *(c.name for c in wide_columns(MARTS))]
    given = {
        (c["indicator_id"], c["region_code"], c["reference_period"]): c for c in figures()[::-1]
    }
    for region, _, count, homes, homes_too, quarterly in rows:
        assert homes == given["homes", region, "2024"]["value"]
        assert count == given["count", region, "2024"]["value"]
        assert homes_too is None
        assert quarterly == given["quarterly", region, "2024-Q4"]["value"]
    assert broken_rules(settings, released, ["across_themes"]) == {}
    with duckdb.connect(str(released / DATABASE)) as connection:
        connection.execute("update across_themes set homes = 0.5 where region_code = 'GM0001'")
        connection.execute("update across_themes set homes = null where region_code = 'GM0002'")
        connection.execute("alter table across_themes add column secret double")
    broken = broken_rules(settings, released, ["across_themes"])
    assert {name: len(rows) for name, rows in broken.items()} == {
        "published_columns": 1,
        "figures_are_published": 1,
        "themes_side_by_side": 1,
    }


def test_correlations_are_of_two_themes_and_warn(settings: Settings, released: Path) -> None:
    rows = rows_of(released, "select * from correlations")
    # The count has no denominator: it goes with anything that is larger in large municipalities.
    assert [row[:6] for row in rows] == [("homes", "quarterly", "one", "two", "2024", 40)]
    a, b = zip(*rows_of(released, "select homes, quarterly from across_themes"), strict=True)
    assert rows[0][6] == round(float(stats.spearmanr(a, b).statistic), 2)
    assert rows[0][-2:] == (WARNING["nl"], WARNING["en"])
    assert broken_rules(settings, released, ["correlations"]) == {}
    with duckdb.connect(str(released / DATABASE)) as connection:
        connection.execute("update correlations set warning_nl = ' '")
    assert set(broken_rules(settings, released, ["correlations"])) == {"over_enough_areas"}


def test_too_few_municipalities_have_no_correlation(settings: Settings, tmp_path: Path) -> None:
    few = [one for one in figures() if one["region_code"] in MUNICIPALITIES[: LEAST_REGIONS - 1]]
    folder = build(settings, content_of(tmp_path / "in", MARTS, few, REGIONS))
    assert rows_of(folder, "select count(*) from across_themes") == [(LEAST_REGIONS - 1,)]
    assert rows_of(folder, "select * from correlations") == []


SIGNALS = (
    "indicator_id varchar, region_code varchar, reference_period varchar, observed double, "
    "expected double, lower double, upper double, q_value double, is_signal boolean, "
    "reason varchar, obs_status varchar, sentence_nl varchar, "
    "sentence_en varchar, known_at timestamptz, vintage varchar, lag_days integer"
)
PROFILES = (
    "indicator_id varchar, region_code varchar, region_level varchar, reference_period varchar, "
    "feature varchar, category varchar, share_all_pct double, share_events_pct double, "
    "lift double, lift_lower double, lift_upper double, q_value double, odds_ratio double, "
    "odds_lower double, odds_upper double, odds_q_value double, is_distinguishing boolean, "
    "obs_status varchar, known_at timestamptz, vintage varchar, "
    "lag_days integer"
)
COVERAGE = (
    "source varchar, unit varchar, reference_period varchar, region_code varchar, frame varchar, "
    "n_expected bigint, n_delivered bigint, coverage_pct double, before_pct double, "
    "limit_pct double, is_below_limit boolean, known_at timestamptz, vintage varchar"
)
KNOWN = {"known_at": "2025-04-01 00:00:00+00", "vintage": "v", "lag_days": 30}


def from_the_wall(folder: Path) -> dict[str, Path]:
    """Files with a shown and a hidden row of each."""
    shown = {"obs_status": "A", "reference_period": "2024-Q4", **KNOWN}
    hidden = {**shown, "obs_status": "Q"}
    signal = {"indicator_id": "model", "sentence_nl": "zin", "sentence_en": "words"}
    numbers = {"observed": 34.0, "expected": 12.0, "lower": 4.0, "upper": 23.0, "q_value": 0.01}
    nothing = dict.fromkeys(numbers)
    profile = {"indicator_id": "model", "region_code": "NL01", "region_level": "country"}
    names = [part.split()[0] for part in PROFILES.split(", ")][6:16]
    coverage = {"source": "s", "unit": "persons", "reference_period": "2024", "frame": "population"}
    signals = [
        {**signal, "region_code": "GM0001", **numbers, "is_signal": True, "reason": None, **shown},
        {
            **{**signal, "region_code": "GM0002", **nothing, "is_signal": False},
            **{"reason": "count_not_published", **hidden},
        },
    ]
    profiles = [
        {
            **profile,
            **{"feature": "use", "category": category, **dict.fromkeys(names, number)},
            **{"is_distinguishing": number is not None, **status},
        }
        for category, number, status in (("industry", 3.0, shown), ("other", None, hidden))
    ]
    covered = {**coverage, "region_code": "GM0001", "n_expected": 1000, "n_delivered": 900}
    covered |= {"coverage_pct": 90.0, "before_pct": None, "limit_pct": 90.0}
    rows = {
        "signals": (SIGNALS, signals),
        "profiles": (PROFILES, profiles),
        "coverage": (COVERAGE, [{**covered, "is_below_limit": False, **KNOWN}]),
    }
    return {
        name: write_parquet(folder / f"{name}.parquet", columns, given)
        for name, (columns, given) in rows.items()
    }


def test_what_the_wall_made_is_published_as_it_is(settings: Settings, tmp_path: Path) -> None:
    files = from_the_wall(tmp_path)
    content = content_of(tmp_path / "in", MARTS, figures(), REGIONS, **files)
    folder = build(settings, content)
    assert rows_of(folder, "select region_code, theme, observed, conf_status from signals") == [
        ("GM0001", "two", 34.0, "F"),
        ("GM0002", "two", None, "C"),
    ]
    assert rows_of(folder, "select category, theme, lift, release_id from feature_profiles") == [
        ("industry", "two", 3.0, "one"),
        ("other", "two", None, "one"),
    ]
    assert rows_of(folder, "select source, coverage_pct from coverage") == [("s", 90.0)]
    # And it counts in the quality of the figures that rest on that source, there and then.
    grades = dict(
        rows_of(
            folder,
            "select region_code, quality from observations "
            "where indicator_id = 'homes' and reference_period = '2024'",
        )
    )
    assert {region for region, one in grades.items() if one == "B"} == {"GM0001"}
    tables = ["signals", "feature_profiles", "coverage"]
    assert broken_rules(settings, folder, tables) == {}
    with duckdb.connect(str(folder / DATABASE)) as connection:
        connection.execute("update signals set expected = 3 where obs_status = 'Q'")
        connection.execute("update signals set observed = 1, region_code = 'PV20' where is_signal")
        connection.execute("update feature_profiles set indicator_id = 'homes', odds_ratio = 2")
        connection.execute("update coverage set n_expected = 999")
    assert set(broken_rules(settings, folder, tables)) == {
        *("hidden_has_no_value", "region_may_be_shown", "signal_stands_out"),
        *("indicator_is_modelled", "share_of_a_large_frame"),
    }


def test_a_figure_says_that_too_little_was_delivered_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    cells = [cell("homes", region, "2024", None) for region in ("GM0001", "GM0002")]
    content = content_of(tmp_path / "in", MARTS, cells, REGIONS)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            f"create table p as select *, region_code = 'GM0002' as is_uncovered "
            f"from '{content.protected}'"
        )
        connection.execute(f"copy p to '{content.protected}'")
    folder = build(settings, content)
    assert rows_of(folder, "select obs_status, obs_flags from observations order by all") == [
        ("O", "missing"),
        ("O", "missing;low_coverage"),
    ]


def test_other_content_is_another_release(tmp_path: Path) -> None:
    files = from_the_wall(tmp_path)
    protected = content_of(tmp_path / "in", MARTS, figures(), REGIONS).protected
    row = {"theme": "one", "text_nl": "a"}
    line = Break(Period.parse("2024"), BreakCode.METHOD, "homes", None, {"nl": "n", "en": "e"}, "r")
    given: list[dict[str, Any]] = [
        {},
        *({name: path} for name, path in files.items()),
        *({name: files["signals"]} for name in ("profiles", "coverage")),
        {"themes": [row]},
        {"themes": [{**row, "text_nl": "b"}]},
        {"errata": [row]},
        {"breaks": [line]},
        {"breaks": [replace(line, code=BreakCode.GEOGRAPHY)]},
    ]
    hashes = [content_hash(protected, MARTS, 2025, "1", **one) for one in given]
    assert len(set(hashes)) == len(given)
    assert hashes == [content_hash(protected, MARTS, 2025, "1", **one) for one in given]
