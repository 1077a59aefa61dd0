"""Protecting whole tables: what comes out holds against an attack, and against the past."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import typer
import yaml
from scipy.optimize import linprog
from typer.testing import CliRunner

from support import PROJECT
from zicht.cli.protect import protect
from zicht.disclosure.history import Released
from zicht.disclosure.protecting import HeldBackError, Protected, protect_cells
from zicht.disclosure.spec import CellPolicy, Spec, spec_of
from zicht.disclosure.writing import parquet_bytes
from zicht.errors import DisclosureError, UsageError, ZichtError

MUNICIPALITIES = {
    "A1": ("PA", "V1"),
    "A2": ("PA", "V1"),
    "A3": ("PA", "V2"),
    "B1": ("PB", "V2"),
    "B2": ("PB", "V1"),
}
COUNTS = {
    "A1": [3, 40, 25],
    "A2": [31, 14, 0],
    "A3": [12, 60, 33],
    "B1": [20, 6, 18],
    "B2": [44, 15, 13],
}
Counts = dict[str, list[int]]


def cells(counts: Counts, places: dict[str, tuple[str, str]] | None = None) -> dict[str, Any]:
    geography = places or MUNICIPALITIES
    rows = [(mun, number, n) for mun, own in counts.items() for number, n in enumerate(own)]
    return {
        "mun": [mun for mun, _, _ in rows],
        "prov": [geography[mun][0] for mun, _, _ in rows],
        "vr": [geography[mun][1] for mun, _, _ in rows],
        "cat": [f"c{number}" for _, number, _ in rows],
        "freq": [n for _, _, n in rows],
    }


def spec(
    levels: Sequence[str] = ("prov",), history: dict[str, Any] | None = None, **changed: Any
) -> Spec:
    policy = {"seconds": 5, **changed.pop("policy", {})}
    dimensions = {
        "mun": {"hierarchies": [["mun", level] for level in levels], "total": "Total"},
        "cat": {"total": "Total"},
    }
    made = {"dimensions": dimensions, "count": "freq", "policy": policy, **changed}
    return spec_of(made if history is None else {**made, "history": history})


def value(made: Protected, mun: str, cat: str) -> int | None:
    rows = zip(made.columns["mun"], made.columns["cat"], made.columns["value"], strict=True)
    return next(own for a, b, own in rows if (a, b) == (mun, cat))


def hidden(made: Protected) -> set[tuple[str, str]]:
    rows = zip(made.columns["mun"], made.columns["cat"], made.columns["value"], strict=True)
    return {(a, b) for a, b, own in rows if own is None}


def attack(
    releases: Sequence[Protected],
    least: float = 1.0,
    relation: str = "additions",
    successors: dict[str, str] | None = None,
    column: str = "value",
) -> dict[tuple[int, str, str], tuple[float, float]]:
    """What follows about hidden cells: innermost cells are variables, shown cells equations."""
    names: list[tuple[int, str, str]] = []
    inside: list[dict[str, set[str]]] = []
    for number, made in enumerate(releases):
        structure = zip(*made.structure_columns.values(), strict=True)
        below: dict[str, set[str]] = {}
        for _, level, code, _, parent in structure:
            assert level == "mun"
            below.setdefault(parent, set()).add(code)
        inner = set(made.columns["mun"]) - set(below) - {"Total"}
        below |= {code: {code} for code in inner}
        below["Total"] = inner
        inside.append(below)
        cats = sorted(set(made.columns["cat"]) - {"Total"})
        names += [(number, mun, cat) for mun in sorted(inner) for cat in cats]
    index = {name: at for at, name in enumerate(names)}
    cats = sorted({cat for _, _, cat in names})

    def row(number: int, mun: str, cat: str) -> Any:
        made = np.zeros(len(names))
        for one in inside[number][mun]:
            for own in cats if cat == "Total" else [cat]:
                made[index[number, one, own]] = 1.0
        return made

    equal: list[tuple[Any, float]] = []
    less: list[Any] = []
    low = np.zeros(len(names))
    targets = {}
    for number, made in enumerate(releases):
        columns = made.columns
        for mun, cat, own in zip(columns["mun"], columns["cat"], columns[column], strict=True):
            if own is None:
                targets[number, mun, cat] = row(number, mun, cat)
                if (number, mun, cat) in index:
                    low[index[number, mun, cat]] = least
            else:
                equal.append((row(number, mun, cat), float(own)))
    follow = successors or {}
    for number in range(1, len(releases)):
        for mun in inside[number]["Total"]:
            olds = [old for old in inside[number - 1]["Total"] if follow.get(old, old) == mun]
            for cat in cats:
                made_row = -row(number, mun, cat)
                for old in olds:
                    made_row += row(number - 1, old, cat)
                if relation == "equal":
                    equal.append((made_row, 0.0))
                else:
                    less.append(made_row)
    found = {}
    for target, objective in targets.items():
        ends = []
        for sign in (1, -1):
            result = linprog(
                sign * objective,
                A_ub=np.array(less) if less else None,
                b_ub=np.zeros(len(less)) if less else None,
                A_eq=np.array([one for one, _ in equal]),
                b_eq=np.array([own for _, own in equal]),
                bounds=[(one, None) for one in low],
            )
            assert result.status in (0, 3), result.message
            ends.append(sign * np.inf * -1 if result.status == 3 else sign * result.fun)
        found[target] = (ends[0], ends[1])
    return found


def recovered(*arguments: Any, **options: Any) -> list[tuple[int, str, str]]:
    return [
        target
        for target, (low, high) in attack(*arguments, **options).items()
        if np.ceil(low - 1e-6) >= np.floor(high + 1e-6)
    ]


# One table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("attacker", ["naive", "informed"])
@pytest.mark.parametrize("levels", [("prov",), ("prov", "vr")])
def test_no_hidden_cell_can_be_computed(attacker: str, levels: tuple[str, ...]) -> None:
    made = protect_cells(cells(COUNTS), spec(levels, policy={"attacker": attacker}))
    primary = {("A1", "c0"), ("B1", "c1")}
    assert primary < hidden(made)
    assert ("A2", "c2") not in hidden(made)
    assert recovered([made], least=1.0 if attacker == "informed" else 0.0) == []
    assert made.report["n_primary"] == 2
    assert made.report["n_secondary"] == len(hidden(made)) - 2


def test_the_attack_of_these_tests_finds_what_is_weak() -> None:
    made = protect_cells(cells(COUNTS), spec())
    own = list(zip(made.columns["mun"], made.columns["cat"], strict=True))
    assert recovered([made]) == []
    for cell in hidden(made) - {("A1", "c0"), ("B1", "c1")}:
        columns = {key: list(values) for key, values in made.columns.items()}
        row = own.index(cell)
        columns["value"][row] = int(made.outcome.table.count.ravel()[row])  # type: ignore[union-attr]
        weak = Protected(columns, made.structure_columns, {})
        assert recovered([weak]), f"{cell} is hidden for nothing"


def test_intervals_reach_from_one_to_the_threshold() -> None:
    policy = {"protection": "interval", "attacker": "informed"}
    made = protect_cells(cells(COUNTS), spec(policy=policy))
    reach = attack([made])
    unmet = {(*one["cell"].values(), one["side"]) for one in made.report["unmet"]}
    for mun, cat in (("A1", "c0"), ("B1", "c1")):
        low, high = reach[0, mun, cat]
        assert low <= 1 + 1e-6 or (mun, cat, "low") in unmet
        assert high >= 10 - 1e-6 or (mun, cat, "high") in unmet


def test_the_published_table_has_one_status_and_the_internal_one_the_reasons() -> None:
    made = protect_cells(cells(COUNTS), spec())
    table = made.table
    assert list(table.columns) == ["mun", "cat", "value", "obs_status", "conf_status"]
    assert len(table) == 8 * 4
    assert set(table.loc[table["value"].isna(), "obs_status"]) == {"Q"}
    assert set(table.loc[table["value"].isna(), "conf_status"]) == {"C"}
    assert set(table.loc[table["value"].notna(), "obs_status"]) == {"A"}
    assert made.structure.loc[0].tolist() == ["mun", "mun", "A1", "prov", "PA"]
    internal = made.internal.set_index(["mun", "cat"])
    assert set(internal.index) == hidden(made)
    assert internal.loc[("A1", "c0"), "rules"] == "minimum_frequency"
    secondary = internal[internal["kind"] == "secondary"]
    assert set(secondary["rules"]) == {"secondary"}
    assert all(one for one in secondary["shields"])
    reach = attack([made])
    for (mun, cat), row in internal.iterrows():  # type: ignore[misc]
        low, high = reach[0, mun, cat]
        assert row["lower"] == np.ceil(low - 1e-6)
        assert (np.isnan(row["upper"]) and np.isinf(high)) or row["upper"] == np.floor(high + 1e-6)


def test_the_same_input_gives_the_same_pattern() -> None:
    first, second = (protect_cells(cells(COUNTS), spec(("prov", "vr"))) for _ in range(2))
    assert first.columns == second.columns


def test_weights_decide_what_is_hidden() -> None:
    losses = {}
    for weight in ("value", "count", "level"):
        made = protect_cells(cells(COUNTS), spec(policy={"weight": weight}))
        losses[weight] = made.report
        assert made.report["lower_bound"] <= made.report["loss"] + 1e-6
    assert losses["count"]["loss"] == losses["count"]["n_secondary"]
    assert losses["value"]["loss"] == losses["value"]["mass"]
    assert losses["value"]["mass"] <= losses["count"]["mass"]
    assert losses["count"]["n_secondary"] <= losses["value"]["n_secondary"]


def test_zeros_that_are_not_published_are_protected() -> None:
    made = protect_cells(cells(COUNTS), spec(policy={"publish_zeros": False}))
    assert ("A2", "c2") in hidden(made)
    assert recovered([made], least=0.0) == []


def test_a_category_with_everyone_in_it_is_hidden_with_a_zero_beside_it() -> None:
    counts = {**COUNTS, "A2": [45, 0, 0]}
    rule = {"share": 0.95, "dimensions": ["cat"]}
    made = protect_cells(cells(counts), spec(policy={"group_disclosure": rule}))
    assert ("A2", "c0") in hidden(made)
    assert hidden(made) & {("A2", "c1"), ("A2", "c2"), ("A2", "Total")}
    assert recovered([made], least=0.0) == []
    merged = protect_cells(
        cells(counts), spec(policy={"group_disclosure": {**rule, "action": "merge"}})
    )
    assert merged.report["merged"]
    made = protect_cells(
        cells(counts), spec(policy={"group_disclosure": {**rule, "action": "round"}})
    )
    assert made.report["method"] == "round"
    assert made.report["fallbacks"] == ["round (group_disclosure)"]


def test_totals_that_are_no_sums_are_cells_of_their_own() -> None:
    own = spec_of(
        {
            "dimensions": {"mun": None, "offence": {"additive": False}},
            "count": "n",
            "policy": {"seconds": 5},
        }
    )
    rows = {"x": [4, 30, 31], "y": [22, 35, 40], "z": [50, 60, 80]}
    made = protect_cells(
        {
            "mun": [mun for mun in rows for _ in range(3)],
            "offence": ["a", "b", "Total"] * 3,
            "n": [n for own_rows in rows.values() for n in own_rows],
        },
        own,
    )
    off = {
        (a, b)
        for a, b, v in zip(
            made.columns["mun"], made.columns["offence"], made.columns["value"], strict=True
        )
        if v is None
    }
    # Along mun the column still adds up; along offence the total does not give the part away.
    assert ("x", "a") in off
    assert {mun for mun, offence in off if offence == "a"} > {"x"}
    assert ("x", "Total") not in off


def test_sums_and_counts_share_one_status() -> None:
    magnitude = {"total": "eur", "largest": "first", "second": "next", "contributors": "n"}
    given = cells(COUNTS)
    eur = [n * 100 for n in given["freq"]]
    given |= {
        "n": given["freq"],
        "eur": eur,
        "first": [one * 0.9 if number == 1 else one * 0.1 for number, one in enumerate(eur)],
        "next": [one * 0.01 if number == 1 else one * 0.1 for number, one in enumerate(eur)],
    }
    own = spec(magnitude=magnitude)
    made = protect_cells(given, own)
    assert made.report["by_rule"]["dominance"] == 1
    assert ("A1", "c1") in hidden(made)
    for count, total in zip(made.columns["value"], made.columns["eur"], strict=True):
        assert (count is None) == (total is None)
    assert recovered([made]) == []
    low, high = attack([made], least=0.0, column="eur")[0, "A1", "c1"]
    assert low <= 4000 * 0.9
    assert high >= 4000 * 1.1
    assert "largest_share" in made.explanation


def test_income_counts_are_rounded_and_sums_need_units() -> None:
    magnitude = {"total": "eur", "largest": "first", "second": "next", "contributors": "n"}
    given = cells({mun: [10 * n for n in own] for mun, own in COUNTS.items()})
    given |= {"n": given["freq"], "eur": [n * 30 for n in given["freq"]]}
    given |= {"first": [n * 0.1 for n in given["eur"]], "next": [n * 0.1 for n in given["eur"]]}
    policy = {"income": {}, "dominance": None, "p_percent": None}
    made = protect_cells(given, spec(magnitude=magnitude, policy=policy))
    assert {("A1", "c0"), ("B1", "c1")} < hidden(made)
    assert all(one is None or one % 100 == 0 for one in made.columns["value"])
    assert made.report["rounding_base"] == 100
    assert recovered([made], least=0.0, column="eur") == []


# Where the guarantee cannot be had -------------------------------------------------------------

NEVER = [{"mun": "A1", "cat": "c0"}]


def test_what_may_not_be_hidden_and_must_be_is_held_back_with_a_way_out() -> None:
    with pytest.raises(HeldBackError) as caught:
        protect_cells(cells(COUNTS), spec(never_hide=NEVER))
    assert (caught.value.code, caught.value.exit_status) == ("Z-DIS-040", 14)
    assert "A1/c0" in caught.value.message
    assert "A1/c0" in caught.value.remedy


def test_policy_may_hide_more_merge_or_round_instead() -> None:
    more = protect_cells(
        cells(COUNTS), spec(never_hide=NEVER, policy={"infeasible": ["hide_more"]})
    )
    assert more.report["fallbacks"] == ["hide_more"]
    assert more.report["relaxed"] == [{"mun": "A1", "cat": "c0"}]
    assert recovered([more]) == []
    rounded = protect_cells(cells(COUNTS), spec(never_hide=NEVER, policy={"infeasible": ["round"]}))
    assert rounded.report["fallbacks"] == ["round"]
    assert set(rounded.columns["obs_status"]) == {"A"}
    assert all(one % 5 == 0 for one in rounded.columns["value"])


def test_merging_goes_on_until_the_guarantee_holds() -> None:
    counts = {**COUNTS, "B1": [20, 16, 18]}
    policy = {"infeasible": ["merge"]}
    made = protect_cells(
        cells(counts), spec(never_hide=[{"mun": "A1"}], policy=policy | {"seconds": 20})
    )
    assert made.report["fallbacks"] == ["merge"]
    assert len(made.report["merged"]) == 1
    assert not [cell for cell in hidden(made) if cell[0] == "A1"]


def test_cells_that_others_publish_are_never_hidden() -> None:
    made = protect_cells(cells(COUNTS), spec(never_hide=[{"mun": "Total"}, {"mun": "PB"}]))
    assert not [cell for cell in hidden(made) if cell[0] in ("Total", "PB")]
    assert recovered([made]) == []
    with pytest.raises(DisclosureError, match="never_hide names cat = 'c9'"):
        protect_cells(cells(COUNTS), spec(never_hide=[{"cat": "c9"}]))


# History ---------------------------------------------------------------------------------------

LATER = {**COUNTS, "A2": [31, 19, 0], "B2": [44, 15, 14], "A1": [4, 40, 25]}


def test_two_vintages_together_give_nothing_away() -> None:
    first = protect_cells(cells(COUNTS), spec())
    second = protect_cells(cells(LATER), spec(), [first.as_released("first.csv")])
    assert recovered([first, second]) == []
    assert hidden(first) <= hidden(second)
    changes = second.report["changes"]
    assert changes["n_hidden_to_shown"] == 0
    assert changes["n_shown_to_hidden"] == len(hidden(second) - hidden(first))


def test_an_unchanged_revision_keeps_its_pattern() -> None:
    first = protect_cells(cells(COUNTS), spec(("prov", "vr")))
    again = protect_cells(cells(COUNTS), spec(("prov", "vr")), [first.as_released()])
    assert again.columns == first.columns
    changes = again.report["changes"]
    assert (changes["n_shown_to_hidden"], changes["n_small_changes"]) == (0, 0)


def test_ten_vintages_in_a_row_give_nothing_away() -> None:
    rng = np.random.default_rng(5)
    counts: Counts = {mun: list(own) for mun, own in COUNTS.items()}
    releases: list[Protected] = []
    for _ in range(10):
        past = [one.as_released(f"release {n}") for n, one in enumerate(releases)]
        releases.append(protect_cells(cells(counts), spec(), past))
        counts = {
            mun: [n + int(rng.integers(0, 3)) if n else 0 for n in own]
            for mun, own in counts.items()
        }
    assert recovered(releases) == []


def test_two_tables_of_the_same_facts_give_nothing_away_together() -> None:
    by_province = protect_cells(cells(COUNTS), spec(("prov",)))
    own = spec(("vr",), history={"relation": "equal"})
    by_region = protect_cells(cells(COUNTS), own, [by_province.as_released("by_province.csv")])
    assert recovered([by_province, by_region], relation="equal") == []
    same = {cell for cell in hidden(by_province) if cell[0] not in ("PA", "PB")}
    assert same <= hidden(by_region)


def test_across_a_merger_of_municipalities_nothing_comes_out() -> None:
    first = protect_cells(cells(COUNTS), spec())
    merged = {mun: own for mun, own in COUNTS.items() if mun not in ("A1", "A2")}
    merged["A9"] = [a + b for a, b in zip(LATER["A1"], LATER["A2"], strict=True)]
    places = {**MUNICIPALITIES, "A9": ("PA", "V1")}
    successors = [["A1", "A9"], ["A2", "A9"]]
    own = spec(history={"successors": successors})
    second = protect_cells(cells(merged, places), own, [first.as_released("first.csv")])
    follow = {"A1": "A9", "A2": "A9"}
    assert recovered([first, second], successors=follow) == []
    with pytest.raises(DisclosureError, match="Z-DIS-037"):
        protect_cells(cells(merged, places), spec(), [first.as_released("first.csv")])


def test_a_split_and_an_exchange_of_municipalities_can_be_tied() -> None:
    first = protect_cells(cells(COUNTS), spec())
    for successors, gone in (
        ([["A2", "A7"], ["A2", "A8"]], ["A2"]),
        ([["A1", "A7"], ["A1", "A8"], ["A2", "A7"], ["A2", "A8"]], ["A1", "A2"]),
    ):
        counts = {mun: own for mun, own in COUNTS.items() if mun not in gone}
        whole = np.sum([COUNTS[mun] for mun in gone], axis=0)
        counts |= {"A7": (whole // 2).tolist(), "A8": (whole - whole // 2).tolist()}
        places = {**MUNICIPALITIES, "A7": ("PA", "V1"), "A8": ("PA", "V1")}
        own = spec(history={"successors": successors})
        second = protect_cells(cells(counts, places), own, [first.as_released("first.csv")])
        assert recovered([second]) == []
        assert second.outcome is not None
        problem = second.outcome.problem
        assert np.abs(problem.matrix @ problem.values).max() < 1e-6


def test_a_past_that_cannot_be_is_refused_by_name() -> None:
    first = protect_cells(cells(COUNTS), spec()).as_released("first.csv")
    fewer = {**COUNTS, "A3": [12, 59, 33]}
    with pytest.raises(DisclosureError) as caught:
        protect_cells(cells(fewer), spec(), [first])
    assert caught.value.code == "Z-DIS-036"
    assert "first.csv" in caught.value.message
    assert "A3/c1 was 60 and is 59" in caught.value.message
    made = protect_cells(cells(fewer), spec(history={"relation": "free"}), [first])
    assert made.report["changes"]["n_small_changes"] >= 1


def test_policy_decides_about_small_changes() -> None:
    first = protect_cells(cells(COUNTS), spec()).as_released("first.csv")
    more = {**COUNTS, "A3": [12, 64, 33]}
    warned = protect_cells(cells(more), spec(), [first])
    change = {"mun": "A3", "cat": "c1", "was": 60, "is": 64}
    if ("A3", "c1") not in hidden(warned):
        assert change in warned.report["changes"]["small_changes"]
    assert any("changed by less than 10" in one for one in warned.report["warnings"])
    with pytest.raises(HeldBackError) as caught:
        protect_cells(cells(more), spec(policy={"small_changes": "hold"}), [first])
    assert (caught.value.code, caught.value.exit_status) == ("Z-DIS-041", 14)
    rounded = protect_cells(cells(more), spec(policy={"small_changes": "round"}), [first])
    assert rounded.report["method"] == "round"
    much = {**COUNTS, "A3": [12, 90, 33]}
    quiet = protect_cells(cells(much), spec(policy={"small_changes": "hold"}), [first])
    assert quiet.report["changes"]["n_small_changes"] == 0


def test_sums_of_two_vintages_give_nothing_away() -> None:
    magnitude = {"total": "eur", "largest": "first", "second": "next", "contributors": "n"}

    def given(counts: Counts, euro: int) -> dict[str, Any]:
        made = cells(counts)
        eur = [n * euro for n in made["freq"]]
        large = [0.9 if n == 40 else 0.1 for n in made["freq"]]
        return made | {
            "n": made["freq"],
            "eur": eur,
            "first": [one * share for one, share in zip(eur, large, strict=True)],
            "next": [one * 0.05 for one in eur],
        }

    own = spec(magnitude=magnitude)
    first = protect_cells(given(COUNTS, 100), own)
    second = protect_cells(given(LATER, 101), own, [first.as_released("first.csv")])
    assert ("A1", "c1") in hidden(first) & hidden(second)
    assert recovered([first, second], least=0.0, column="eur") == []
    assert recovered([first, second]) == []
    with pytest.raises(DisclosureError, match="Z-DIS-036"):
        protect_cells(given(LATER, 50), own, [first.as_released("first.csv")])


def test_a_rounded_release_is_a_past_of_intervals() -> None:
    for mode in ("conventional", "controlled"):
        policy = {"method": "round", "rounding": {"base": 5, "mode": mode}}
        first = protect_cells(cells(COUNTS), spec(policy=policy))
        second = protect_cells(cells(LATER), spec(policy=policy), [first.as_released("first.csv")])
        assert second.report["changes"]["n_small_changes"] == 0
        after = protect_cells(cells(LATER), spec(), [first.as_released("first.csv")])
        assert recovered([after]) == []


def test_rounding_after_an_exact_release_is_held_back_if_it_gives_that_away() -> None:
    own = {"dimensions": {"mun": None, "cat": None}, "count": "freq"}
    counts = {"mun": list("xxyy"), "cat": list("abab"), "freq": [1, 30, 20, 40]}
    first = protect_cells(counts, spec_of(own))
    # Nothing was added and 1 rounds to 0: of the hidden 1 it is known now that it is below 2.
    narrow = {"method": "round", "rounding": {"base": 3}}
    with pytest.raises(HeldBackError, match="x/a") as caught:
        protect_cells(counts, spec_of(own | {"policy": narrow}), [first.as_released("first.csv")])
    assert caught.value.code == "Z-DIS-040"


def test_what_an_earlier_release_printed_cannot_be_taken_back() -> None:
    loose = protect_cells(cells(COUNTS), spec(policy={"minimum_frequency": 2}))
    own = spec(history={"relation": "equal"})
    made = protect_cells(cells(COUNTS), own, [loose.as_released("loose.csv")])
    assert hidden(made) == set()
    assert made.report["given_away_before"] == ["A1/c0", "B1/c1"]
    assert "2 cells are given away by earlier releases alone" in made.report["warnings"][0]


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"obs_status": None}, "Z-DIS-035", "no column obs_status"),
        ({"value": None}, "Z-DIS-035", "no column value"),
        ({"obs_status": ["A"] * 32}, "Z-DIS-035", "a hidden cell has a value"),
        ({"mun": ["X9"] + ["A1"] * 31}, "Z-DIS-035", "X9 is not in its structure"),
        ({"cat": ["d" + str(n) for n in range(32)]}, "Z-DIS-038", "its codes of cat"),
        ({"mun": None, "cat": None}, "Z-DIS-038", "none of the dimensions"),
    ],
)
def test_an_earlier_release_that_cannot_be_read_is_refused(
    changed: dict[str, Any], code: str, says: str
) -> None:
    first = protect_cells(cells(COUNTS), spec()).as_released("first.csv")
    columns = {
        key: np.array(changed.get(key, values), dtype=object)
        for key, values in first.cells.items()
        if changed.get(key, values) is not None
    }
    with pytest.raises(DisclosureError) as caught:
        protect_cells(cells(COUNTS), spec(), [Released(columns, first.structure, "first.csv")])
    assert (caught.value.code, says in caught.value.message) == (code, True), caught.value
    assert "first.csv" in caught.value.message


def test_without_any_total_the_small_cells_are_hidden() -> None:
    both = {"a": {"total": None}, "b": {"total": None}}
    for protection in ("exact", "interval"):
        policy = {"seconds": 1, "protection": protection}
        one = {"dimensions": {"a": both["a"]}, "count": "n", "policy": policy}
        made = protect_cells({"a": ["A", "B"], "n": [3, 40]}, spec_of(one))
        assert made.columns["value"] == [None, 40]
        two = {"dimensions": both, "count": "n", "policy": policy}
        given = {"a": ["A", "A", "B", "B"], "b": ["x", "y"] * 2, "n": [3, 40, 0, 9]}
        assert protect_cells(given, spec_of(two)).columns["value"] == [None, 40, 0, None]


def test_loss_is_not_below_its_bound_where_zeros_are_hidden() -> None:
    given = {
        "mun": [mun for mun in "ABC" for _ in range(3)],
        "cat": ["x", "y", "z"] * 3,
        "n": [20, 0, 0, 10, 12, 9, 7, 8, 10],
    }
    policy = {"minimum_frequency": 3, "seconds": 2, "group_disclosure": {"share": 0.9}}
    document = {"dimensions": {"mun": None, "cat": None}, "count": "n", "policy": policy}
    report = protect_cells(given, spec_of(document)).report
    assert report["is_complete"]
    assert report["loss"] >= report["lower_bound"] - 1e-6


# Files and the command line --------------------------------------------------------------------

app = typer.Typer(rich_markup_mode=None)
app.command()(protect)


def folder(path: Path, **changed: Any) -> Path:
    given = cells(COUNTS)
    with (path / "cells.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(given)
        writer.writerows(zip(*given.values(), strict=True))
    document = {
        "dimensions": {"mun": {"hierarchies": [["mun", "prov"]]}, "cat": None},
        "count": "freq",
        "policy": {"seconds": 5},
        **changed,
    }
    (path / "spec.yaml").write_text(json.dumps(document))
    return path


def run(path: Path, *arguments: str) -> Any:
    given = [str(path / "cells.csv"), "--spec", str(path / "spec.yaml")]
    return CliRunner().invoke(app, [*given, "--out", str(path / "out.csv"), *arguments])


def test_the_command_writes_what_the_function_returns(tmp_path: Path) -> None:
    folder(tmp_path)
    explained, report = tmp_path / "why.parquet", tmp_path / "report.json"
    result = run(tmp_path, "--explain", str(explained), "--report", str(report))
    assert result.exit_code == 0, result.output
    assert "unsafe in itself" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    made = protect_cells(cells(COUNTS), spec())
    assert [row["value"] for row in rows] == [
        "" if one is None else str(one) for one in made.columns["value"]
    ]
    structure = (tmp_path / "out.structure.csv").read_text().splitlines()
    assert structure[:2] == ["dimension,level,code,parent_level,parent", "mun,mun,A1,prov,PA"]
    n_hidden = json.loads(report.read_text())["n_hidden"]
    count = duckdb.sql(f"select count(*) from '{explained}' where upper > lower or upper is null")
    assert count.fetchall() == [(n_hidden,)]


def test_the_command_reads_earlier_releases_with_what_lies_beside_them(tmp_path: Path) -> None:
    folder(tmp_path)
    assert run(tmp_path).exit_code == 0
    first = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "out.csv").rename(tmp_path / "first.csv")
    (tmp_path / "out.structure.csv").rename(tmp_path / "first.structure.csv")
    result = run(tmp_path, "--released", str(tmp_path / "first.csv"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.csv").read_bytes() == first
    assert "shown before, hidden now  0" in result.stdout
    (tmp_path / "first.structure.csv").unlink()
    failed = run(tmp_path, "--released", str(tmp_path / "first.csv"))
    assert isinstance(failed.exception, ZichtError)
    assert failed.exception.code == "Z-DIS-035"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"policy": {"method": "hide"}}, "Z-DIS-012"),
        ({"count": "n"}, "Z-DIS-021"),
        ({"never_hide": [{"mun": "A1"}]}, "Z-DIS-040"),
        ({"dimensions": {"mun": None, "sex": None}}, "Z-DIS-021"),
    ],
)
def test_nothing_is_written_when_anything_is_wrong(
    tmp_path: Path, changed: dict[str, Any], code: str
) -> None:
    folder(tmp_path, **changed)
    before = sorted(one.name for one in tmp_path.iterdir())
    result = run(tmp_path, "--report", str(tmp_path / "report.json"))
    assert isinstance(result.exception, ZichtError), result.output
    assert result.exception.code == code
    assert sorted(one.name for one in tmp_path.iterdir()) == before


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "out.csv").write_text("as it was")
    (tmp_path / "report.json").mkdir()
    before = sorted(one.name for one in tmp_path.iterdir())
    result = run(tmp_path, "--report", str(tmp_path / "report.json"))
    assert isinstance(result.exception, ZichtError)
    assert result.exception.code == "Z-DIS-015"
    assert (tmp_path / "out.csv").read_text() == "as it was"
    assert sorted(one.name for one in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["cells.csv", "out.csv", "out.structure.csv", "no/report.json"])
def test_no_file_of_the_command_is_written_over_another(tmp_path: Path, name: str) -> None:
    folder(tmp_path)
    before = (tmp_path / "cells.csv").read_bytes()
    result = run(tmp_path, "--report", str(tmp_path / name))
    assert isinstance(result.exception, ZichtError)
    assert result.exception.code == "Z-DIS-015"
    assert (tmp_path / "cells.csv").read_bytes() == before
    assert not (tmp_path / "out.csv").exists()


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    made = protect_cells(cells(COUNTS), spec())
    folder(tmp_path)
    target = tmp_path / "target"
    target.write_text("as it was")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    (tmp_path / "box").mkdir()
    before = {one.name: one.lstat().st_mode for one in tmp_path.iterdir()}
    for name in ("pipe", "link", "lost", "box"):
        result = run(tmp_path, "--report", str(tmp_path / name))
        assert isinstance(result.exception, UsageError), name
        with pytest.raises(UsageError) as caught:
            made.write(tmp_path / "other.csv", report=tmp_path / name)
        assert {result.exception.code, caught.value.code} == {"Z-DIS-015"}
    assert {one.name: one.lstat().st_mode for one in tmp_path.iterdir()} == before
    assert target.read_text() == "as it was"


def test_successors_are_not_written_over(tmp_path: Path) -> None:
    folder(tmp_path, history={"successors": "recast.csv"})
    (tmp_path / "recast.csv").write_text("from,to\nA1,A9\n")
    os.link(tmp_path / "recast.csv", tmp_path / "same.json")
    for name in ("recast.csv", "same.json"):
        result = run(tmp_path, "--report", str(tmp_path / name))
        assert isinstance(result.exception, UsageError)
        assert result.exception.code == "Z-DIS-015"
    assert (tmp_path / "recast.csv").read_text() == "from,to\nA1,A9\n"


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "year=[12]*"
    odd.mkdir()
    folder(odd)
    for name, more in (("c[1]?.parquet", 0), ("c1x.parquet", 500)):
        given = cells({mun: [one + more for one in own] for mun, own in COUNTS.items()})
        (odd / name).write_bytes(parquet_bytes(given, odd))
    paths = [odd / name for name in ("c[1]?.parquet", "spec.yaml", "out.parquet")]
    options = ["", "--spec", "--out"]
    given = [one for pair in zip(options, map(str, paths), strict=True) for one in pair if one]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    earlier = Released.read(odd / "out.parquet", odd / "out.structure.csv")
    shown = [one for one in earlier.cells["value"] if one]
    assert max(int(one) for one in shown) == sum(map(sum, COUNTS.values()))
    assert list(earlier.cells) == ["mun", "cat", "value", "obs_status", "conf_status"]


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert "Example: zicht protect cells.csv --spec spec.yaml --out protected.csv" in result.stdout


# The reference page ----------------------------------------------------------------------------

PAGE = (PROJECT / "docs" / "reference" / "disclosure.md").read_text(encoding="utf-8")


def test_the_example_of_the_reference_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in re.findall(r"^File: `([^`]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S):
        (tmp_path / name).write_text(content)
    command, *_ = re.findall(r"^\$ zicht protect (.*)$", PAGE, re.M)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
    assert shown in result.stdout
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    exec(compile(code, "disclosure.md", "exec"), {})
    assert (tmp_path / "internal.parquet").exists()


def test_the_reference_has_every_key_and_default_of_the_policy() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", PAGE, re.M))
    assert {one.name for one in fields(CellPolicy)} <= set(rows)
    for one in fields(CellPolicy):
        value = getattr(CellPolicy(), one.name)
        told = yaml.safe_load(rows[one.name])
        if one.name == "minimum_denominator":
            assert (value, told) == (None, "minimum_frequency")
        elif is_dataclass(value):
            assert told == asdict(value), one.name
        else:
            assert told == (list(value) if isinstance(value, tuple) else value), one.name
