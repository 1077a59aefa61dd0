"""The secondary suppression engine against enumeration and against scipy's linear programs."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from zicht.disclosure.secondary import Demand, System, intervals, recoverable, suppress
from zicht.errors import DisclosureError

SDC = Path(__file__).resolve().parents[3] / "shared" / "data" / "sdc"
TOTAL = "Total"


def table(inner: np.ndarray, attacker: str, protection: str, minimum: int = 10):
    """A table of any number of dimensions, each with a total, as system and demand."""
    whole = inner.astype(float)
    leaves = (inner > 0).astype(float)
    for axis in range(inner.ndim):
        whole = np.concatenate([whole, whole.sum(axis, keepdims=True)], axis)
        leaves = np.concatenate([leaves, leaves.sum(axis, keepdims=True)], axis)
    ids = np.arange(whole.size).reshape(whole.shape)
    rows = []
    for axis in range(inner.ndim):
        lines = np.moveaxis(ids, axis, -1).reshape(-1, ids.shape[axis])
        for line in lines:
            row = np.zeros(whole.size)
            row[line[:-1]] = 1
            row[line[-1]] = -1
            rows.append(row)
    return pose(csr_array(np.array(rows)), whole.ravel(), leaves.ravel(), attacker, protection)


def pose(matrix, values, leaves, attacker: str, protection: str, minimum: int = 10):
    """System and demand of a count table whose zeros are published."""
    lower = leaves if attacker == "informed" else np.zeros(len(values))
    primary = (values > 0) & (values < minimum)
    none = np.full(len(values), np.nan)
    sided = protection == "interval"
    system = System(matrix, values, lower, np.full(len(values), np.inf))
    demand = Demand(
        hidden=primary,
        shown=values == 0,
        weight=np.where(primary, 0.0, values),
        guarded=values > 0,
        low=np.where(primary, np.maximum(lower, 1), np.nan) if sided else none,
        high=np.where(primary, float(minimum), np.nan) if sided else none,
    )
    return system, demand


def reach(system: System, hidden: np.ndarray, cell: int) -> tuple[float, float]:
    """Interval of a cell by scipy, nothing of ours."""
    ends = []
    bounds = [
        (low, None if np.isinf(high) else high) if h else (v, v)
        for v, low, high, h in zip(system.values, system.lower, system.upper, hidden, strict=True)
    ]
    for sign in (1, -1):
        cost = np.zeros(system.size)
        cost[cell] = sign
        found = linprog(
            cost, A_eq=system.matrix.toarray(), b_eq=np.zeros(system.matrix.shape[0]), bounds=bounds
        )
        ends.append(np.inf * -sign if found.status == 3 else sign * found.fun)
    return ends[0], ends[1]


def safe(system: System, demand: Demand, hidden: np.ndarray) -> bool:
    """Whether every demand is met, by scipy."""
    for cell in np.flatnonzero(hidden):
        low, high = reach(system, hidden, cell)
        if demand.guarded[cell] and np.ceil(low - 1e-6) == np.floor(high + 1e-6):
            return False
        if demand.hidden[cell] and (
            low > demand.low[cell] + 1e-5 or high < demand.high[cell] - 1e-5
        ):
            return False
    return True


def cheapest(system: System, demand: Demand, below: float) -> float:
    """Loss of the cheapest safe pattern, by trying all that lose less than ``below``."""
    options = np.flatnonzero(~demand.hidden & ~demand.shown)
    tries = sorted(
        (float(demand.weight[list(extra)].sum()), extra)
        for size in range(len(options) + 1)
        for extra in combinations(options, size)
        if demand.weight[list(extra)].sum() < below - 1e-9
    )
    for loss, extra in tries:
        hidden = demand.hidden.copy()
        hidden[list(extra)] = True
        if safe(system, demand, hidden):
            return loss
    return below


@pytest.mark.parametrize(
    ("attacker", "protection", "seed"),
    [
        *product(["naive", "informed"], ["exact"], range(4)),
        *product(["naive"], ["interval"], range(3)),
    ],
)
def test_the_pattern_is_safe_and_none_is_cheaper(attacker: str, protection: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inner = rng.choice([0, 1, 2, 5, 12, 14, 20, 31], (3, 3))
    system, demand = table(inner, attacker, protection)
    answer = suppress(system, demand, seconds=20, processes=1)
    if answer.unmet or len(answer.infeasible):
        everything = ~demand.shown
        for cell in [unmet.cell for unmet in answer.unmet] + list(answer.infeasible):
            low, high = reach(system, everything, cell)
            short = low > demand.low[cell] + 1e-6 or high < demand.high[cell] - 1e-6
            assert short or np.ceil(low - 1e-6) == np.floor(high + 1e-6)
        return
    assert answer.complete
    assert safe(system, demand, answer.hidden)
    assert cheapest(system, demand, answer.loss) == pytest.approx(answer.loss)
    assert answer.lower_bound <= answer.loss + 1e-6


@pytest.fixture(scope="module")
def medium() -> tuple[System, Demand]:
    rng = np.random.default_rng(11)
    inner = rng.poisson(rng.gamma(0.6, 30, (14, 5, 2)))
    return table(inner, "informed", "interval")


def test_every_demand_that_can_be_had_is_met_and_the_rest_is_listed(
    medium: tuple[System, Demand],
) -> None:
    system, demand = medium
    answer = suppress(system, demand, seconds=30)
    cells = np.flatnonzero(demand.hidden)
    low, high = intervals(system, answer.hidden, cells)
    best_low, best_high = intervals(system, ~demand.shown, cells)
    assert np.all(low <= np.maximum(demand.low[cells], best_low) + 1e-4)
    assert np.all(high >= np.minimum(demand.high[cells], best_high) - 1e-4)
    short = {
        (int(cell), side)
        for side, ends, wanted in (
            ("low", -best_low, -demand.low),
            ("high", best_high, demand.high),
        )
        for cell, end in zip(cells, ends, strict=True)
        if end < wanted[cell] - 1e-4
    }
    assert {(unmet.cell, unmet.side) for unmet in answer.unmet} == short
    assert not len(recoverable(system, answer.hidden, np.flatnonzero(answer.hidden)))


def test_intervals_agree_with_scipy(medium: tuple[System, Demand]) -> None:
    system, demand = medium
    hidden = demand.hidden
    cells = np.flatnonzero(hidden)[::5]
    low, high = intervals(system, hidden, cells)
    for k, cell in enumerate(cells):
        assert (low[k], high[k]) == pytest.approx(reach(system, hidden, cell), abs=1e-5)


def test_recoverable_finds_exactly_the_cells_without_room(medium: tuple[System, Demand]) -> None:
    system, demand = medium
    cells = np.flatnonzero(demand.hidden)
    low, high = intervals(system, demand.hidden, cells)
    closed = cells[np.ceil(low - 1e-6) == np.floor(high + 1e-6)]
    assert len(closed)
    assert recoverable(system, demand.hidden, cells).tolist() == closed.tolist()


def test_taking_back_a_needed_secondary_is_found() -> None:
    system, demand = table(np.array([[3, 20, 40], [30, 50, 60], [70, 80, 90]]), "naive", "exact")
    answer = suppress(system, demand, seconds=10)
    assert answer.secondary.sum() == 3
    for cell in np.flatnonzero(answer.secondary):
        weaker = answer.hidden.copy()
        weaker[cell] = False
        assert len(recoverable(system, weaker, np.flatnonzero(weaker)))


def test_the_same_question_gets_the_same_pattern_with_one_process_or_two(
    medium: tuple[System, Demand],
) -> None:
    one = suppress(*medium, seconds=60, processes=1)
    two = suppress(*medium, seconds=60, processes=2)
    assert np.array_equal(one.hidden, two.hidden)


def test_without_time_the_pattern_is_safe_all_the_same(medium: tuple[System, Demand]) -> None:
    system, demand = medium
    hurried = suppress(system, demand, seconds=0)
    patient = suppress(system, demand, seconds=30)
    cells = np.flatnonzero(demand.hidden)
    for ends, others, sign in zip(
        intervals(system, hurried.hidden, cells),
        intervals(system, ~demand.shown, cells),
        (1, -1),
        strict=True,
    ):
        wanted = (demand.low if sign == 1 else demand.high)[cells]
        assert np.all(sign * ends <= np.maximum(sign * wanted, sign * others) + 1e-4)
    assert hurried.lower_bound <= patient.loss <= hurried.loss


def test_half_a_move_up_and_half_a_move_down_are_no_move() -> None:
    # three dimensions: cells can be held to halves, and no row over both directions sees it
    rng = np.random.default_rng(3075)
    shape = tuple(rng.integers(2, 6, rng.integers(1, 4)))
    inner = rng.poisson(rng.gamma(0.5, rng.choice([5, 20, 60]), shape))
    rng.choice(2), rng.choice(2)
    system, demand = table(inner, "naive", "exact")
    never = (rng.random(system.size) < rng.choice([0, 0.05, 0.3])) & ~demand.hidden
    demand = replace(demand, shown=demand.shown | never)
    answer = suppress(system, demand, seconds=20)
    assert (answer.loss, answer.complete) == (603, True)
    assert not len(recoverable(system, answer.hidden, np.flatnonzero(answer.hidden)))


def test_a_start_that_is_optimal_is_kept() -> None:
    system, demand = table(np.array([[3, 20, 40], [30, 50, 60], [70, 80, 90]]), "naive", "exact")
    first = suppress(system, demand, seconds=10)
    again = suppress(system, demand, seconds=10, start=first.hidden)
    assert np.array_equal(first.hidden, again.hidden)


def test_a_cell_that_nothing_can_guard_is_infeasible() -> None:
    system, demand = table(np.array([[3, 20], [30, 50]]), "naive", "exact")
    stuck = Demand(
        demand.hidden, ~demand.hidden, demand.weight, demand.guarded, demand.low, demand.high
    )
    answer = suppress(system, stuck, seconds=10)
    assert answer.infeasible.tolist() == [0]
    assert not answer.secondary.any()


def test_a_demand_out_of_reach_is_listed_with_what_is_reached() -> None:
    # total 7 of 3 + 4, published elsewhere and never to be hidden
    matrix = csr_array(np.array([[1.0, 1.0, -1.0]]))
    none = np.full(3, np.nan)
    high = np.array([10.0, 10.0, np.nan])
    system = System(matrix, np.array([3.0, 4.0, 7.0]), np.zeros(3), np.full(3, np.inf))
    hidden = np.array([True, True, False])
    answer = suppress(system, Demand(hidden, ~hidden, np.zeros(3), hidden, none, high), seconds=5)
    assert [(u.cell, u.side, u.wanted) for u in answer.unmet] == [(0, "high", 10), (1, "high", 10)]
    assert [u.reached for u in answer.unmet] == pytest.approx([7, 7])


def test_an_earlier_release_that_is_a_floor_binds_through_a_latent_cell() -> None:
    # columns: old cell, old total, old rest; the same later; latent: later - old >= 0 of the cell.
    # The old cell was hidden and stays so; old rest and total are out. Later 6 shown: old is <= 6.
    matrix = csr_array(
        np.array(
            [
                [1.0, -1, 1, 0, 0, 0, 0],
                [0, 0, 0, 1, -1, 1, 0],
                [-1, 0, 0, 1, 0, 0, -1],
            ]
        )
    )
    values = np.array([5.0, 60, 55, 12, 70, 58, 7])
    hidden = np.array([True, True, True, False, False, False, True])
    demand = Demand(
        hidden=hidden,
        shown=np.zeros(7, dtype=bool),
        weight=np.where(hidden, 0.0, values),
        guarded=np.array([True, False, False, True, True, True, False]),
        low=np.full(7, np.nan),
        high=np.array([20.0, *[np.nan] * 6]),
    )
    system = System(matrix, values, np.zeros(7), np.full(7, np.inf))
    answer = suppress(system, demand, seconds=10)
    assert answer.hidden.tolist() == [True, True, True, True, False, True, True]
    assert answer.loss == 70
    assert not answer.unmet


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"values": np.array([1.0, 1.0, 3.0])}, "Z-DIS-061"),
        ({"lower": np.array([2.0, 0.0, 0.0])}, "Z-DIS-062"),
        ({"lower": np.zeros(2)}, "Z-DIS-060"),
        ({"shown": np.array([True, False, False])}, "Z-DIS-063"),
        ({"weight": np.array([0.0, -1.0, 0.0])}, "Z-DIS-064"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, np.ndarray], code: str) -> None:
    parts = {
        "values": np.array([1.0, 2.0, 3.0]),
        "lower": np.zeros(3),
        "shown": np.zeros(3, dtype=bool),
        "weight": np.zeros(3),
        **change,
    }
    none = np.full(3, np.nan)
    system = System(
        csr_array(np.array([[1.0, 1.0, -1.0]])), parts["values"], parts["lower"], np.full(3, np.inf)
    )
    hidden = np.array([True, False, False])
    demand = Demand(hidden, parts["shown"], parts["weight"], hidden, none, none)
    with pytest.raises(DisclosureError) as caught:
        suppress(system, demand, seconds=1)
    assert caught.value.code == code


def read_small_table(attacker: str, protection: str):
    """Table S: municipality < province < total by category with a total, one sex."""
    if not SDC.exists():
        pytest.skip("../shared/data/sdc is not there: the proven optima cannot be checked")
    counts: dict[tuple[str, str], float] = defaultdict(float)
    leaves: dict[tuple[str, str], float] = defaultdict(float)
    province: dict[str, str] = {}
    with (SDC / "S_inner.csv").open() as file:
        for row in csv.DictReader(file):
            province[row["mun"]] = row["prov"]
            for area, cat in product((row["mun"], row["prov"], TOTAL), (row["cat"], TOTAL)):
                counts[area, cat] += int(row["freq"])
                leaves[area, cat] += int(row["freq"]) > 0
    at = {key: k for k, key in enumerate(counts)}
    cats = sorted({cat for _, cat in counts})
    areas = sorted({area for area, _ in counts})
    children = defaultdict(list)
    for mun, prov in province.items():
        children[prov].append(mun)
    children[TOTAL] = sorted(set(province.values()))
    lines = [((area, TOTAL), [(area, c) for c in cats if c != TOTAL]) for area in areas]
    lines += [((a, c), [(k, c) for k in kids]) for a, kids in children.items() for c in cats]
    dense = np.zeros((len(lines), len(at)))
    for k, (total, parts) in enumerate(lines):
        dense[k, at[total]] = -1
        dense[k, [at[part] for part in parts]] = 1
    return pose(
        csr_array(dense),
        np.array(list(counts.values())),
        np.array(list(leaves.values())),
        attacker,
        protection,
    )


@pytest.mark.parametrize(
    ("attacker", "protection", "optimum"),
    [("naive", "exact", 376), ("informed", "exact", 387), ("naive", "interval", 590)],
)
def test_the_proven_optima_of_table_s(attacker: str, protection: str, optimum: int) -> None:
    answer = suppress(*read_small_table(attacker, protection), seconds=30)
    assert (answer.loss, answer.complete) == (optimum, True)
    assert answer.lower_bound == pytest.approx(optimum, rel=1e-4)
