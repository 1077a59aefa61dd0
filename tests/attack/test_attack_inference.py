"""The attacker finds what can be found: against enumeration, against scipy, on linked tables."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attack_support import (
    Cell,
    Dim,
    World,
    areas,
    columns_of,
    document,
    flat,
    program,
    publish,
    ranges,
    recovered,
    structure_of,
    weak,
    world_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zicht.attacker import (
    HiddenCount,
    Kind,
    Knowledge,
    Participant,
    RateTable,
    Severity,
    attack,
    make_table,
    parse_spec,
)

SHARED = Path(__file__).parents[3] / "shared" / "data" / "sdc"
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, set[Cell]]:
    """Small tables, one or two hierarchies, with a random pattern of hidden cells."""
    n = draw(st.integers(2, 4))
    some = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    crossed = draw(st.booleans())
    dims = [
        areas(n, draw(some), draw(some) if crossed else ()),
        flat("cat", draw(st.integers(1, 2))),
    ]
    size = n * len(dims[1].codes)
    world = world_of(dims, draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    top = ("Total", "Total")
    may = sorted(cell for cell in world.cells() if cell != top and world.value(cell) > 0)
    return world, set(draw(st.lists(st.sampled_from(may), unique=True)) if may else [])


@FEW
@given(worlds(), st.sampled_from([Knowledge.NAIVE, Knowledge.INFORMED]))
def test_whole_number_intervals_are_those_of_enumeration(
    made: tuple[World, set[Cell]], knowledge: Knowledge
) -> None:
    world, hidden = made
    least = 1 if knowledge is Knowledge.INFORMED else 0
    wanted = ranges(world, hidden, lambda _: least)
    report = attack([publish(world, hidden)], knowledge=knowledge, intervals=True, processes=1)
    assert {tuple(one.key.values()): (one.lower, one.upper) for one in report.intervals} == wanted
    assert recovered(report, world.dims) == {c for c, (low, high) in wanted.items() if low == high}
    # Asked for less, it must say the same of exact recovery.
    quick = attack([publish(world, hidden)], knowledge=knowledge, processes=1)
    assert recovered(quick, world.dims) == recovered(report, world.dims)


def medium(seed: int) -> tuple[World, set[Cell]]:
    random = np.random.default_rng(seed)
    n = 9
    dims = [
        areas(n, random.integers(0, 3, n).tolist(), random.integers(0, 3, n).tolist()),
        flat("cat", 3),
        flat("sex", 2),
    ]
    world = world_of(dims, random.poisson(random.gamma(0.7, 12, n * 6)).tolist())
    truth = world.truth()
    hidden = {c for c, v in truth.items() if 0 < v < 10}
    spare = sorted(c for c, v in truth.items() if v >= 10 and c != ("Total", "Total", "Total"))
    hidden |= {spare[i] for i in random.choice(len(spare), (2 * len(spare)) // 3, replace=False)}
    return world, hidden


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("knowledge", [Knowledge.NAIVE, Knowledge.INFORMED])
def test_intervals_agree_with_scipy(seed: int, knowledge: Knowledge) -> None:
    world, hidden = medium(seed)
    report = attack([publish(world, hidden)], knowledge=knowledge, intervals=True)
    found = {tuple(one.key.values()): (one.lower, one.upper) for one in report.intervals}
    assert found.keys() == hidden
    assert report.statistics.largest_component > 25
    for cell in sorted(hidden)[:: len(hidden) // 12]:
        low, high = program(world, hidden, cell, least=int(knowledge is not Knowledge.NAIVE))
        assert found[cell] == (np.ceil(low - 1e-6), np.floor(high + 1e-6))


@pytest.mark.parametrize("seed", [5, 6])
def test_without_totals_there_is_no_upper_end(seed: int) -> None:
    world, hidden = medium(seed)
    hidden |= {c for c in world.cells() if not c[0].startswith("m") or c.count("Total") == 2}
    report = attack([publish(world, hidden)], intervals=True)
    found = {tuple(one.key.values()): (one.lower, one.upper) for one in report.intervals}
    ends = [program(world, hidden, cell, least=1) for cell in sorted(hidden)[::9]]
    assert any(np.isinf(high) for _, high in ends)
    for cell, (low, high) in zip(sorted(hidden)[::9], ends, strict=True):
        upper = None if np.isinf(high) else np.floor(high + 1e-6)
        assert found[cell] == (np.ceil(low - 1e-6), upper)


def test_intervals_that_propagation_cannot_find() -> None:
    # Hidden cells of a 3 x 3 table of which no line has fewer than two: only programs help.
    counts = [1, 1, 0, 0, 1, 1, 1, 0, 1]
    dims = [flat("a", 3), flat("b", 3)]
    world = world_of(dims, counts)
    hidden = {(f"a{i}", f"b{j}") for i, j in product(range(3), range(3)) if counts[3 * i + j]}
    table = publish(world, hidden, policy={"minimum_frequency": 1})
    report = attack([table], knowledge=Knowledge.NAIVE)
    wanted = ranges(world, hidden, lambda _: 0)
    assert {c for c, (low, high) in wanted.items() if low == high} == set()
    assert report.is_safe
    informed = attack([table])
    wanted = ranges(world, hidden, lambda _: 1)
    assert recovered(informed, dims) == {c for c, (low, high) in wanted.items() if low == high}
    assert recovered(informed, dims) == hidden


@FEW
@given(worlds())
def test_weak_protector_is_caught_where_there_is_something_to_catch(
    made: tuple[World, set[Cell]],
) -> None:
    world, _ = made
    hidden = weak(world, 3)
    if ("Total", "Total") in hidden:
        return
    wanted = ranges(world, hidden, lambda _: 1)
    report = attack([publish(world, hidden, policy={"minimum_frequency": 3})], processes=1)
    catch = {c for c, (low, high) in wanted.items() if low == high}
    assert recovered(report, world.dims) == catch
    assert report.is_safe is not bool(catch)


def square() -> tuple[World, set[Cell]]:
    """A pattern in which every secondary suppression is needed."""
    dims = [flat("a", 3), flat("b", 3)]
    world = world_of(dims, [4, 30, 20, 25, 40, 35, 50, 60, 70])
    return world, {("a0", "b0"), ("a0", "b1"), ("a1", "b0"), ("a1", "b1")}


def test_taking_back_a_needed_secondary_is_found() -> None:
    world, hidden = square()
    assert attack([publish(world, hidden)]).is_safe
    for shown in hidden - {("a0", "b0")}:
        report = attack([publish(world, hidden - {shown})])
        assert recovered(report, world.dims) == hidden - {shown}
        assert all(one.evidence for one in report.failures)


def test_evidence_names_the_line() -> None:
    world, _ = square()
    report = attack([publish(world, {("a0", "b0")})])
    (one,) = report.failures
    assert (one.kind, one.lower, one.upper) == (Kind.EXACT, 4, 4)
    assert one.evidence == (
        "a0 Total 54 = 2 shown cells together 50 + a0 b0 [4]",
    ) or one.evidence == ("Total b0 79 = 2 shown cells together 75 + a0 b0 [4]",)


def linked() -> tuple[World, Dim, Dim]:
    dims = [areas(4, [0, 0, 1, 1], [0, 1, 0, 1]), flat("cat", 2)]
    world = world_of(dims, [3, 40, 20, 31, 22, 33, 24, 35])
    mun = dims[0]
    return (
        world,
        Dim("mun", mun.codes, {"prov": mun.levels["prov"]}),
        Dim("mun", mun.codes, {"vr": mun.levels["vr"]}),
    )


def test_linked_tables_give_away_what_neither_does() -> None:
    world, by_prov, by_vr = linked()
    cat = world.dims[1]
    hidden = {(a, b) for a, b in product(("m0", "m1"), ("cat0", "cat1"))}
    first = replace(world, dims=(by_prov, cat))
    second = replace(world, dims=(by_vr, cat))
    across = {(a, b) for a, b in product(("m0", "m2"), ("cat0", "cat1"))}
    same: dict[str, Any] = {"history": {"relation": "equal"}}
    one, other = publish(first, hidden, name="one", **same), publish(second, across, name="other")
    assert attack([one]).is_safe
    assert attack([other]).is_safe
    report = attack([one, other])
    # m1 and m2 stand open in the other table; with these m0 follows.
    assert recovered(report, world.dims, "printed") == {
        ("m1", "cat0"),
        ("m1", "cat1"),
        ("m2", "cat0"),
        ("m2", "cat1"),
    }
    assert recovered(report, world.dims) == {("m0", "cat0"), ("m0", "cat1")}
    assert {one.severity for one in report.findings if one.kind is Kind.PRINTED} == {Severity.FAIL}


def test_a_table_with_fewer_dimensions_shares_its_cells() -> None:
    world, hidden = square()
    hidden |= {("a0", "Total"), ("a1", "Total"), ("Total", "b0"), ("Total", "b1")}
    whole = publish(world, hidden, vintage="v")
    less = publish(world_of([flat("a", 3)], [54, 100, 180]), set(), name="less", vintage="v")
    assert recovered(attack([whole, less]), world.dims, "printed") == {
        ("a0", "Total"),
        ("a1", "Total"),
    }
    assert attack([whole]).is_safe


@st.composite
def vintages(draw: st.DrawFn) -> tuple[World, set[Cell], World, set[Cell]]:
    dims = [flat("a", 3), flat("b", 2)]
    early = draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))
    more = draw(st.lists(st.integers(0, 1), min_size=6, max_size=6))
    first, second = (
        world_of(dims, early),
        world_of(dims, [e + m for e, m in zip(early, more, strict=True)]),
    )
    found = []
    for world in (first, second):
        may = sorted(c for c in world.cells() if c != ("Total", "Total") and world.value(c) > 0)
        found.append(set(draw(st.lists(st.sampled_from(may), unique=True)) if may else []))
    return first, found[0], second, found[1]


@FEW
@given(vintages())
def test_two_vintages_agree_with_enumeration(
    made: tuple[World, set[Cell], World, set[Cell]],
) -> None:
    from attack_support import enumerate_tables

    first, hidden_first, second, hidden_second = made
    early = list(enumerate_tables(first, hidden_first, lambda _: 1))
    late = list(enumerate_tables(second, hidden_second, lambda _: 1))
    pairs = [(e, f) for e in early for f in late if all(e[k] <= f[k] for k in e)]
    wanted = set()
    for which, world, hidden in ((0, first, hidden_first), (1, second, hidden_second)):
        for cell in hidden:
            values = {sum(pair[which][p] for p in world.parts(cell)) for pair in pairs}
            assert world.value(cell) in values
            if len(values) == 1:
                wanted.add((f"v{which}", cell))
    tables = [
        publish(second, hidden_second, name="v1", vintage="v1"),
        publish(first, hidden_first, name="v0", vintage="v0"),
    ]
    report = attack(tables, processes=1)
    found = {
        (one.table, tuple(one.key.values())) for one in report.findings if one.kind is Kind.EXACT
    }
    assert found <= wanted
    # Components of more than a few cells are not searched in whole numbers.
    if report.statistics.largest_component <= 25:
        assert found == wanted


def test_earlier_releases_may_come_in_any_order() -> None:
    dims = [flat("a", 4)]
    worlds_ = [world_of(dims, [5 + k, 20, 30 + k, 40]) for k in range(3)]
    tables = [
        publish(world, {("a0",), ("a1",)} if k else {("a2",), ("a3",)}, name=f"v{k}")
        for k, world in enumerate(worlds_)
    ]
    one = attack([tables[2], tables[0], tables[1]])
    other = attack([tables[2], tables[1], tables[0]])
    assert one.count(Kind.NOT_ADDITIVE) == other.count(Kind.NOT_ADDITIVE) == 0
    assert recovered(one, dims, "difference") == recovered(other, dims, "difference")
    changed = [f for f in one.findings if f.kind is Kind.DIFFERENCE]
    assert {f.severity for f in changed} == {Severity.WARN}
    strict = [replace(t, spec=replace(t.spec, small_changes="hold")) for t in tables[::-1]]
    assert Severity.FAIL in {
        f.severity for f in attack(strict).findings if f.kind is Kind.DIFFERENCE
    }


def test_inferred_change_of_a_hidden_cell() -> None:
    dims = [flat("a", 3)]
    early, late = world_of(dims, [12, 20, 30]), world_of(dims, [15, 20, 30])
    hidden = {("a0",), ("a1",)}
    # Nothing shows that a1 did not change, but together they changed by 3.
    assert attack([publish(late, hidden, name="l"), publish(early, hidden, name="e")]).is_safe
    report = attack(
        [
            publish(late, {("a0",), ("Total",)}, name="l"),
            publish(early, {("a0",), ("Total",)}, name="e"),
        ]
    )
    assert report.is_safe
    report = attack(
        [publish(late, {("a0",), ("a1",)}, name="l"), publish(early, {("a0",), ("a2",)}, name="e")]
    )
    # Late: a0 + a1 = 35, a2 = 30; early: a0 + a2 = 42, a1 = 20, and a0 grew by at most 3.
    assert {f.message.split(" since")[0] for f in report.findings if f.kind is Kind.DIFFERENCE} >= {
        "changed by 3"
    }


def test_releases_without_a_relation_are_only_compared() -> None:
    dims = [flat("a", 3)]
    free: dict[str, Any] = {"history": {"relation": "free"}}
    hidden = {("a0",), ("a1",)}
    early = publish(world_of(dims, [12, 20, 30]), hidden, name="early", **free)
    late = publish(world_of(dims, [14, 20, 26]), {("a1",), ("a2",)}, name="late", **free)
    report = attack([late, early])
    assert report.is_safe
    assert recovered(report, dims, "printed") == {("a0",), ("a2",)}
    assert recovered(report, dims, "difference") == {("Total",)}
    # Under additions a cell may not become less: 26 after 30 can not be.
    tied = [replace(t, spec=replace(t.spec, relation="additions")) for t in (late, early)]
    assert attack(tied).count(Kind.NOT_ADDITIVE)


def redivided(relation: str, codes: Any, counts: Any, hidden: set[Cell], name: str) -> Any:
    dims = [Dim("mun", tuple(codes), {"prov": dict(codes)})]
    return make_table(
        columns_of(world_of(dims, counts), hidden),
        replace(
            parse_spec(document(dims, history={"relation": relation})),
            successors=(("A", "C"), ("B", "C"), ("S", "T")),
        ),
        {"mun": structure_of(dims[0])},
        name=name,
    )


OLD = {"A": "p1", "B": "p1", "D": "p1", "S": "p2", "E": "p2"}
NEW = {"C": "p1", "D": "p1", "S": "p2", "T": "p2", "E": "p2"}


def test_a_merger_gives_away_a_part() -> None:
    new = redivided("equal", NEW, [17, 20, 30, 12, 44], set(), "new")
    old = redivided("equal", OLD, [5, 12, 20, 42, 44], {("A",), ("D",)}, "old")
    assert attack([old]).is_safe
    report = attack([new, old])
    # D did not change and is printed; A is what is left of C.
    assert {(f.kind, f.key["mun"], f.lower) for f in report.failures} == {
        (Kind.EXACT, "A", 5.0),
        (Kind.PRINTED, "D", 20.0),
    }


def test_a_split_gives_away_a_part() -> None:
    new = redivided("additions", NEW, [17, 20, 30, 12, 44], {("S",), ("E",)}, "new")
    old = redivided("additions", OLD, [5, 12, 20, 42, 44], set(), "old")
    # Old S was 42 and T is 12, nothing was added in the province: new S is 30.
    report = attack([new, old])
    assert {(f.table, f.key["mun"], f.lower) for f in report.failures if f.kind is Kind.EXACT} == {
        ("new", "S", 30.0),
        ("new", "E", 44.0),
    }
    # The new S is another area than the old one: it was not printed before.
    assert {f.key["mun"] for f in report.findings if f.kind is Kind.PRINTED} == {"E"}


def test_three_divisions_in_a_row() -> None:
    newest = redivided("additions", {"C": "p1", "D": "p1"}, [17, 20], set(), "2025")
    middle = redivided(
        "additions", {"A": "p1", "B": "p1", "D": "p1"}, [5, 12, 20], {("A",), ("B",)}, "2024"
    )
    oldest = redivided(
        "additions", {"A": "p1", "B": "p1", "D": "p1"}, [5, 11, 20], {("A",), ("D",)}, "2023"
    )
    report = attack([newest, oldest, middle])
    assert report.count(Kind.NOT_ADDITIVE) == 0
    # 2023: A + D = 25 with D at most 20, and A at most 17 - 11 = 6: A is 5 or 6.
    assert not {f.key["mun"] for f in report.findings if f.kind is Kind.EXACT}
    narrow = attack([newest, oldest, middle], intervals=True)
    assert ("2023", "A", 5.0, 6.0) in {
        (i.table, i.key["mun"], i.lower, i.upper) for i in narrow.intervals
    }


@st.composite
def redivisions(draw: st.DrawFn) -> dict[str, Any]:
    """Two releases of one table, with another division in between."""
    # Unchanged, merged, split, or both at once; S goes on under its own name.
    pairs = draw(
        st.sampled_from(
            [
                [("A", "C"), ("B", "C")],
                [("S", "S"), ("S", "T")],
                [("A", "C"), ("B", "C"), ("B", "E")],
                [("A", "C"), ("B", "C"), ("S", "S"), ("S", "T")],
            ]
        )
    )
    atoms = [*pairs, ("U", "U")]
    n = len(atoms)
    early = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    grows = draw(st.booleans())
    more = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)) if grows else [0] * n
    sides = []
    for side, values in ((0, early), (1, [a + b for a, b in zip(early, more, strict=True)])):
        codes = tuple(dict.fromkeys(atom[side] for atom in atoms))
        sums = {
            c: sum(v for a, v in zip(atoms, values, strict=True) if a[side] == c) for c in codes
        }
        may = [c for c in codes if sums[c]]
        hidden = draw(st.sets(st.sampled_from(may))) if may else set()
        sides.append((codes, sums, hidden))
    return {"pairs": pairs, "atoms": atoms, "sides": sides, "grows": grows}


def compositions(total: int, n: int) -> Iterator[tuple[int, ...]]:
    """All ways to write a total as n whole numbers."""
    if n == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, n - 1):
            yield (first, *rest)


@FEW
@given(redivisions())
def test_a_redivision_agrees_with_enumeration(made: dict[str, Any]) -> None:
    relation = "additions" if made["grows"] else "equal"
    possible: list[list[tuple[int, ...]]] = []
    tables = []
    for side, (codes, sums, hidden) in enumerate(made["sides"]):
        fits = []
        for values in compositions(sum(sums.values()), len(made["atoms"])):
            own = dict.fromkeys(codes, 0)
            for atom, value in zip(made["atoms"], values, strict=True):
                own[atom[side]] += value
            shown = all(own[c] == sums[c] for c in codes if c not in hidden)
            if shown and all(own[c] >= 1 for c in hidden):
                fits.append(values)
        possible.append(fits)
        dims = [Dim("mun", codes, {"all": dict.fromkeys(codes, "p")})]
        tables.append(
            make_table(
                columns_of(world_of(dims, [sums[c] for c in codes]), {(c,) for c in hidden}),
                replace(
                    parse_spec(document(dims, history={"relation": relation})),
                    successors=tuple(made["pairs"]),
                ),
                {"mun": structure_of(dims[0])},
                name=f"v{side}",
            )
        )
    if made["grows"]:
        both = [
            (e, f) for e, f in product(*possible) if all(a <= b for a, b in zip(e, f, strict=True))
        ]
    else:
        both = [(e, e) for e in set(possible[0]) & set(possible[1])]
    wanted = set()
    for side, (_, _, hidden) in enumerate(made["sides"]):
        for code in hidden:
            at = [i for i, atom in enumerate(made["atoms"]) if atom[side] == code]
            if len({sum(pair[side][i] for i in at) for pair in both}) == 1:
                wanted.add((f"v{side}", code))
    if not made["grows"]:
        # The same facts: a cell that both hide is one cell, and named once.
        twice = {code for name, code in wanted if name == "v1"}
        wanted -= {("v0", code) for code in twice if code == "U"}
    report = attack(tables[::-1], processes=1)
    # A cell that is printed in the other table is no computation.
    found = {
        (f.table, f.key["mun"])
        for f in report.findings
        if f.kind is Kind.EXACT or (f.kind is Kind.PRINTED and f.severity is Severity.FAIL)
    }
    assert found == wanted


def test_flags_tell_more() -> None:
    world, hidden = square()
    table = publish(world, hidden, policy={"protection": "interval"})
    primary = [{"a": "a0", "b": "b0"}]
    assert attack([table], primary=primary).is_safe
    flagged = attack([table], primary=primary, knowledge=Knowledge.FLAGS)
    assert flagged.is_safe
    # With a narrow partner the primary cell cannot reach the threshold.
    tight = world_of(world.dims, [4, 3, 20, 25, 40, 35, 50, 60, 70])
    report = attack([publish(tight, hidden, policy={"protection": "interval"})], primary=primary)
    assert {one.kind for one in report.failures} == {Kind.BELOW_THRESHOLD, Kind.NARROW}
    other = [*primary, {"a": "a0", "b": "b1"}]
    four = world_of(world.dims, [4, 11, 20, 25, 40, 35, 50, 60, 70])
    table = publish(four, hidden)
    assert attack([table]).is_safe
    # a0 b1 is not primary, so at least 10; b0 then at most 5.
    assert attack([table], primary=primary, knowledge=Knowledge.FLAGS).is_safe
    ten = publish(world_of(world.dims, [1, 10, 20, 25, 40, 35, 50, 60, 70]), hidden)
    assert attack([ten]).is_safe
    leak = attack([ten], primary=primary, knowledge=Knowledge.FLAGS)
    assert recovered(leak, world.dims) == hidden
    assert attack([ten], primary=other, knowledge=Knowledge.FLAGS).count(Kind.EXACT) == 0


def test_a_participant_knows_himself() -> None:
    world = world_of([flat("a", 3)], [1, 1, 40])
    hidden = {("a0",), ("a1",)}
    table = publish(world, hidden, policy={"publish_zeros": False})
    assert attack([table], knowledge=Knowledge.NAIVE).is_safe
    him = Participant({"a": "a0"})
    assert attack([table], knowledge=Knowledge.PARTICIPANT, participant=him).is_safe
    two = Participant({"a": "a0"}, 2)
    report = attack([table], knowledge=Knowledge.PARTICIPANT, participant=two)
    assert {f.key["a"]: f.lower for f in report.failures} == {"a0": 2.0, "a1": 0.0}


def test_hidden_counts_narrow() -> None:
    world = world_of([flat("a", 4)], [9, 9, 30, 50])
    hidden = {("a0",), ("a1",)}
    table = publish(world, hidden)
    assert attack([table]).is_safe
    both = attack([table], hidden_counts=[HiddenCount({}, n_primary=2)])
    assert {f.key["a"]: f.lower for f in both.failures} == {"a0": 9.0, "a1": 9.0}
    three = publish(world, hidden | {("a2",)})
    part = attack([three], hidden_counts=[HiddenCount({}, n_primary=2)], intervals=True)
    assert part.is_safe
    told = attack([three], hidden_counts=[HiddenCount({}, total=48)])
    assert told.is_safe
    # One of three is large: at least 1 + 1 + 10 together, which 12 makes exact.
    small = world_of([flat("a", 4)], [1, 1, 10, 50])
    least = attack(
        [publish(small, {("a0",), ("a1",), ("a2",), ("Total",)})],
        hidden_counts=[HiddenCount({"a": "Total"}, n_primary=0)],
    )
    assert least.is_safe


def test_rates_give_back_a_numerator() -> None:
    world, hidden = square()
    table = publish(world, hidden)
    rates = RateTable(
        "rates.csv",
        [{"a": "a0", "b": "b0"}],
        np.array([9.8]),
        np.array([41.0]),
        np.array([True]),
        decimals=1,
    )
    report = attack([table], rates=[rates])
    assert recovered(report, world.dims) == hidden
    assert [(f.table, f.lower) for f in report.findings if f.kind is Kind.RATE] == [
        ("rates.csv", 4)
    ]
    coarse = replace(rates, rate=np.array([10.0]), denominator=np.array([41000.0]), decimals=0)
    assert attack([table], rates=[coarse], knowledge=Knowledge.NAIVE).count(Kind.RATE) == 0


def test_rounded_tables() -> None:
    dims = [flat("a", 3)]
    rounding: dict[str, Any] = {"policy": {"method": "round", "rounding": {"base": 5}}}
    # 7 + 7 + 7 = 21, published as 5 + 5 + 5 = 20: each at most 7, together at least 18.
    published = world_of(dims, [5, 5, 5])
    columns = columns_of(published, set())
    columns["value"][columns["a"].index("Total")] = "20"
    table = make_table(columns, parse_spec(document(dims, **rounding)), name="r")
    report = attack([table], intervals=True)
    assert {f.kind for f in report.findings} == {Kind.ROUNDING}
    assert {f.key["a"]: (f.lower, f.upper) for f in report.findings} == {
        "a0": (4, 7),
        "a1": (4, 7),
        "a2": (4, 7),
        "Total": (18, 21),
    }
    assert report.is_safe
    columns["value"][columns["a"].index("Total")] = "25"
    # 23 = 7 + 7 + 7 is more than 21: not even rounding explains this.
    assert not attack([make_table(columns, table.spec, name="r")]).is_safe
    # Additive rounding says nothing beyond its base.
    assert not attack([publish(published, set(), **rounding)]).findings


def test_values_that_contradict_each_other() -> None:
    world, hidden = square()
    columns = columns_of(world, hidden)
    at = list(zip(columns["a"], columns["b"], strict=True)).index(("a2", "Total"))
    columns["value"][at] = "9999"
    table = make_table(columns, parse_spec(document(world.dims)), name="wrong")
    report = attack([table])
    lines = [f.evidence[0] for f in report.findings if f.kind is Kind.NOT_ADDITIVE]
    assert any(line.startswith("a2 Total 9999 = 3 shown cells") for line in lines)
    assert report.count(Kind.EXACT) == 0
    # What the other lines give away is still found.
    other = make_table({**columns, "value": [*columns["value"]]}, table.spec, name="wrong")
    cell = list(zip(columns["a"], columns["b"], strict=True)).index(("a0", "b1"))
    columns["value"][cell], columns["obs_status"][cell] = "30", "A"
    del other
    report = attack([make_table(columns, table.spec, name="wrong")])
    assert ("a0", "b0") in recovered(report, world.dims)


def test_hidden_cells_that_no_values_fit() -> None:
    dims = [flat("a", 2), flat("b", 2)]
    world = world_of(dims, [1, 1, 1, 1])
    hidden = {("a0", "b0"), ("a0", "b1"), ("a1", "b0"), ("a1", "b1")}
    columns = columns_of(world, hidden)
    cells = list(zip(columns["a"], columns["b"], strict=True))
    columns["value"][cells.index(("a0", "Total"))] = "1"
    columns["value"][cells.index(("a1", "Total"))] = "3"
    report = attack([make_table(columns, parse_spec(document(dims)), name="odd")])
    assert report.count(Kind.NOT_ADDITIVE)


def test_amounts_are_not_whole() -> None:
    dims = [flat("a", 3)]
    columns = {
        "a": ["a0", "a1", "a2", "Total"],
        "value": [None, None, "3.5", "10.25"],
        "obs_status": ["Q", "Q", "A", "A"],
    }
    spec = parse_spec(document(dims, magnitude={"total": "t"}, policy={"p_percent": 10}))
    assert attack([make_table(columns, spec)]).is_safe
    columns["value"][1], columns["obs_status"][1] = "1.25", "A"
    (one,) = attack([make_table(columns, spec)]).failures
    assert (one.kind, one.lower) == (Kind.EXACT, 5.5)


def test_totals_that_do_not_add_up_are_only_larger() -> None:
    dims = [flat("a", 3)]
    world = world_of(dims, [4, 10, 9])
    body = document(dims)
    body["dimensions"]["a"]["additive"] = False
    columns = columns_of(world, {("a0",)})
    columns["value"][columns["a"].index("Total")] = "11"
    table = make_table(columns, parse_spec(body))
    report = attack([table], intervals=True)
    assert not [f for f in report.findings if f.kind is Kind.EXACT]
    assert [(i.lower, i.upper) for i in report.intervals] == [(1.0, 11.0)]


def test_small_values_that_are_shown() -> None:
    world, _ = square()
    assert [f.key for f in attack([publish(world, set())]).failures] == [{"a": "a0", "b": "b0"}]
    meant = publish(world, set(), never_hide=[{"a": "a0"}])
    assert attack([meant]).is_safe
    assert attack([meant]).count(Kind.SHOWN_SMALL) == 1


def test_time_that_runs_out_is_not_safety() -> None:
    world, hidden = medium(1)
    ticks = iter(range(10_000))
    report = attack(
        [publish(world, hidden)], seconds=0.5, processes=1, clock=lambda: float(next(ticks))
    )
    assert report.count(Kind.UNDECIDED) == 1
    assert not report.is_safe


def sdc(name: str) -> World:
    path = SHARED / f"{name}_inner.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not there: ../shared/data/sdc")
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    prov = {row["mun"]: row["prov"] for row in rows}
    dims = [Dim("mun", tuple(prov), {"prov": prov})]
    for name in ("cat", "sex"):
        codes = tuple(dict.fromkeys(row[name] for row in rows))
        dims += [Dim(name, codes, {})] if len(codes) > 1 else []
    leaves = {tuple(r[d.name] for d in dims): int(r["freq"]) for r in rows}
    return World(tuple(dims), leaves)


def test_the_small_real_table_agrees_with_scipy() -> None:
    world = sdc("S")
    hidden = weak(world)
    report = attack([publish(world, hidden)])
    found = recovered(report, world.dims)
    assert len(hidden) == 109
    for cell in sorted(hidden)[::9]:
        low, high = program(world, hidden, cell, least=1)
        assert (cell in found) == (np.ceil(low - 1e-6) >= np.floor(high + 1e-6))
    assert found


def test_halves_of_a_large_block_say_the_same() -> None:
    world = sdc("A")
    hidden = weak(world) | {c for c in world.cells() if c[0] != "Total" and c[1] == "Total"}
    hidden |= {c for c in world.cells() if c[2] == "Total" and c[0].startswith("PV")}
    hidden = {c for c in hidden if world.value(c) > 0}
    one = attack([publish(world, hidden)], processes=1, intervals=True)
    two = attack([publish(world, hidden)], processes=2, intervals=True)
    assert one.to_json()["intervals"] == two.to_json()["intervals"]
    assert one.statistics.largest_component > 500
