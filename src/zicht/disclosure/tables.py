"""Tables: codes of all levels per dimension, the lines that add up, and the cells with totals.

A table is a grid: one axis per dimension, holding the codes of all its levels and its total in
order of text, so that cells in memory order are rows in published order. Every value above the
innermost level is computed here, never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zicht.disclosure.reading import Columns
from zicht.disclosure.spec import Dimension, Magnitude, Spec, wrong

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_CELLS = 2_000_000
"""More cells than this are refused: nobody could review such a table."""
TOTAL = ""
"""Level of the total."""
MERGED = "+"
"""Stands between the codes of merged categories."""


@dataclass(frozen=True)
class Step:
    """One row of the public structure: a code and the code that it lies in, one level up."""

    level: str
    code: str
    parent_level: str
    parent: str


@dataclass(frozen=True)
class Axis:
    """One dimension with the codes of all its levels.

    Attributes:
        name: name of the dimension.
        codes: all codes in order of text, the total included.
        level: level of each code; empty for the total.
        steps: which code lies in which, per step between levels.
        total: code of the total or None.
        additive: whether parts sum to their total.
    """

    name: str
    codes: tuple[str, ...]
    level: tuple[str, ...]
    steps: tuple[Step, ...]
    total: str | None
    additive: bool = True

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each code."""
        return {code: number for number, code in enumerate(self.codes)}

    @cached_property
    def inner(self) -> Ints:
        """Positions of the innermost codes."""
        return np.flatnonzero(np.array([one == self.name for one in self.level]))

    @cached_property
    def given(self) -> Ints:
        """Positions of the codes that a file of cells has to hold."""
        return self.inner if self.additive else np.arange(len(self))

    @cached_property
    def lines(self) -> tuple[tuple[int, Ints], ...]:
        """Every line of every hierarchy: position of the total and of its parts."""
        parts: dict[tuple[str, str], list[int]] = {}
        for step in self.steps:
            parts.setdefault((step.parent, step.level), []).append(self.position[step.code])
        made = [(self.position[parent], np.array(sorted(c))) for (parent, _), c in parts.items()]
        if self.total is not None:
            tops = sorted({one for one in self.level if one} - {step.level for step in self.steps})
            top = self.position[self.total]
            made += [
                (top, np.flatnonzero(np.array([one == level for one in self.level])))
                for level in tops
            ]
        return tuple(sorted(made, key=lambda line: (line[0], line[1].tolist())))

    @cached_property
    def leaves(self) -> tuple[Ints, ...]:
        """Per code the positions, among the innermost codes, of what lies in it."""
        found: dict[int, Ints] = {int(one): np.array([n]) for n, one in enumerate(self.inner)}
        lines = list(self.lines)
        while lines:
            ready = [one for one in lines if all(int(part) in found for part in one[1])]
            for total, parts in ready:
                found[total] = np.unique(np.concatenate([found[int(part)] for part in parts]))
            lines = [one for one in lines if one[0] not in found]
        return tuple(found[number] for number in range(len(self)))

    @cached_property
    def height(self) -> Ints:
        """Per code how many levels it stands above the innermost one."""
        heights = np.zeros(len(self), dtype=np.int64)
        for _ in range(len(set(self.level))):
            for total, parts in self.lines:
                heights[total] = max(heights[total], heights[parts].max() + 1)
        return heights


def make_axis(
    dimension: Dimension, codes: Mapping[str, Iterable[str]], steps: Iterable[Step]
) -> Axis:
    """An axis of codes per level, with the steps between them."""
    pairs = [(code, level) for level, own in codes.items() for code in own]
    if dimension.total is not None:
        pairs.append((dimension.total, TOTAL))
    pairs.sort()
    return Axis(
        name=dimension.name,
        codes=tuple(code for code, _ in pairs),
        level=tuple(level for _, level in pairs),
        steps=tuple(sorted(set(steps), key=lambda s: (s.level, s.parent_level, s.code))),
        total=dimension.total,
        additive=dimension.additive,
    )


