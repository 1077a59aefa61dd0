"""Rounding, rates and modelled output: what is published, and what it leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zicht.disclosure.modelled import ModelPolicy, protect_modelled
from zicht.disclosure.protecting import Protected, protect_cells
from zicht.disclosure.rates import Part, Rates, protect_rates
from zicht.disclosure.rounding import implied, round_controlled, round_conventionally
from zicht.disclosure.spec import CellPolicy, GroupDisclosure, Income, Rounding, spec_of
from zicht.disclosure.tables import Table, build_table, equations
from zicht.errors import DisclosureError

DIMENSIONS = {"mun": {"hierarchies": [["mun", "prov"]]}, "cat": None}


def cells(counts: list[list[int]]) -> dict[str, list[Any]]:
    """Cells of one municipality per inner list, two municipalities per province."""
    return {
        "mun": [f"m{m}" for m, own in enumerate(counts) for _ in own],
        "prov": [f"p{m // 2}" for m, own in enumerate(counts) for _ in own],
        "cat": [f"c{c}" for own in counts for c in range(len(own))],
        "n": [one for own in counts for one in own],
    }


def table_of(counts: list[list[int]]) -> Table:
    own = spec_of({"dimensions": DIMENSIONS, "count": "n"})
    from zicht.disclosure.reading import read_columns

    return build_table(read_columns(cells(counts)), own)


def rounded(counts: list[list[int]], **rounding: Any) -> Protected:
    policy = {"method": "round", "rounding": rounding}
    own = spec_of({"dimensions": DIMENSIONS, "count": "n", "policy": policy})
    return protect_cells(cells(counts), own)


def test_halves_go_up() -> None:
    values = np.array([0, 2, 3, 7, 8, 50, 149, 150])
    assert round_conventionally(values, 5).tolist() == [0, 0, 5, 5, 10, 50, 150, 150]
    assert round_conventionally(values, 100).tolist() == [0, 0, 0, 0, 0, 100, 100, 200]


@pytest.mark.parametrize("base", [2, 3, 5, 10, 100])
def test_what_a_conventionally_rounded_value_leaves_open_is_what_rounds_to_it(base: int) -> None:
    every = np.arange(5 * base)
    made = round_conventionally(every, base)
    for multiple in np.unique(made)[:-1]:
        low, high = implied(np.array([multiple]), base, "conventional")
        own = every[made == multiple]
        assert (low[0], high[0]) == (own.min(), own.max())


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 40), min_size=width, max_size=width), min_size=2, max_size=6
        )
    ),
    st.sampled_from([3, 5, 10]),
)
def test_controlled_rounding_adds_up_within_one_base_and_keeps_zeros(
    counts: list[list[int]], base: int
) -> None:
    table = table_of(counts)
    made, moved = round_controlled(table, base, 10.0)
    true = table.count.ravel()
    assert np.all(equations(table.axes) @ made == 0)
    assert np.all(made % base == 0)
    within = np.abs(made - true)
    assert within.max() <= base
    assert np.all(within[np.setdiff1d(np.arange(len(true)), moved)] < base)
    assert np.all(made[true == 0] == 0)
    assert np.all(true[moved] % base == 0)


def test_rounding_gives_every_cell_a_value_and_says_its_base() -> None:
    made = rounded([[13, 22], [31, 7], [8, 0], [44, 51]], base=5, mode="controlled")
    assert set(made.columns["obs_status"]) == {"A"}
    assert made.report["rounding_base"] == 5
    assert made.report["largest_error"] < 5
    assert made.report["narrowest_interval"] >= 4


def test_what_conventional_rounding_gives_away_is_hidden() -> None:
    # Four times 2 is 8, which rounds to 10: at least 8, so that every 0 must stand for a 2.
    own = spec_of(
        {
            "dimensions": {"cat": None},
            "count": "n",
            "policy": {"method": "round", "rounding": {"base": 5}},
        }
    )
    made = protect_cells({"cat": list("abcd"), "n": [2, 2, 2, 2]}, own)
    assert made.columns["value"].count(None) == 1
    assert made.columns["value"][made.columns["cat"].index("Total")] == 10
    assert "rounding gave them away" in made.report["warnings"][0]
    safe = protect_cells({"cat": list("abcd"), "n": [12, 23, 34, 41]}, own)
    assert None not in safe.columns["value"]


# Rates -----------------------------------------------------------------------------------------


def rates(
    numerator: list[float],
    denominator: list[float],
    policy: CellPolicy | None = None,
    rounding: Rounding | None = None,
    *,
    is_published: bool = True,
    hidden: tuple[list[int], list[int]] = ((), ()),  # type: ignore[assignment]
    **options: Any,
) -> Rates:
    n, d = np.array(numerator, dtype=float), np.array(denominator, dtype=float)
    shown_n, shown_d = np.ones(len(n), dtype=bool), np.ones(len(n), dtype=bool)
    shown_n[list(hidden[0])] = False
    shown_d[list(hidden[1])] = False
    return protect_rates(
        Part(n, shown_n, rounding, is_published),
        Part(d, shown_d),
        policy or CellPolicy(),
        **options,
    )


def test_a_rate_of_published_parts_keeps_its_decimals() -> None:
    made = rates([12, 0, 50], [80, 40, 100])
    assert made.values.tolist() == [15.0, 0.0, 50.0]
    assert made.decimals.tolist() == [1, 1, 1]


def test_a_rate_is_shown_only_where_both_parts_may_be() -> None:
    made = rates([12, 12, 12, 0], [80, 80, 9, 0], hidden=([0], [1]))
    assert made.reasons == (
        "numerator_hidden",
        "denominator_hidden",
        "minimum_denominator",
        "minimum_denominator",
    )
    assert np.isnan(made.values).all()


def test_thresholds_of_denominators_and_groups_hold_for_rates() -> None:
    income = CellPolicy(income=Income())
    assert rates([30, 30], [99, 100], income).shown.tolist() == [False, True]
    own = CellPolicy(minimum_denominator=50)
    assert rates([30, 30], [49, 50], own).shown.tolist() == [False, True]
    group = CellPolicy(group_disclosure=GroupDisclosure(share=0.9))
    made = rates([90, 89, 0], [100, 100, 100], group)
    assert made.reasons == ("group_disclosure", "", "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=20),
    st.sampled_from(["conventional", "controlled"]),
    st.sampled_from([5, 10, 100]),
)
def test_a_rate_leaves_open_whatever_its_rounded_numerator_leaves_open(
    pairs: list[tuple[int, int]], mode: str, base: int
) -> None:
    numerator = [float(min(pair)) for pair in pairs]
    denominator = [float(max(pair)) for pair in pairs]
    rounding = Rounding(base, mode)
    made = rates(numerator, denominator, rounding=rounding, decimals=3)
    for n, d, rate, digits, shown in zip(
        numerator, denominator, made.values, made.decimals, made.shown, strict=True
    ):
        if not shown:
            continue
        if mode == "conventional":
            open_ = [
                v
                for v in range(int(n) - base, int(n) + base + 1)
                if v >= 0
                and round_conventionally(np.array([v]), base)
                == round_conventionally(np.array([int(n)]), base)
            ]
        else:
            open_ = [
                v
                for v in range(int(n // base * base) - 0, int(n // base * base) + base)
                if v >= 0 and v > int(n // base * base + (base if n % base else 0)) - base
            ]
        half = 0.5 * 10.0 ** -int(digits)
        for value in open_:
            assert rate - half - 1e-6 <= 100 * value / d <= rate + half + 1e-6, (n, d, rate, value)


def test_a_finer_rate_would_have_given_the_numerator_back() -> None:
    # 12 of 20 is 60.0%: at one decimal only 12 fits; 10 to 14, which round to 10 or 15, do not.
    made = rates([12], [20], rounding=Rounding(5, "conventional"), decimals=1)
    assert made.reasons == ("too_precise",)
    # 212 of 2000 is 10.6%; 208 to 212 give 10.4 to 10.6, which share their whole percentage
    # only up to 10.5.
    made = rates([206], [2000], rounding=Rounding(5, "conventional"), decimals=2)
    assert made.decimals.tolist() == [0]
    assert made.values.tolist() == [10.0]


def test_a_numerator_that_is_not_published_is_protected_up_to_the_threshold() -> None:
    made = rates([4, 40, 0], [400, 400, 400], is_published=False)
    # 1 to 10 of 400 is 0.25 to 2.5%: only tens of percents leave all of these open.
    assert made.decimals.tolist() == [-1, 1, 1]
    assert made.values.tolist() == [0.0, 10.0, 0.0]


def test_a_rate_of_an_exact_numerator_does_not_give_a_rounded_denominator_back() -> None:
    n = Part(np.array([37.0]), np.array([True]))
    d = Part(np.array([1013.0]), np.array([True]), Rounding(100, "conventional"))
    made = protect_rates(n, d, CellPolicy(), decimals=3)
    half = 0.5 * 10.0 ** -int(made.decimals[0])
    for denominator in range(950, 1050):
        assert made.values[0] - half <= 3700 / denominator <= made.values[0] + half
    assert made.decimals[0] < 3


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DisclosureError, match="Z-DIS-045"):
        protect_rates(
            Part(np.array([1.0]), np.array([True])),
            Part(np.array([1.0, 2.0]), np.array([True, True])),
            CellPolicy(),
        )
    with pytest.raises(DisclosureError, match="Z-DIS-045"):
        rates([-1], [10])


# Modelled output -------------------------------------------------------------------------------

TERMS: dict[str, list[Any]] = {
    "feature": ["door", "roof", "lone", "all", "tight"],
    "lift": [1.23456, 0.98765, 3.0, 2.0, 1.5],
    "expected": [123.456, 20.25, 0.5, 10.0, 30.0],
    "n": [500, 60, 9, 40, 40],
    "events": [150, 20, 4, 40, 20],
    "k": [3, 3, 3, 3, 35],
}


def test_terms_on_few_units_or_saturated_ones_are_hidden_and_the_rest_is_rounded() -> None:
    made = protect_modelled(
        TERMS,
        ModelPolicy(),
        n="n",
        events="events",
        parameters="k",
        estimates=["lift", "expected"],
    )
    assert made.reasons == ("", "", "minimum_n", "all_of_one_cell", "saturated")
    assert made.columns["lift"] == [1.23, 0.988, None, None, None]
    assert made.columns["expected"] == [123.0, 20.2, None, None, None]
    assert made.columns["obs_status"] == ["A", "A", "Q", "Q", "Q"]
    assert not {"n", "events", "k"} & set(made.columns)


def test_estimates_do_not_multiply_to_a_count_that_is_hidden() -> None:
    rows = {
        "lift": [1.51852, 1.51852],
        "expected": [13.5, 13.5],
        "n": [100, 100],
        "shown": ["true", "false"],
    }
    made = protect_modelled(
        rows,
        ModelPolicy(minimum_n=3),
        n="n",
        estimates=["lift", "expected"],
        products=[("lift", "expected", "shown")],
    )
    # 1.52 × 13.5 leaves 20 only: the count itself. With two digits 1.5 × 14 leaves 20 to 22.
    assert made.columns["lift"] == [1.52, 1.5]
    assert made.columns["expected"] == [13.5, 14.0]


def test_modelled_output_without_its_columns_is_refused() -> None:
    with pytest.raises(DisclosureError, match="no column size"):
        protect_modelled(TERMS, ModelPolicy(), n="size", estimates=["lift"])
    with pytest.raises(DisclosureError, match="feature holds something"):
        protect_modelled(TERMS, ModelPolicy(), n="n", estimates=["feature"])
    with pytest.raises(DisclosureError, match="n is not a whole number"):
        protect_modelled({**TERMS, "n": [1.5] * 5}, ModelPolicy(), n="n", estimates=["lift"])
