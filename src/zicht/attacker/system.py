"""The linear system that published tables make: which cells add up to which.

Cells of all tables of one subject and period are the same units. They become the variables of one
system, in one layer per vintage; a re-division makes both divisions sums of the same atoms, the
parts (old area, new area).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from zicht.attacker.complaints import unlike
from zicht.attacker.published import HIDDEN, SHOWN, PublishedTable, check_size
from zicht.attacker.spec import Dimension

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Atom = tuple[str, ...]
Extent = frozenset[Atom]


@dataclass(frozen=True)
class Line:
    """One parent is the sum of its children (``adds``).

    Where parts do not add up, a line with one child says that the parent is at least that child,
    and one with ``covers`` that it is at most all its children together.
    """

    parent: int
    children: tuple[int, ...]
    adds: bool = True
    covers: bool = False


@dataclass(frozen=True)
class Axis:
    """One dimension over all tables: its nodes and how they add up.

    Attributes:
        name: the dimension.
        labels: per node a code that it has in one of the tables.
        lines: all lines; the first one of each parent is its own, the others follow from these.
        codes: per division (an index) the node of every code.
        total: node of the total; -1 if there is none.
    """

    name: str
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    codes: tuple[dict[str, int], ...]
    total: int

    @cached_property
    def is_leaf(self) -> Bools:
        """Per node: whether nothing adds up to it."""
        leaf = np.ones(len(self.labels), dtype=bool)
        leaf[[line.parent for line in self.lines if line.adds]] = False
        return leaf

    @cached_property
    def leaves(self) -> tuple[tuple[int, ...], ...]:
        """Per node the leaves that it is the sum of; a leaf is its own."""
        own: dict[int, tuple[int, ...]] = {}
        first: dict[int, Line] = {}
        for line in self.lines:
            if line.adds:
                first.setdefault(line.parent, line)

        def below(node: int) -> tuple[int, ...]:
            if node not in own:
                line = first.get(node)
                own[node] = (
                    (node,) if line is None else tuple(x for c in line.children for x in below(c))
                )
            return own[node]

        return tuple(below(node) for node in range(len(self.labels)))


@dataclass(eq=False)
class System:
    """Variables with bounds, and rows ``row_lower <= matrix @ x <= row_upper``.

    Variables are cells: ``layer * n_cells + cell``; after the layers of the tables come those of
    the differences between successive vintages.

    Attributes:
        axes: the dimensions.
        layers: vintage of each layer, oldest first.
        tables: the tables in it.
        place: per table the variable of each row.
        lower: [n] what is known at least.
        upper: [n] what is known at most.
        start: [m + 1] where each row begins in ``columns`` and ``signs``.
        columns: [nnz] variable of each entry.
        signs: [nnz] 1.0 or -1.0.
        row_lower: [m]
        row_upper: [m]
        is_minimal: [m] rows from which all others follow.
        is_whole: whether all variables are whole numbers.
        hidden: [n] hidden in at least one table.
        shown: [n] shown in at least one table.
        published: [n] the value that the last table shows; nan where there is none.
        conflicts: variables for which tables of one layer show different values.
    """

    axes: tuple[Axis, ...]
    layers: tuple[str, ...]
    tables: tuple[PublishedTable, ...]
    place: tuple[Ints, ...]
    lower: Floats
    upper: Floats
    start: Ints
    columns: Ints
    signs: Floats
    row_lower: Floats
    row_upper: Floats
    is_minimal: Bools
    is_whole: bool
    hidden: Bools
    shown: Bools
    published: Floats
    conflicts: list[int] = field(default_factory=list)

    @cached_property
    def n_cells(self) -> int:
        """Cells in one layer."""
        return int(np.prod([len(axis.labels) for axis in self.axes]))

    @property
    def n_layers(self) -> int:
        """Layers of tables, differences not counted."""
        return len(self.layers)

    @cached_property
    def first_row(self) -> dict[int, tuple[int, int]]:
        """Per variable the first table and row that publish or hide it."""
        found: dict[int, tuple[int, int]] = {}
        for table, place in enumerate(self.place):
            for row, variable in enumerate(place.tolist()):
                found.setdefault(variable, (table, row))
        return found

    @cached_property
    def cells_of_newest(self) -> dict[tuple[str, ...], int]:
        """The variable of each cell of the newest table, by its codes in the order of its spec."""
        table = self.tables[0]
        columns = [table.codes[dimension.name] for dimension in table.spec.dimensions]
        keys = zip(*columns, strict=True)
        return dict(zip(keys, self.place[0].tolist(), strict=True))

    def key(self, variable: int) -> dict[str, str]:
        """The codes of a variable by dimension, as a table names them where one does."""
        where = self.first_row.get(variable)
        if where is not None:
            return self.tables[where[0]].key(where[1])
        at = np.unravel_index(variable % self.n_cells, [len(axis.labels) for axis in self.axes])
        return {axis.name: axis.labels[int(i)] for axis, i in zip(self.axes, at, strict=True)}

    def name(self, variable: int) -> str:
        """File of a variable; differences and unpublished cells have none."""
        where = self.first_row.get(variable)
        return "" if where is None else self.tables[where[0]].name

    def row(self, row: int) -> list[tuple[int, float]]:
        """Variables and signs of one row."""
        part = slice(self.start[row], self.start[row + 1])
        return list(zip(self.columns[part].tolist(), self.signs[part].tolist(), strict=True))

    def add_row(self, variables: Ints, lower: float, upper: float) -> None:
        """Adds what is known of the sum of some variables."""
        self.start = np.append(self.start, self.start[-1] + len(variables))
        self.columns = np.concatenate([self.columns, variables])
        self.signs = np.concatenate([self.signs, np.ones(len(variables))])
        self.row_lower = np.append(self.row_lower, lower)
        self.row_upper = np.append(self.row_upper, upper)
        self.is_minimal = np.append(self.is_minimal, True)

    def leaves_of(self, variable: int) -> Ints:
        """The innermost variables that a cell is the sum of."""
        shape = [len(axis.labels) for axis in self.axes]
        layer, cell = divmod(variable, self.n_cells)
        at = np.unravel_index(cell, shape)
        grids = np.meshgrid(
            *(axis.leaves[int(i)] for axis, i in zip(self.axes, at, strict=True)), indexing="ij"
        )
        flat = np.ravel_multi_index([grid.ravel() for grid in grids], shape)
        return np.asarray(flat, dtype=np.int64) + layer * self.n_cells


def _bottom(table: PublishedTable, dimension: Dimension) -> tuple[str, ...]:
    return table.structure[dimension.name].levels[dimension.name]


def _sources(
    codes: Sequence[str], newest: frozenset[str], successors: Sequence[tuple[str, str]]
) -> dict[str, list[str]]:
    """Per newest code the codes of an older division of which it holds a part."""
    following: dict[str, list[str]] = {}
    for old, new in successors:
        following.setdefault(old, []).append(new)
    found: dict[str, list[str]] = {}
    for code in codes:
        reached, waiting, seen = [], [code], set()
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            if here in following and (here not in newest or here == code):
                # A code that still exists may have kept a part, also where nothing says so.
                reached += [here] if here in newest else []
                waiting += [one for one in following[here] if one != here]
            else:
                reached.append(here)
        for new in sorted(set(reached)):
            found.setdefault(new, []).append(code)
    return found


def _atoms(divisions: Sequence[Sequence[str]], successors: Sequence[tuple[str, str]]) -> list[Atom]:
    """Common refinement of divisions of the innermost codes; the first division is the newest.

    An atom names, per division, the code that it lies in. Within one newest area every combination
    of older areas is an atom, which is more than there may be: an empty atom is simply zero.
    """
    newest = frozenset(divisions[0])
    parts = [
        _sources(codes, newest, successors if division else ())
        for division, codes in enumerate(divisions)
    ]
    atoms: list[Atom] = []
    for new in sorted(set().union(*parts)):
        combined: list[Atom] = [()]
        for division, own in enumerate(parts):
            sources = own.get(new, [""])
            twin = next((d for d in range(division) if parts[d].get(new, [""]) == sources), None)
            combined = [
                (*one, source)
                for one in combined
                for source in sources
                if twin is None or one[twin] == source
            ]
        atoms += combined
    return atoms


def _extents(
    table: PublishedTable, dimension: Dimension, atoms: Sequence[Atom], division: int
) -> dict[str, Extent]:
    """Per code of one division (all levels) the atoms that it consists of."""
    found: dict[str, set[Atom]] = {}
    for atom in atoms:
        found.setdefault(atom[division], set()).add(atom)
    extents = {code: frozenset(found.get(code, ())) for code in _bottom(table, dimension)}
    structure = table.structure[dimension.name]
    for hierarchy in dimension.hierarchies:
        for step in itertools.pairwise(hierarchy):
            above: dict[str, frozenset[Atom]] = {}
            for code, parent in structure.parents[step].items():
                above[parent] = above.get(parent, frozenset()) | extents[code]
            extents.update(above)
    if dimension.total is not None:
        extents[dimension.total] = frozenset(a for a in atoms if a[division])
    return extents


def _axis(tables: Sequence[PublishedTable], name: str) -> tuple[Axis, list[int]]:
    """The axis of one dimension and the division of each table (-1: it has no such column)."""
    divisions: list[tuple[tuple[str, ...], PublishedTable, Dimension]] = []
    own: list[int] = []
    shapes: dict[tuple[object, ...], int] = {}
    for table in tables:
        dimension = next((d for d in table.spec.dimensions if d.name == name), None)
        if dimension is None:
            own.append(-1)
            continue
        structure = table.structure[name]
        key = (
            dimension,
            tuple(sorted((level, codes) for level, codes in structure.levels.items())),
            tuple(sorted((s, tuple(sorted(p.items()))) for s, p in structure.parents.items())),
        )
        if key not in shapes:
            shapes[key] = len(divisions)
            divisions.append((_bottom(table, dimension), table, dimension))
        own.append(shapes[key])
    return _merge_divisions(name, divisions), own


def _merge_divisions(
    name: str, divisions: Sequence[tuple[tuple[str, ...], PublishedTable, Dimension]]
) -> Axis:
    has_steps = any(dimension.steps for _, _, dimension in divisions)
    successors = next(
        (t.spec.successors for _, t, d in divisions if t.spec.successors and d.steps), ()
    )
    if not has_steps:
        # Categories that only one table knows are categories all the same.
        union = tuple(sorted({code for codes, _, _ in divisions for code in codes}))
        bottoms: list[tuple[str, ...]] = [union for _ in divisions]
    else:
        bottoms = [codes for codes, _, _ in divisions]
    distinct = list(dict.fromkeys(bottoms))
    atoms = _atoms(distinct, successors)
    labels: list[str] = []
    nodes: dict[tuple[Extent, int], int] = {}
    lines: dict[tuple[int, frozenset[int]], Line] = {}  # -1 among the children: it covers
    mapped: list[dict[str, int]] = []
    total = -1

    def node(extent: Extent, rank: int, label: str) -> int:
        key = (extent, rank)
        if key not in nodes:
            nodes[key] = len(labels)
            labels.append(label)
        return nodes[key]

    for bottom, (_, table, dimension) in zip(bottoms, divisions, strict=True):
        division = distinct.index(bottom)
        structure = table.structure[name]
        if not has_steps:
            found: dict[str, set[Atom]] = {}
            for atom in atoms:
                found.setdefault(atom[division], set()).add(atom)
            extents = {code: frozenset(found.get(code, ())) for code in bottom}
            if dimension.total is not None:
                extents[dimension.total] = frozenset(atoms)
        else:
            extents = _extents(table, dimension, atoms, division)
        own: dict[str, int] = {}
        ranks: dict[Extent, int] = {}
        order = [*bottom]
        for level in dict.fromkeys(x for h in dimension.hierarchies for x in h[1:]):
            order += structure.levels[level]
        if dimension.total is not None:
            order.append(dimension.total)
        for code in order:
            extent = extents[code]
            rank = ranks.get(extent, 0)
            ranks[extent] = rank + 1
            # A parent with one child holds the same units, and is still another cell.
            own[code] = node(extent, rank, code)
        for code in bottom:
            if len(extents[code]) > 1:
                pieces = [node(frozenset({atom}), 0, "+".join(atom)) for atom in extents[code]]
                _add_line(lines, own[code], sorted(pieces))
        for step in dimension.steps:
            below: dict[str, list[int]] = {}
            for code, parent in structure.parents[step].items():
                below.setdefault(parent, []).append(own[code])
            for parent, children in below.items():
                _add_line(lines, own[parent], children, adds=dimension.additive)
        if dimension.total is not None:
            total = own[dimension.total]
            tops = [bottom if t == name else structure.levels[t] for t in dimension.tops]
            for top in tops:
                children = [own[code] for code in top]
                _add_line(lines, total, children, adds=dimension.additive)
        mapped.append(own)
    return Axis(name, tuple(labels), tuple(lines.values()), tuple(mapped), total)


def _add_line(
    lines: dict[tuple[int, frozenset[int]], Line],
    parent: int,
    children: Sequence[int],
    *,
    adds: bool = True,
) -> None:
    """Adds that a parent is the sum of its children, or lies between the most and all of them."""
    if not children or list(children) == [parent]:
        return
    if adds:
        lines.setdefault((parent, frozenset(children)), Line(parent, tuple(children)))
        return
    for child in children:
        lines.setdefault((parent, frozenset({child})), Line(parent, (child,), adds=False))
    # Whoever is in the parent is in some child. Of one child both lines say that it is equal.
    lines.setdefault(
        (parent, frozenset({-1, *children})),
        Line(parent, tuple(children), adds=False, covers=True),
    )


@dataclass(frozen=True)
class _Rows:
    """Rows of a system under construction."""

    length: Ints
    columns: Ints
    signs: Floats
    lower: Floats
    upper: Floats
    minimal: Bools


def _rows_of_layer(axes: Sequence[Axis], *, sums_only: bool = False) -> _Rows:
    """Every line of every axis for every combination of the other axes, for one layer.

    Args:
        axes: the dimensions.
        sums_only: only lines that add up. Of late records no more is known: who is in the total
            already can still come into one more part.
    """
    shape = [len(axis.labels) for axis in axes]
    cells = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    parts: list[_Rows] = []
    for k, axis in enumerate(axes):
        first: set[int] = set()
        # A row is needed if no earlier axis explains its parent already.
        others = np.moveaxis(cells, k, 0)[0].ravel()
        at = np.unravel_index(others, shape)
        free = np.ones(len(others), dtype=bool)
        for j in range(k):
            free &= axes[j].is_leaf[at[j]]
        stride = int(np.prod(shape[k + 1 :]))
        for line in axis.lines:
            if sums_only and not line.adds:
                continue
            nodes = np.array([*line.children, line.parent], dtype=np.int64)
            columns = others[:, None] + nodes[None, :] * stride
            signs = np.ones(columns.shape)
            signs[:, -1] = -1.0
            own = line.adds and line.parent not in first
            if line.adds:
                first.add(line.parent)
            n = len(others)
            parts.append(
                _Rows(
                    length=np.full(n, len(nodes), dtype=np.int64),
                    columns=columns.ravel(),
                    signs=signs.ravel(),
                    lower=np.full(n, 0.0 if line.adds or line.covers else -np.inf),
                    upper=np.full(n, np.inf if line.covers else 0.0),
                    minimal=free & own if line.adds else np.ones(n, dtype=bool),
                )
            )
    return _concatenate(parts)


def _concatenate(parts: Sequence[_Rows]) -> _Rows:
    def joined(name: str, dtype: type) -> npt.NDArray[np.generic]:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)

    return _Rows(
        length=np.asarray(joined("length", int), dtype=np.int64),
        columns=np.asarray(joined("columns", int), dtype=np.int64),
        signs=np.asarray(joined("signs", float), dtype=np.float64),
        lower=np.asarray(joined("lower", float), dtype=np.float64),
        upper=np.asarray(joined("upper", float), dtype=np.float64),
        minimal=np.asarray(joined("minimal", bool), dtype=bool),
    )


def _moved(rows: _Rows, offset: int, *, minimal: bool = True) -> _Rows:
    return _Rows(
        rows.length,
        rows.columns + offset,
        rows.signs,
        rows.lower,
        rows.upper,
        rows.minimal if minimal else np.zeros_like(rows.minimal),
    )


def _tie(earlier: Ints, later: Ints, difference: Ints, minimal: Bools) -> _Rows:
    """later - earlier - difference = 0, for every cell."""
    n = len(earlier)
    return _Rows(
        length=np.full(n, 3, dtype=np.int64),
        columns=np.column_stack([later, earlier, difference]).ravel(),
        signs=np.tile([1.0, -1.0, -1.0], n),
        lower=np.zeros(n),
        upper=np.zeros(n),
        minimal=minimal,
    )


def _order_in_time(
    tables: Sequence[PublishedTable], place: Sequence[Ints], relation: str
) -> list[str]:
    """Vintages, oldest first; the first table is of the newest one.

    Where records are only ever added, the published values themselves give the order.
    """
    names = list(dict.fromkeys(table.vintage for table in tables))
    earlier = names[:0:-1]
    if relation == "additions" and len(earlier) > 1:
        values: dict[str, dict[int, float]] = {name: {} for name in earlier}
        for table, where in zip(tables, place, strict=True):
            if table.vintage in values:
                seen = table.status == SHOWN
                values[table.vintage].update(
                    zip(where[seen].tolist(), table.value[seen].tolist(), strict=True)
                )
        common = sorted(set.intersection(*(set(one) for one in values.values())))
        earlier.sort(key=lambda name: sum(values[name][cell] for cell in common))
    return [*earlier, names[0]]


def _rounding_slack(base: int, mode: str, value: Floats) -> tuple[Floats, Floats]:
    """Least and greatest true value behind a rounded one (whole numbers)."""
    if mode == "controlled":
        # Either neighbouring multiple: less than one base away.
        reach = float(base - 1)
        return np.maximum(value - reach, 0.0), value + reach
    reach = float(base // 2)
    return np.maximum(value - reach, 0.0), value + reach


def build_system(tables: Sequence[PublishedTable], *, informed: bool = True) -> System:
    """Lays tables of one subject and period together.

    Args:
        tables: the first one is the newest; tables of one ``vintage`` hold the same facts.
        informed: whether the attacker knows that zeros are shown, where policy shows them.

    Raises:
        AttackError: Z-ATT-011 if a table lacks a dimension of another one that has no total,
            Z-ATT-001 if there are too many cells.
    """
    first = tables[0].spec
    names = list(dict.fromkeys(d.name for table in tables for d in table.spec.dimensions))
    built = [_axis(tables, name) for name in names]
    axes = tuple(axis for axis, _ in built)
    shape = [len(axis.labels) for axis in axes]
    check_size(tables[0].name, [*shape, len({table.vintage for table in tables})])
    n_cells = int(np.prod(shape))
    cells = []
    for t, table in enumerate(tables):
        at = []
        for axis, divisions in built:
            if divisions[t] < 0:
                if axis.total < 0:
                    raise unlike(
                        f"{table.name}: has no column {axis.name}, and the other tables show no "
                        "total over it.",
                        "Lay only tables together that share cells.",
                    )
                at.append(np.full(table.n_cells, axis.total, dtype=np.int64))
                continue
            own = axis.codes[divisions[t]]
            at.append(np.array([own[str(code)] for code in table.codes[axis.name]], dtype=np.int64))
        cells.append(np.asarray(np.ravel_multi_index(at, shape), dtype=np.int64))
    layers = _order_in_time(tables, cells, first.relation)
    place = tuple(
        where + layers.index(table.vintage) * n_cells
        for table, where in zip(tables, cells, strict=True)
    )
    n_gaps = len(layers) - 1 if first.relation == "additions" else 0
    n = n_cells * (len(layers) + n_gaps)
    base = _rows_of_layer(axes)
    parts = [_moved(base, layer * n_cells) for layer in range(len(layers))]
    grid = np.arange(n_cells, dtype=np.int64)
    leaf = np.logical_and.reduce(
        [axis.is_leaf[i] for axis, i in zip(axes, np.unravel_index(grid, shape), strict=True)]
    )
    of_late = _rows_of_layer(axes, sums_only=True) if n_gaps else base
    for gap in range(n_gaps):
        parts.append(_moved(of_late, (len(layers) + gap) * n_cells, minimal=False))
        parts.append(
            _tie(
                grid + gap * n_cells,
                grid + (gap + 1) * n_cells,
                grid + (len(layers) + gap) * n_cells,
                leaf,
            )
        )
    rows = _concatenate(parts)
    system = System(
        axes=axes,
        layers=tuple(layers),
        tables=tuple(tables),
        place=place,
        lower=np.zeros(n),
        upper=np.full(n, np.inf),
        start=np.concatenate([[0], np.cumsum(rows.length)]).astype(np.int64),
        columns=rows.columns,
        signs=rows.signs,
        row_lower=rows.lower,
        row_upper=rows.upper,
        is_minimal=rows.minimal,
        is_whole=first.is_whole,
        hidden=np.zeros(n, dtype=bool),
        shown=np.zeros(n, dtype=bool),
        published=np.full(n, np.nan),
    )
    for table, where in zip(tables, place, strict=True):
        _enter(system, table, where, informed=informed)
    return system


def _enter(system: System, table: PublishedTable, where: Ints, *, informed: bool) -> None:
    """Enters what one table shows and hides as bounds."""
    spec = table.spec
    hidden = where[table.status == HIDDEN]
    system.hidden[hidden] = True
    if informed and spec.publish_zeros and spec.is_whole and not spec.rounding_base:
        system.lower[hidden] = np.maximum(system.lower[hidden], 1.0)
    seen = table.status == SHOWN
    at, value = where[seen], table.value[seen]
    low, high = value, value
    if spec.rounding_base:
        low, high = _rounding_slack(spec.rounding_base, spec.rounding_mode, value)
    new_low = np.maximum(system.lower[at], low)
    new_high = np.minimum(system.upper[at], high)
    # A value that contradicts the zero rule or another table: the value wins, and it is reported.
    clash = new_low > new_high + 1e-9
    system.conflicts += at[clash].tolist()
    system.lower[at] = np.where(clash, low, new_low)
    system.upper[at] = np.where(clash, high, new_high)
    system.shown[at] = True
    system.published[at] = value
