"""Small worlds for the tests of the attacker: true tables, patterns, and enumeration by hand.

Nothing here uses the attacker's own system: totals are added up and tables are enumerated in the
plainest way there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import linprog

from zicht.attacker import PublishedTable, Structure, make_table, parse_spec

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Dim:
    """One dimension: per level above the innermost the parent of each innermost code."""

    name: str
    codes: tuple[str, ...]
    levels: Mapping[str, Mapping[str, str]]

    def all_codes(self) -> list[str]:
        """Codes of all levels and the total."""
        above = [sorted(set(parents.values())) for parents in self.levels.values()]
        return [*self.codes, *(code for level in above for code in level), "Total"]

    def below(self, code: str) -> set[str]:
        """Innermost codes in a code."""
        if code == "Total":
            return set(self.codes)
        if code in self.codes:
            return {code}
        return {
            low for parents in self.levels.values() for low, up in parents.items() if up == code
        }


def flat(name: str, n: int) -> Dim:
    """A dimension without hierarchy."""
    return Dim(name, tuple(f"{name}{i}" for i in range(n)), {})


def areas(n: int, prov: Sequence[int], vr: Sequence[int] = ()) -> Dim:
    """A dimension mun with provinces, and safety regions that cross them."""
    codes = tuple(f"m{i}" for i in range(n))
    levels = {"prov": {c: f"p{prov[i]}" for i, c in enumerate(codes)}}
    if vr:
        levels["vr"] = {c: f"v{vr[i]}" for i, c in enumerate(codes)}
    return Dim("mun", codes, levels)


@dataclass(frozen=True)
class World:
    """A true table: innermost counts over dimensions."""

    dims: tuple[Dim, ...]
    leaves: Mapping[Cell, int]

    def cells(self) -> list[Cell]:
        """All cells, totals included."""
        return list(product(*(dim.all_codes() for dim in self.dims)))

    def parts(self, cell: Cell) -> list[Cell]:
        """The innermost cells of a cell."""
        return list(product(*(sorted(d.below(c)) for d, c in zip(self.dims, cell, strict=True))))

    def value(self, cell: Cell) -> int:
        """The true value of a cell."""
        return sum(self.leaves[part] for part in self.parts(cell))

    def truth(self) -> dict[Cell, int]:
        """All cells with their true values."""
        return {cell: self.value(cell) for cell in self.cells()}


def world_of(dims: Sequence[Dim], counts: Sequence[int]) -> World:
    """A world with these innermost counts."""
    keys = list(product(*(dim.codes for dim in dims)))
    return World(tuple(dims), dict(zip(keys, counts, strict=True)))


def structure_of(dim: Dim) -> Structure:
    """What is public about a dimension."""
    levels = {dim.name: dim.codes}
    parents = {}
    for level, own in dim.levels.items():
        levels[level] = tuple(sorted(set(own.values())))
        parents[(dim.name, level)] = dict(own)
    return Structure(levels, parents)


def document(dims: Sequence[Dim], **more: Any) -> dict[str, Any]:
    """spec.yaml of a world; ``policy`` and ``history`` may be given."""
    return {
        "dimensions": {
            dim.name: {
                **({"hierarchies": [[dim.name, up] for up in dim.levels]} if dim.levels else {}),
                "total": "Total",
            }
            for dim in dims
        },
        "count": "freq",
        **more,
    }


def columns_of(world: World, hidden: set[Cell]) -> dict[str, list[Any]]:
    """The rows of protected.csv."""
    truth = world.truth()
    cells = sorted(truth)
    columns: dict[str, list[Any]] = {
        dim.name: [cell[i] for cell in cells] for i, dim in enumerate(world.dims)
    }
    columns["value"] = [None if cell in hidden else str(truth[cell]) for cell in cells]
    columns["obs_status"] = ["Q" if cell in hidden else "A" for cell in cells]
    columns["conf_status"] = ["C" if cell in hidden else "F" for cell in cells]
    return columns


def publish(
    world: World, hidden: set[Cell], *, name: str = "t", vintage: str = "", **more: Any
) -> PublishedTable:
    """The published table of a world with some cells hidden."""
    return make_table(
        columns_of(world, hidden),
        parse_spec(document(world.dims, **more)),
        {dim.name: structure_of(dim) for dim in world.dims},
        name=name,
        vintage=vintage,
    )


def enumerate_tables(
    world: World, hidden: set[Cell], at_least: Callable[[Cell], int]
) -> Iterator[dict[Cell, int]]:
    """All innermost tables that agree with what is shown; the grand total must be shown."""
    leaves = list(world.leaves)
    shown = {c: v for c, v in world.truth().items() if c not in hidden}
    sums = [(set(world.parts(c)), v) for c, v in shown.items()]
    floors = [(set(world.parts(c)), at_least(c)) for c in hidden]
    of_leaf = [[i for i, (parts, _) in enumerate(sums) if leaf in parts] for leaf in leaves]
    left = [v for _, v in sums]
    last = [max(leaves.index(p) for p in parts) for parts, _ in sums]

    def fill(k: int, found: dict[Cell, int]) -> Iterator[dict[Cell, int]]:
        if k == len(leaves):
            if all(sum(found[p] for p in parts) >= floor for parts, floor in floors):
                yield dict(found)
            return
        most = min(left[i] for i in of_leaf[k])
        closing = [left[i] for i in of_leaf[k] if last[i] == k]
        options = range(most + 1) if not closing else sorted(set(closing))
        if len(closing) > 1 and len(set(closing)) > 1:
            return
        for value in options:
            if value > most:
                continue
            for i in of_leaf[k]:
                left[i] -= value
            found[leaves[k]] = value
            yield from fill(k + 1, found)
            for i in of_leaf[k]:
                left[i] += value

    yield from fill(0, {})


def ranges(
    world: World, hidden: set[Cell], at_least: Callable[[Cell], int]
) -> dict[Cell, tuple[int, int]]:
    """Per hidden cell its least and greatest value over all tables that agree."""
    low: dict[Cell, int] = {}
    high: dict[Cell, int] = {}
    parts = {cell: world.parts(cell) for cell in hidden}
    for table in enumerate_tables(world, hidden, at_least):
        for cell, own in parts.items():
            value = sum(table[part] for part in own)
            low[cell] = min(low.get(cell, value), value)
            high[cell] = max(high.get(cell, value), value)
    return {cell: (low[cell], high[cell]) for cell in hidden}


def program(world: World, hidden: set[Cell], cell: Cell, *, least: int) -> tuple[float, float]:
    """The interval of a hidden cell by scipy, over the innermost cells."""
    leaves = list(world.leaves)
    position = {leaf: i for i, leaf in enumerate(leaves)}

    def row(one: Cell) -> np.ndarray[Any, Any]:
        vector = np.zeros(len(leaves))
        vector[[position[part] for part in world.parts(one)]] = 1
        return vector

    shown = [c for c in world.cells() if c not in hidden]
    equal = np.array([row(c) for c in shown])
    right = np.array([world.value(c) for c in shown])
    floor = -np.array([row(c) for c in sorted(hidden)])
    bound = np.full(len(hidden), -float(least))
    ends = []
    for sign in (1, -1):
        answer = linprog(
            sign * row(cell), A_ub=floor, b_ub=bound, A_eq=equal, b_eq=right, bounds=(0, None)
        )
        assert answer.status in (0, 3)
        ends.append(np.inf if answer.status == 3 else sign * answer.fun)
    return ends[0], ends[1]


def weak(world: World, threshold: int = 10) -> set[Cell]:
    """A protector that is deliberately weak: it hides small values and nothing else."""
    return {cell for cell, value in world.truth().items() if 0 < value < threshold}


def recovered(report: Any, dims: Sequence[Dim], kind: str = "exact") -> set[Cell]:
    """The cells of the findings of one kind."""
    return {
        tuple(one.key[dim.name] for dim in dims)
        for one in report.findings
        if one.kind.value == kind
    }
