"""Primary rules, each on a table that can be checked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from zicht.disclosure.primary import (
    DOMINANCE,
    FREQUENCY,
    GROUP,
    INCOME_SHARE,
    INCOME_UNITS,
    P_PERCENT,
    ZERO,
    Primary,
    find_primary,
)
from zicht.disclosure.reading import read_columns
from zicht.disclosure.spec import Spec, spec_of
from zicht.disclosure.tables import Table, build_table

MAGNITUDE = {"total": "eur", "largest": "first", "second": "next", "contributors": "n"}


def counted(policy: dict[str, Any], **cells: list[Any]) -> tuple[Table, Primary]:
    own = spec_of({"dimensions": {"mun": None, "cat": None}, "count": "n", "policy": policy})
    table = build_table(read_columns(cells), own)
    return table, find_primary(table, own)


def hits(table: Table, primary: Primary, rule: str) -> list[str]:
    return [table.label(int(cell)) for cell in np.flatnonzero(primary.by_rule[rule])]


# Per municipality the categories a and b: x 3 and 0, y 20 and 7.
SMALL = {"mun": ["x", "x", "y", "y"], "cat": ["a", "b", "a", "b"], "n": [3, 0, 20, 7]}


def test_counts_below_the_threshold_are_unsafe_and_zeros_are_not() -> None:
    table, primary = counted({"minimum_frequency": 7}, **SMALL)
    assert hits(table, primary, FREQUENCY) == ["x/Total", "x/a"]
    assert ZERO not in primary.by_rule
    assert np.isnan(primary.low).all()


def test_zeros_are_unsafe_where_policy_does_not_publish_them() -> None:
    table, primary = counted({"minimum_frequency": 7, "publish_zeros": False}, **SMALL)
    assert hits(table, primary, ZERO) == ["x/b"]


def test_intervals_reach_from_what_is_known_not_to_be_zero_to_the_threshold() -> None:
    cells = {"mun": ["x"] * 3 + ["y"] * 3, "cat": ["a", "b", "c"] * 2, "n": [2, 3, 0, 40, 50, 60]}
    table, primary = counted({"protection": "interval"}, **cells)
    total = table.axes[0].position["x"], table.axes[1].position["Total"]
    assert (primary.low[total], primary.high[total]) == (2, 10)
    leaf = table.axes[0].position["x"], table.axes[1].position["a"]
    assert (primary.low[leaf], primary.high[leaf]) == (1, 10)
    _, naive = counted({"protection": "interval", "attacker": "naive"}, **cells)
    assert naive.low[total] == 1
    assert np.isnan(primary.low[table.axes[0].position["y"]]).all()


def income(policy: dict[str, Any], **cells: list[Any]) -> tuple[Table, Primary]:
    own: Spec = spec_of(
        {"dimensions": {"cat": None}, "count": "n", "magnitude": MAGNITUDE, "policy": policy}
    )
    table = build_table(read_columns(cells), own)
    return table, find_primary(table, own)


SUMS = {
    "cat": ["even", "one", "pair", "none"],
    "n": [20, 20, 20, 0],
    "eur": [100, 100, 100, 0],
    "first": [10, 80, 50, 0],
    "next": [10, 1, 46, 0],
}


def test_dominance_looks_at_the_largest_contributions() -> None:
    table, primary = income({"dominance": {"n": 1, "k": 75}, "p_percent": None}, **SUMS)
    assert hits(table, primary, DOMINANCE) == ["one"]
    table, primary = income({"dominance": {"n": 2, "k": 75}, "p_percent": None}, **SUMS)
    assert hits(table, primary, DOMINANCE) == ["one", "pair"]
    table, primary = income({"dominance": {"n": 1, "k": 80}, "p_percent": None}, **SUMS)
    assert hits(table, primary, DOMINANCE) == []


def test_p_percent_takes_off_what_the_second_contributor_knows() -> None:
    # pair: 100 - 50 - 46 = 4 is less than 10% of 50; one: 100 - 80 - 1 = 19 is more than 8.
    table, primary = income({"dominance": None}, **SUMS)
    assert hits(table, primary, P_PERCENT) == ["pair"]
    table, primary = income({"dominance": None, "p_percent": {"p": 8}}, **SUMS)
    assert hits(table, primary, P_PERCENT) == []


def test_the_largest_contributions_of_a_total_are_those_of_its_cells() -> None:
    table, _ = income({}, **SUMS)
    assert table.magnitudes is not None
    total = table.axes[0].position["Total"]
    assert table.magnitudes.largest[total] == 80
    assert table.magnitudes.second[total] == 50
    assert table.magnitudes.total[total] == 300
    assert table.magnitudes.contributors[total] == 60


def test_income_needs_a_hundred_units_and_no_large_contribution() -> None:
    cells = {
        "cat": ["few", "many", "skew"],
        "n": [99, 100, 100],
        "eur": [1000, 1000, 1000],
        "first": [20, 300, 301],
        "next": [20, 20, 20],
    }
    table, primary = income({"income": {}, "dominance": None, "p_percent": None}, **cells)
    assert hits(table, primary, INCOME_UNITS) == ["few"]
    assert hits(table, primary, INCOME_SHARE) == ["skew"]


GROUPS = {
    "mun": ["x"] * 3 + ["y"] * 3 + ["z"] * 3,
    "cat": ["a", "b", "c"] * 3,
    "n": [30, 0, 0, 95, 12, 0, 40, 40, 40],
}


def test_a_category_with_all_of_its_margin_is_unsafe_and_so_are_the_zeros_beside_it() -> None:
    rule = {"group_disclosure": {"share": 0.95, "dimensions": ["cat"]}}
    table, primary = counted(rule, **GROUPS)
    assert hits(table, primary, GROUP) == ["x/a"]
    loose = [table.label(int(cell)) for cell in np.flatnonzero(primary.loose_zeros)]
    assert loose == ["x/b", "x/c"]


def test_group_disclosure_by_share_and_by_how_few_are_outside() -> None:
    table, primary = counted({"group_disclosure": {"share": 0.88, "dimensions": ["cat"]}}, **GROUPS)
    assert hits(table, primary, GROUP) == ["x/a", "y/a"]
    table, primary = counted(
        {"group_disclosure": {"share": 1, "minimum": 13, "dimensions": ["cat"]}}, **GROUPS
    )
    assert hits(table, primary, GROUP) == ["x/a", "y/a"]
    rule = {"group_disclosure": {"share": 0.88, "dimensions": ["cat"]}, "protection": "interval"}
    table, primary = counted(rule, **GROUPS)
    at = table.axes[0].position["y"], table.axes[1].position["a"]
    # 88% of 107 is 94.16: 94 is the largest value that would have been safe.
    assert primary.low[at] == 94
    by_region = {"group_disclosure": {"share": 0.7, "dimensions": ["mun"]}}
    table, primary = counted(by_region, **GROUPS)
    assert hits(table, primary, GROUP) == ["z/b", "z/c"]