@dataclass(frozen=True)
class Magnitudes:
    """A magnitude on the grid of a table, totals included.

    Attributes:
        total: sum per cell.
        largest, second: largest and second largest contribution of the innermost cells below.
        contributors: sum of the contributors of the innermost cells below.

    A contributor that occurs in several innermost cells is counted as several smaller ones, so
    for totals ``largest`` and ``second`` are lower bounds and ``contributors`` an upper bound.
    """

    total: Floats
    largest: Floats
    second: Floats
    contributors: Ints


@dataclass(frozen=True)
class Table:
    """All cells of a table.

    Attributes:
        axes: one per dimension.
        count: whole count per cell (grid in the shape of the axes).
        magnitudes: the magnitude on the same grid, or None.
        name: what errors call it.
        contributors: contributors per cell on the same grid, added up, so that one in two cells of
            a total is two there; None when every unit has its own.
    """

    axes: tuple[Axis, ...]
    count: Ints
    magnitudes: Magnitudes | None = None
    name: str = "cells"
    contributors: Ints | None = None

    @property
    def n_behind(self) -> Ints:
        """Units or contributors behind each cell, whichever are fewer."""
        if self.contributors is None:
            return self.count
        return np.minimum(self.count, self.contributors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of codes per dimension."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of cells, totals included."""
        return math.prod(self.shape)

    @cached_property
    def n_nonzero(self) -> Ints:
        """Per cell how many of its innermost cells are not zero (1 or 0 where not additive)."""
        inner = (self.count[np.ix_(*(axis.given for axis in self.axes))] > 0).astype(np.int64)
        return np.asarray(spread(self.axes, inner, _add), dtype=np.int64)

    def key(self, cell: int) -> dict[str, str]:
        """Codes of a cell by dimension."""
        where = np.unravel_index(cell, self.shape)
        return {axis.name: axis.codes[int(at)] for axis, at in zip(self.axes, where, strict=True)}

    def label(self, cell: int) -> str:
        """A cell as a person reads it."""
        return "/".join(self.key(cell).values())

    def key_columns(self) -> dict[str, list[str]]:
        """Codes of all cells by dimension, in published order."""
        where = np.unravel_index(np.arange(self.size), self.shape)
        return {
            axis.name: np.array(axis.codes, dtype=object)[at].tolist()
            for axis, at in zip(self.axes, where, strict=True)
        }

    def matches(self, cell: Mapping[str, str], rule: str) -> Bools:
        """Cells (grid) that a partial key names.

        Raises:
            DisclosureError: Z-DIS-012 if a code does not occur.
        """
        found = np.ones(self.shape, dtype=bool)
        for number, axis in enumerate(self.axes):
            if axis.name not in cell:
                continue
            code = cell[axis.name]
            if code not in axis.position:
                raise wrong(
                    self.name,
                    f"{rule} names {axis.name} = {code!r}, which does not occur",
                    "Use codes of the cells, or the code of the total; put codes in quotes.",
                    "Z-DIS-012",
                )
            own = np.zeros(len(axis), dtype=bool)
            own[axis.position[code]] = True
            found &= own.reshape([-1 if n == number else 1 for n in range(len(self.axes))])
        return found


Group = Callable[[NDArray[Any], Ints, int], NDArray[Any]]


def _add(values: NDArray[Any], leaves: Ints, number: int) -> NDArray[Any]:
    return np.asarray(np.take(values, leaves, axis=number).sum(axis=number))


def spread(axes: Sequence[Axis], inner: NDArray[Any], group: Group) -> NDArray[Any]:
    """Values of all cells from those that were given, by grouping along every axis in turn."""
    values = inner
    for number, axis in enumerate(axes):
        if axis.additive:
            values = np.stack([group(values, leaves, number) for leaves in axis.leaves], number)
    return values


def _spread_two(axes: Sequence[Axis], largest: Floats, second: Floats) -> tuple[Floats, Floats]:
    """The two largest contributions of every cell, from those of the innermost cells below."""
    for number, axis in enumerate(axes):
        if not axis.additive:
            continue
        firsts, seconds = [], []
        for leaves in axis.leaves:
            both = np.concatenate(
                [np.take(largest, leaves, number), np.take(second, leaves, number)], number
            )
            two = np.partition(both, both.shape[number] - 2, axis=number)
            firsts.append(np.take(two, -1, number))
            seconds.append(np.take(two, -2, number))
        largest, second = np.stack(firsts, number), np.stack(seconds, number)
    return largest, second


def magnitudes_of(
    axes: Sequence[Axis],
    total: Floats,
    largest: Floats,
    second: Floats,
    contributors: Ints,
) -> Magnitudes:
    """Magnitudes of all cells from those of the innermost ones (grids of innermost codes)."""
    first, next_ = _spread_two(axes, largest, second)
    return Magnitudes(
        total=spread(axes, total, _add),
        largest=first,
        second=next_,
        contributors=spread(axes, contributors, _add),
    )


# Reading cells ---------------------------------------------------------------------------------


def _examples(found: Sequence[str], most: int = 3) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def text_of(values: NDArray[Any]) -> NDArray[Any]:
    """Codes as text; whole numbers without a point."""
    if values.dtype == object:
        return np.array([one.strip() for one in values], dtype=object)
    if values.dtype.kind == "f":
        made = ["" if v != v else str(int(v)) if v == int(v) else str(v) for v in values.tolist()]
        return np.array(made, dtype=object)
    return np.array([str(one) for one in values.tolist()], dtype=object)


def numbers_of(
    values: NDArray[Any], column: str, name: str, *, whole: bool, code: str = "Z-DIS-022"
) -> Floats:
    """A column as numbers of at least 0.

    Raises:
        DisclosureError: ``code`` naming the first rows that are not.
    """
    kind = "a whole number of at least 0" if whole else "a number of at least 0"
    if values.dtype == object:
        made = np.empty(len(values))
        for row, one in enumerate(values.tolist()):
            try:
                # Python also reads 1_000 and inf, which no table of figures means.
                made[row] = float(one) if "_" not in one else np.nan
            except ValueError:
                made[row] = np.nan
    else:
        made = values.astype(np.float64)
    bad = ~np.isfinite(made) | (made < 0)
    if whole:
        bad |= made != np.floor(np.where(np.isfinite(made), made, 0))
    if bad.any():
        rows = np.flatnonzero(bad)
        shown = _examples([f"{values[row]!r} in row {row + 1}" for row in rows.tolist()])
        raise wrong(
            name, f"{column} is not {kind}: {shown}", "Correct these rows at their source.", code
        )
    if whole and made.max(initial=0) > 2**52:
        raise wrong(name, f"{column} holds {made.max():g}", "No count is that large.", "Z-DIS-030")
    return made


def check_codes(codes: Iterable[str], column: str, name: str) -> None:
    """Codes are filled, printable, and no formula for who opens the result in a spreadsheet.

    Raises:
        DisclosureError: Z-DIS-029.
    """
    for code in codes:
        if not code:
            raise wrong(
                name, f"{column} is empty in a row", "Give every cell its codes.", "Z-DIS-029"
            )
        if code[0] in "=+-@" or not code.isprintable():
            raise wrong(
                name,
                f"{column} has the code {code!r}, which a spreadsheet would run or hide",
                "Use codes that begin with a letter or a digit, without control signs.",
                "Z-DIS-029",
            )


def _level_codes(columns: Columns, dimension: Dimension, name: str) -> dict[str, NDArray[Any]]:
    for level in dimension.levels:
        if level not in columns:
            raise wrong(
                name,
                f"it has no column {level}, which the spec names in dimension {dimension.name}",
                f"Its columns are {', '.join(columns)}.",
                "Z-DIS-021",
            )
    return {level: text_of(columns[level]) for level in dimension.levels}


def _steps(dimension: Dimension, texts: Mapping[str, NDArray[Any]], name: str) -> list[Step]:
    """Steps between the levels as the rows have them, each code in one parent."""
    steps: list[Step] = []
    seen: set[tuple[str, str]] = set()
    pairs = [
        (lower, upper)
        for chain in dimension.hierarchies
        for at, lower in enumerate(chain)
        for upper in chain[at + 1 :]
    ]
    direct = {step for chain in dimension.hierarchies for step in pairwise(chain)}
    for lower, upper in dict.fromkeys(pairs):
        parents: dict[str, str] = {}
        for code, parent in set(zip(texts[lower].tolist(), texts[upper].tolist(), strict=True)):
            if not parent:
                raise wrong(
                    name,
                    f"{lower} {code} is an orphan: its {upper} is empty",
                    f"Fill {upper} in every row.",
                    "Z-DIS-026",
                )
            if parents.setdefault(code, parent) != parent:
                both = " and ".join(sorted((parents[code], parent)))
                raise wrong(
                    name,
                    f"{lower} {code} lies in two of {upper}: {both}",
                    f"Give every {lower} one {upper}, or declare hierarchies that cross.",
                    "Z-DIS-026",
                )
        if (lower, upper) in direct and (lower, upper) not in seen:
            seen.add((lower, upper))
            steps += [Step(lower, code, upper, parent) for code, parent in sorted(parents.items())]
    return steps


def check_levels(
    dimension: Dimension, codes: Mapping[str, Iterable[str]], steps: Sequence[Step], name: str
) -> None:
    """No code at two levels, none equal to the total, nothing that lies in itself.

    Raises:
        DisclosureError: Z-DIS-027 or Z-DIS-028.
    """
    level_of: dict[str, str] = {}
    parents: dict[str, set[str]] = {}
    for step in steps:
        parents.setdefault(step.code, set()).add(step.parent)
    for start in sorted(parents):
        above, path = {start}, list(parents[start])
        while path:
            code = path.pop()
            if code == start:
                raise wrong(
                    name,
                    f"the hierarchy of {dimension.name} has a cycle: {start} lies in itself",
                    "Give every level codes of its own.",
                    "Z-DIS-027",
                )
            if code not in above:
                above.add(code)
                path += parents.get(code, ())
    for level, own in codes.items():
        for code in sorted(own):
            if code == dimension.total:
                raise wrong(
                    name,
                    f"{level} has the code {code!r}, which the spec gives to the total",
                    f"Set dimensions.{dimension.name}.total to a code that does not occur.",
                    "Z-DIS-028",
                )
            if level_of.setdefault(code, level) != level:
                raise wrong(
                    name,
                    f"the code {code} is used at two levels, {level_of[code]} and {level}",
                    "Give every level codes of its own.",
                    "Z-DIS-027",
                )


def _is_total_row(texts: Mapping[str, NDArray[Any]], dimension: Dimension, name: str) -> Bools:
    """Rows about the total of an additive dimension: given for checking, computed anyway."""
    own = texts[dimension.name]
    total = np.array([code == dimension.total for code in own.tolist()], dtype=bool)
    for level in dimension.levels[1:]:
        for code in set(texts[level][total].tolist()) - {"", dimension.total}:
            raise wrong(
                name,
                f"{dimension.name} has the code {dimension.total!r} of the total below "
                f"{level} {code}",
                f"Set dimensions.{dimension.name}.total to a code that does not occur.",
                "Z-DIS-028",
            )
    return total


def _axis_of(
    columns: Columns, dimension: Dimension, is_total: Bools, name: str
) -> tuple[Axis, Ints]:
    """The axis of a dimension and, per row, the position of its code."""
    texts = _level_codes(columns, dimension, name)
    own = texts[dimension.name]
    check_codes(sorted(set(own.tolist())), dimension.name, name)
    if dimension.additive:
        rows = ~is_total
    else:
        upper = {code for level in dimension.levels[1:] for code in texts[level].tolist()}
        rows = np.array([one != dimension.total and one not in upper for one in own.tolist()])
    inner = {level: text[rows] for level, text in texts.items()}
    codes = {level: set(text.tolist()) for level, text in inner.items()}
    if not codes[dimension.name]:
        raise wrong(
            name,
            f"{dimension.name} has totals only",
            "Pass the innermost cells; totals are computed.",
            "Z-DIS-020",
        )
    steps = _steps(dimension, inner, name)
    check_levels(dimension, codes, steps, name)
    for level in dimension.levels[1:]:
        check_codes(sorted(codes[level]), level, name)
    axis = make_axis(dimension, codes, steps)
    return axis, np.array([axis.position.get(one, -1) for one in own.tolist()], dtype=np.int64)


def _duplicates(table: Table, flat: Ints, name: str) -> None:
    ordered = np.sort(flat)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(again):
        shown = _examples([table.label(cell) for cell in again.tolist()])
        raise wrong(
            name,
            f"{len(again)} cells stand in it more than once: {shown}",
            "Aggregate to one row per innermost combination.",
            "Z-DIS-023",
        )


def _check_size(n_cells: int, name: str) -> None:
    if n_cells > MOST_CELLS:
        raise wrong(
            name,
            f"it has {n_cells:,} cells or more with totals, more than {MOST_CELLS:,}",
            "Split it into tables that are published on their own, or leave out a dimension.",
            "Z-DIS-030",
        )


def build_table(columns: Columns, spec: Spec, name: str = "cells") -> Table:
    """A table with all its totals from innermost cells.

    Rows about totals of an additive dimension are compared with the sums, and otherwise left out.

    Raises:
        DisclosureError: Z-DIS-020 to Z-DIS-031 naming ``name``, the rule and the first rows.
    """
    codes = [set(columns[one.name].tolist()) for one in spec.dimensions if one.name in columns]
    _check_size(math.prod(map(len, codes)), name)
    measures = _measures(columns, spec, name)
    n_rows = len(measures[spec.count])
    totals = np.zeros(n_rows, dtype=bool)
    per_dimension = []
    for dimension in spec.dimensions:
        own = np.zeros(n_rows, dtype=bool)
        if dimension.additive and dimension.total is not None:
            own = _is_total_row(_level_codes(columns, dimension, name), dimension, name)
        per_dimension.append(own)
        totals |= own
    found = [
        _axis_of(columns, dimension, own, name)
        for dimension, own in zip(spec.dimensions, per_dimension, strict=True)
    ]
    axes = tuple(axis for axis, _ in found)
    shape = tuple(len(axis) for axis in axes)
    _check_size(math.prod(shape), name)
    bare = Table(axes, np.zeros(shape, dtype=np.int64), name=name)
    flat = np.ravel_multi_index([at for _, at in found], shape).astype(np.int64)
    _duplicates(bare, flat, name)
    given = flat[~totals]
    leaf_shape = tuple(len(axis.given) for axis in axes)
    missing = math.prod(leaf_shape) - len(given)
    if missing and spec.policy.missing_cells == "error":
        wanted = np.zeros(shape, dtype=bool)
        wanted[np.ix_(*(axis.given for axis in axes))] = True
        wanted.ravel()[given] = False
        shown = _examples([bare.label(cell) for cell in np.flatnonzero(wanted)[:4].tolist()])
        raise wrong(
            name,
            f"{missing} of {math.prod(leaf_shape)} innermost cells are missing, such as {shown}",
            "Write zeros as rows, or set policy.missing_cells to zero if missing means zero.",
            "Z-DIS-024",
        )

    def grid(column: str) -> Floats:
        whole = np.zeros(math.prod(shape))
        whole[given] = measures[column][~totals]
        return np.asarray(whole.reshape(shape)[np.ix_(*(axis.given for axis in axes))])

    count = np.asarray(spread(axes, grid(spec.count).astype(np.int64), _add))
    behind = None
    if spec.contributors is not None:
        behind = np.asarray(spread(axes, grid(spec.contributors).astype(np.int64), _add))
    magnitudes = _magnitudes(axes, spec.magnitude, grid)
    table = replace(bare, count=count, magnitudes=magnitudes, contributors=behind)
    _check_totals(table, flat[totals], measures, totals, spec)
    return table


def _magnitudes(
    axes: Sequence[Axis], magnitude: Magnitude | None, grid: Callable[[str], Floats]
) -> Magnitudes | None:
    if magnitude is None:
        return None
    return magnitudes_of(
        axes,
        grid(magnitude.total),
        grid(magnitude.largest),
        grid(magnitude.second),
        grid(magnitude.contributors).astype(np.int64),
    )


def _check_totals(
    table: Table, cells: Ints, measures: Mapping[str, Floats], rows: Bools, spec: Spec
) -> None:
    checked = {spec.count: table.count.ravel().astype(np.float64)}
    if table.magnitudes is not None and spec.magnitude is not None:
        checked[spec.magnitude.total] = table.magnitudes.total.ravel()
    for column, sums in checked.items():
        given = measures[column][rows]
        off = np.flatnonzero(~np.isclose(given, sums[cells], rtol=1e-9, atol=1e-6))
        if len(off):
            shown = _examples(
                [
                    f"{table.label(int(cells[n]))} is {given[n]:g}, its parts sum to "
                    f"{sums[cells[n]]:g}"
                    for n in off.tolist()
                ]
            )
            raise wrong(
                table.name,
                f"{column} does not add up in {len(off)} totals: {shown}",
                "Correct them, leave the totals out, or declare the dimension additive: false.",
                "Z-DIS-025",
            )


def _measures(columns: Columns, spec: Spec, name: str) -> dict[str, Floats]:
    names = [spec.count, *([spec.contributors] if spec.contributors else [])]
    magnitude = spec.magnitude
    if magnitude is not None:
        names += [magnitude.total, magnitude.largest, magnitude.second, magnitude.contributors]
    for column in names:
        if column not in columns:
            raise wrong(
                name,
                f"it has no column {column}, which the spec names as a measure",
                f"Its columns are {', '.join(columns)}.",
                "Z-DIS-021",
            )
    own = {spec.count, spec.contributors}
    whole = own | ({magnitude.contributors} if magnitude else set())
    made = {
        column: numbers_of(columns[column], column, name, whole=column in whole) for column in names
    }
    if magnitude is not None:
        _check_magnitude(made, magnitude, spec.count, name)
    return made


def _check_magnitude(
    made: Mapping[str, Floats], magnitude: Magnitude, count: str, name: str
) -> None:
    total, first = made[magnitude.total], made[magnitude.largest]
    second = made[magnitude.second]
    slack = 1e-9 * np.maximum(total, 1)
    faults = {
        f"{magnitude.second} is larger than {magnitude.largest}": second > first + slack,
        f"{magnitude.largest} and {magnitude.second} exceed {magnitude.total}": (
            first + second > total + slack
        ),
        f"{magnitude.total} is not zero where {magnitude.contributors} is": (
            (total > 0) & (made[magnitude.contributors] == 0)
        ),
        f"{magnitude.total} is not zero where {count} is": (total > 0) & (made[count] == 0),
    }
    for fault, rows in faults.items():
        if rows.any():
            shown = _examples([f"row {row + 1}" for row in np.flatnonzero(rows).tolist()])
            raise wrong(name, f"{fault}: {shown}", "Correct these rows.", "Z-DIS-031")


# Changing tables -------------------------------------------------------------------------------


def merge_codes(table: Table, dimension: str, codes: Sequence[str]) -> Table:
    """The same facts with some categories of a one-level dimension taken together.

    The merged category has the codes of its parts, joined by a plus.
    """
    number = next(n for n, axis in enumerate(table.axes) if axis.name == dimension)
    axis = table.axes[number]
    own = [axis.codes[int(at)] for at in axis.inner]
    parts = sorted({part for code in codes for part in code.split(MERGED)})
    new = MERGED.join(parts)
    kept = sorted([code for code in own if code not in codes] + [new])
    plain = Dimension(axis.name, ((axis.name,),), axis.total, axis.additive)
    merged = make_axis(plain, {axis.name: kept}, ())
    groups = [
        np.array([own.index(code)]) if code != new else np.array([own.index(c) for c in codes])
        for code in kept
    ]
    axes = tuple(merged if n == number else one for n, one in enumerate(table.axes))

    def group(values: NDArray[Any], how: Group) -> NDArray[Any]:
        inner = values[np.ix_(*(one.given for one in table.axes))]
        return np.stack([how(inner, leaves, number) for leaves in groups], number)

    magnitudes = None
    if table.magnitudes is not None:
        m = table.magnitudes
        inner = np.ix_(*(one.given for one in table.axes))
        two = [
            np.partition(
                np.concatenate(
                    [np.take(v[inner], leaves, number) for v in (m.largest, m.second)], number
                ),
                -2,
                axis=number,
            )
            for leaves in groups
        ]
        magnitudes = magnitudes_of(
            axes,
            group(m.total, _add),
            np.stack([np.take(one, -1, number) for one in two], number),
            np.stack([np.take(one, -2, number) for one in two], number),
            group(m.contributors, _add),
        )
    count = spread(axes, group(table.count, _add), _add)
    behind = None
    if table.contributors is not None:
        behind = np.asarray(spread(axes, group(table.contributors, _add), _add))
    return Table(axes, np.asarray(count), magnitudes, table.name, behind)


def equations(axes: Sequence[Axis]) -> Any:
    """Every line of every hierarchy, for every combination of the other dimensions.

    Returns:
        ``scipy.sparse.csr_array`` of equations by cells: +1 for parts, -1 for their total.
    """
    import scipy.sparse as sparse

    blocks = []
    sizes = [len(axis) for axis in axes]
    for number, axis in enumerate(axes):
        if not axis.additive or not axis.lines:
            continue
        rows, cols, data = [], [], []
        for row, (total, parts) in enumerate(axis.lines):
            rows += [row] * (len(parts) + 1)
            cols += [total, *parts.tolist()]
            data += [-1.0] + [1.0] * len(parts)
        own = sparse.csr_array((data, (rows, cols)), shape=(len(axis.lines), len(axis)))
        before = sparse.eye_array(math.prod(sizes[:number]), format="csr")
        after = sparse.eye_array(math.prod(sizes[number + 1 :]), format="csr")
        blocks.append(sparse.kron(sparse.kron(before, own), after, format="csr"))
    n = math.prod(sizes)
    if not blocks:
        return sparse.csr_array((0, n))
    made = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    # A Kronecker product keeps the zeros of a dense block as entries.
    made.eliminate_zeros()
    return made


def part_relations(axes: Sequence[Axis]) -> tuple[list[tuple[int, int]], list[tuple[int, Ints]]]:
    """Relations of dimensions that are not additive: a total is at least each of its parts.

    Returns:
        pairs (total, part) and pairs (total, all its parts), as positions of cells. Parts together
        are at least their total: whoever is in the total is in some part.
    """
    shape = tuple(len(axis) for axis in axes)
    grid = np.arange(math.prod(shape)).reshape(shape)
    pairs, covers = [], []
    for number, axis in enumerate(axes):
        if axis.additive:
            continue
        for total, parts in axis.lines:
            tops = np.take(grid, total, number).ravel()
            below = np.stack([np.take(grid, part, number).ravel() for part in parts.tolist()])
            for at, top in enumerate(tops.tolist()):
                pairs += [(top, int(part)) for part in below[:, at]]
                covers.append((top, below[:, at]))
    return pairs, covers
