"""Earlier releases: what they made known for ever, and how they tie this table.

An earlier release of the same units enters as its hidden cells, its equations with at least one of
them, and one relation per innermost cell with the release after it. What it showed is a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zicht.disclosure.problem import Extra, Term, add_part_relations
from zicht.disclosure.reading import Columns, read_columns, source_name
from zicht.disclosure.rounding import implied
from zicht.disclosure.spec import History, Rounding, Spec, wrong
from zicht.disclosure.tables import (
    Axis,
    Bools,
    Floats,
    Ints,
    Step,
    Table,
    check_levels,
    equations,
    make_axis,
    numbers_of,
    text_of,
)
from zicht.errors import DisclosureError

STRUCTURE = ("dimension", "level", "code", "parent_level", "parent")


@dataclass(frozen=True)
class Released:
    """What was published earlier: the cells, and which code lies in which.

    Attributes:
        cells: columns as in ``protected.csv``.
        structure: columns as in its sidecar ``….structure.csv``; empty without hierarchies.
        name: what errors call it.
        rounding: how its values were rounded; None for as the spec says.
    """

    cells: Columns
    structure: Columns
    name: str = "earlier release"
    rounding: Rounding | None = None

    @classmethod
    def read(cls, cells: Any, structure: Any = None) -> Released:
        """From a file with its sidecar beside it, or from data frames.

        Raises:
            DisclosureError: Z-DIS-035 if a file cannot be read or the sidecar is not there.
        """
        name = source_name(cells, "earlier release")
        read = read_columns(cells, name=name, code="Z-DIS-035")
        rounding = _own_rounding(read, name)
        if structure is None:
            if not isinstance(cells, str | Path):
                return cls(read, {}, name, rounding)
            structure = structure_path(Path(cells))
            if not structure.is_file():
                raise wrong(
                    name,
                    f"its structure {structure.name} does not lie beside it",
                    "Keep both files that zicht protect wrote together.",
                    "Z-DIS-035",
                )
        if isinstance(structure, str | Path) and len(Path(structure).read_bytes().splitlines()) < 2:
            return cls(read, {}, name, rounding)
        codes = read_columns(structure, name=f"structure of {name}", code="Z-DIS-035")
        return cls(read, codes, name, rounding)


def _own_rounding(cells: Columns, name: str) -> Rounding | None:
    """How a release says that it is rounded; None where it says nothing."""
    if "rounding_base" not in cells or not len(cells["rounding_base"]):
        return None
    base = text_of(cells["rounding_base"])[0]
    mode = text_of(cells["rounding_mode"])[0] if "rounding_mode" in cells else "conventional"
    if not base.isdigit() or int(base) < 2 or mode not in ("conventional", "controlled"):
        raise wrong(
            name,
            f"rounding_base is {base!r} and rounding_mode {mode!r}",
            "The base is a whole number from 2, the mode conventional or controlled.",
            "Z-DIS-035",
        )
    return Rounding(int(base), mode)


def structure_path(path: Path) -> Path:
    """Where the structure of a published file lies."""
    return path.with_name(f"{path.stem}.structure.csv")


def contradiction(name: str, examples: Sequence[str]) -> DisclosureError:
    """The error for a past that cannot be: what was shown does not fit what is now."""
    shown = f": {'; '.join(examples[:3])}" if examples else ""
    more = f" and {len(examples) - 3} more" if len(examples) > 3 else ""
    return wrong(
        name,
        f"what it shows cannot be under the declared relation{shown}{more}",
        "Set history.relation to what holds (free if records can also go), or correct the cells. "
        "Releases go oldest first.",
        "Z-DIS-036",
    )


@dataclass(frozen=True)
class Layer:
    """One release, or this table, on a grid of its own.

    Attributes:
        name: what errors call it.
        axes: its axes; dimensions that it lacks are left out.
        cells: number of the cell in the system at each place (grid); -1 where its value is known.
        fixed: the value where it is known (grid).
        there: whether the place was published at all, shown or hidden (grid).
    """

    name: str
    axes: tuple[Axis, ...]
    cells: Ints
    fixed: Floats
    there: Bools

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its dimensions."""
        return tuple(axis.name for axis in self.axes)

    def axis(self, name: str) -> Axis:
        """The axis of a dimension."""
        return next(axis for axis in self.axes if axis.name == name)


def _malformed(name: str, rule: str, remedy: str = "Pass it as zicht protect wrote it.") -> Any:
    return wrong(name, rule, remedy, "Z-DIS-035")


def _released_axes(released: Released, spec: Spec) -> tuple[Axis, ...]:
    name = released.name
    structure = {key: text_of(values) for key, values in released.structure.items()}
    if structure and not set(STRUCTURE) <= set(structure):
        raise _malformed(name, f"its structure lacks one of the columns {', '.join(STRUCTURE)}")
    rows = (
        list(zip(*(structure[key].tolist() for key in STRUCTURE), strict=True)) if structure else []
    )
    axes = []
    for dimension in spec.dimensions:
        if dimension.name not in released.cells:
            continue
        steps = [Step(*row[1:]) for row in rows if row[0] == dimension.name and row[4]]
        codes: dict[str, set[str]] = {dimension.name: set()}
        for step in steps:
            codes.setdefault(step.level, set()).add(step.code)
            codes.setdefault(step.parent_level, set()).add(step.parent)
        upper = {code for level, own in codes.items() if level != dimension.name for code in own}
        seen = set(text_of(released.cells[dimension.name]).tolist())
        inner = seen - upper - {dimension.total}
        if codes[dimension.name] and inner - codes[dimension.name]:
            unknown = sorted(inner - codes[dimension.name])
            raise _malformed(name, f"{dimension.name} {unknown[0]} is not in its structure")
        codes[dimension.name] |= inner
        check_levels(dimension, codes, steps, f"structure of {name}")
        axes.append(make_axis(dimension, codes, steps))
    if not axes:
        raise wrong(
            name,
            "it has none of the dimensions of the spec",
            f"Its columns are {', '.join(released.cells)}.",
            "Z-DIS-038",
        )
    return tuple(axes)


@dataclass(frozen=True)
class Past:
    """An earlier release, read: per place of its grid the value, nan when hidden or not there.

    Attributes:
        name: what errors call it.
        axes: its axes.
        values: shown values of ``measure`` (grid).
        hidden: published as hidden (grid).
        rounding: how the values are rounded; None for not at all.
    """

    name: str
    axes: tuple[Axis, ...]
    values: Floats
    hidden: Bools
    rounding: Rounding | None = None

    def at(self, table: Table) -> tuple[Ints, Ints]:
        """Cells that this release and ``table`` have under the same codes.

        Returns:
            positions in the table and in this release, both flat.
        """
        own = {axis.name: axis for axis in self.axes}
        here, there = [], []
        for axis in table.axes:
            if axis.name in own:
                codes = [code for code in axis.codes if code in own[axis.name].position]
                here.append([axis.position[code] for code in codes])
                there.append([own[axis.name].position[code] for code in codes])
            elif axis.total is not None:
                here.append([axis.position[axis.total]])
            else:
                here.append([])
        cells = np.arange(table.size).reshape(table.shape)[np.ix_(*here)].ravel()
        past = np.arange(self.values.size).reshape(self.values.shape)[np.ix_(*there)].ravel()
        return cells, past if len(cells) else np.zeros(0, dtype=np.int64)


def read_past(released: Released, spec: Spec, measure: str = "value") -> Past:
    """An earlier release on its grid.

    Args:
        measure: column with the values: ``value`` for counts, else the name of the magnitude.

    Raises:
        DisclosureError: Z-DIS-035 if it is malformed, Z-DIS-038 if it is about other dimensions.
    """
    name, cells = released.name, released.cells
    for column in ("value", "obs_status"):
        if column not in cells:
            raise _malformed(name, f"it has no column {column}")
    axes = _released_axes(released, spec)
    shape = tuple(len(axis) for axis in axes)
    places = [
        np.array([axis.position[code] for code in text_of(cells[axis.name]).tolist()])
        for axis in axes
    ]
    flat = np.ravel_multi_index(places, shape)
    if len(np.unique(flat)) < len(flat):
        raise _malformed(name, "a cell stands in it more than once")
    raw = cells[measure] if measure in cells else np.full(len(flat), np.nan)
    text = raw.dtype == object
    empty = np.array([not one.strip() for one in raw]) if text else np.isnan(raw.astype(float))
    status = text_of(cells["obs_status"])
    is_hidden = status == "Q"
    if measure == "value" and (is_hidden != empty).any():
        raise _malformed(name, "a hidden cell has a value, or a shown one has none")
    values, hidden = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    shown = ~empty
    values.ravel()[flat[shown]] = numbers_of(
        raw[shown], measure, name, whole=measure == "value", code="Z-DIS-035"
    )
    hidden.ravel()[flat[empty]] = True
    rounding = released.rounding or spec.history.rounding or spec.published_rounding
    if rounding is not None and (values[~np.isnan(values)] % rounding.base != 0).any():
        # It was not rounded after all: taking it for an interval would be too little.
        rounding = None
    return Past(name, axes, values, hidden, rounding if measure == "value" else None)


def _same_cells(past: Past, table: Table, spec: Spec) -> Ints:
    """Per place of a release the cell of the table that is the same fact; -1 for none.

    Only of releases of the same facts: equal codes, of the same innermost codes.
    """
    touched = {code for pair in spec.history.successors for code in pair}
    index = np.zeros(1, dtype=np.int64)
    own = {axis.name: axis for axis in past.axes}
    for axis in table.axes:
        if axis.name not in own:
            at = np.array([-1 if axis.total is None else axis.position[axis.total]])
        else:
            at = np.full(len(own[axis.name]), -1)
            then = _leaf_codes(own[axis.name])
            now = _leaf_codes(axis)
            for place, code in enumerate(own[axis.name].codes):
                if code in now and now[code] == then[code] and not now[code] & touched:
                    at[place] = axis.position[code]
        both = index[:, None] * len(axis) + at[None, :]
        index = np.where((index[:, None] < 0) | (at[None, :] < 0), -1, both).ravel()
    return index


def _leaf_codes(axis: Axis) -> dict[str, frozenset[str]]:
    inner = [axis.codes[int(at)] for at in axis.inner]
    return {
        code: frozenset(inner[int(at)] for at in leaves)
        for code, leaves in zip(axis.codes, axis.leaves, strict=True)
    }


def _layer(past: Past, extra: Extra, lower: float, same: Ints | None) -> Layer:
    """A release in the system: cells for what it hid, and its equations that hold one."""
    flat_values = past.values.ravel()
    cells = np.full(flat_values.size, -1, dtype=np.int64)
    if past.rounding is not None:
        # A rounded value is a cell of which the interval is known, not a constant.
        for place in np.flatnonzero(~np.isnan(flat_values)).tolist():
            made = np.array([int(flat_values[place])])
            low, high = implied(made, past.rounding.base, past.rounding.mode)
            cells[place] = extra.cell(lower=float(low[0]), upper=float(high[0]))
    bare = Table(past.axes, np.zeros(past.values.shape, dtype=np.int64), name=past.name)
    hidden = past.hidden.ravel()
    for place in np.flatnonzero(np.isnan(flat_values)).tolist():
        was_hidden = bool(hidden[place])
        if same is not None and same[place] >= 0:
            cells[place] = same[place]
            continue
        cells[place] = extra.cell(
            lower=lower if was_hidden else 0.0,
            guarded=was_hidden,
            name=f"{past.name}: {bare.label(place)}" if was_hidden else "",
        )
    fixed = np.where(cells >= 0, 0.0, flat_values)
    matrix = equations(past.axes)
    live = abs(matrix) @ (cells >= 0).astype(np.float64)
    constants = matrix @ fixed
    wrong_rows = np.flatnonzero(
        (live == 0) & (np.abs(constants) > 1e-6 * (1 + fixed.max(initial=0)))
    )
    if len(wrong_rows):
        raise contradiction(past.name, ["its own totals do not add up"])
    for row in np.flatnonzero(live).tolist():
        at = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        coef = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        own = cells[at]
        terms = [(int(c), float(a)) for c, a in zip(own, coef, strict=True) if c >= 0]
        extra.equation(terms, float(constants[row]))
    add_part_relations(past.axes, extra, cells, fixed)
    shape = past.values.shape
    there = past.hidden | ~np.isnan(past.values)
    return Layer(past.name, past.axes, cells.reshape(shape), fixed.reshape(shape), there)


def _given_codes(axis: Axis) -> list[str]:
    return [axis.codes[int(at)] for at in axis.given]


Group = tuple[list[str], list[str], list[tuple[str, str]]]
"""Earlier codes and later codes of the same units, and which of them overlap."""


def _groups(
    old: Axis, new: Axis, successors: Sequence[tuple[str, str]], names: tuple[str, str]
) -> list[Group]:
    """Which innermost codes of two moments hold the same units."""
    before, after = _given_codes(old), _given_codes(new)
    if set(before) == set(after):
        return [([code], [code], [(code, code)]) for code in before]
    gone = {a for a, _ in successors} & set(before)
    pairs = [(a, b) for a, b in dict.fromkeys(successors) if a in gone]
    pairs += [(code, code) for code in before if code not in gone]
    for code in sorted({b for _, b in pairs} - set(after)) + sorted(
        set(after) - {b for _, b in pairs}
    ):
        raise wrong(
            names[0],
            f"{old.name} {code} has no counterpart in {names[1]}",
            "Name what became of every code in history.successors (columns from and to).",
            "Z-DIS-037",
        )
    root = {("a", a): ("a", a) for a, _ in pairs} | {("b", b): ("b", b) for _, b in pairs}

    def find(one: tuple[str, str]) -> tuple[str, str]:
        while root[one] != one:
            one = root[one]
        return one

    for a, b in pairs:
        root[find(("b", b))] = find(("a", a))
    groups: dict[tuple[str, str], Group] = {}
    for a, b in sorted(pairs):
        olds, news, own = groups.setdefault(find(("a", a)), ([], [], []))
        own.append((a, b))
        if a not in olds:
            olds.append(a)
        if b not in news:
            news.append(b)
    return list(groups.values())


def _places(layer: Layer, picks: dict[str, list[int]]) -> Ints:
    """Flat places of a layer, one index list per dimension; its total where none is given."""
    index = []
    for axis in layer.axes:
        if axis.name in picks:
            index.append(picks[axis.name])
        elif axis.total is not None:
            index.append([axis.position[axis.total]])
        else:
            raise wrong(
                layer.name,
                f"it is by {axis.name} without a total, another release is not",
                "Compare releases over dimensions that they share, or that have totals.",
                "Z-DIS-038",
            )
    grid = np.arange(layer.cells.size).reshape(layer.cells.shape)
    return np.asarray(grid[np.ix_(*index)]).ravel()


def _regional(spec: Spec) -> str | None:
    return next((one.name for one in spec.dimensions if len(one.levels) > 1), None)


def _tie(old: Layer, new: Layer, spec: Spec, extra: Extra) -> None:
    """Relates every innermost cell of a release to the cells of the same units later."""
    history = spec.history
    shared = [name for name in old.names if name in new.names]
    regional = _regional(spec)
    groups: list[Group] = [([""], [""], [])]
    others: dict[str, list[str]] = {}
    for name in shared:
        if name == regional:
            found = _groups(
                old.axis(name), new.axis(name), history.successors, (old.name, new.name)
            )
            groups = found
            continue
        codes = _given_codes(old.axis(name))
        if set(codes) != set(_given_codes(new.axis(name))):
            raise wrong(
                old.name,
                f"its codes of {name} are not those of {new.name}",
                "Earlier releases must have the same categories; only the first dimension with a "
                "hierarchy can change, with history.successors.",
                "Z-DIS-038",
            )
        others[name] = codes

    def places(layer: Layer, code: str) -> Ints:
        picks = {
            name: [layer.axis(name).position[one] for one in codes]
            for name, codes in others.items()
        }
        if code and regional is not None:
            picks[regional] = [layer.axis(regional).position[code]]
        return _places(layer, picks)

    impossible: list[str] = []
    for olds, news, pairs in groups:
        before = [places(old, code) for code in olds]
        after = [places(new, code) for code in news]
        for at in range(len(before[0])):
            a = [(old, int(one[at])) for one in before]
            b = [(new, int(one[at])) for one in after]
            if len(a) > 1 and len(b) > 1:
                _relate_atoms(a, b, pairs, (olds, news), history, extra)
            elif not _relate(a, b, history, extra):
                impossible.append(_said(a, b))
    if impossible:
        raise contradiction(old.name, impossible)


Place = tuple[Layer, int]


def _said(a: Sequence[Place], b: Sequence[Place]) -> str:
    def one(places: Sequence[Place]) -> str:
        layer = places[0][0]
        bare = Table(layer.axes, np.zeros(layer.cells.shape, dtype=np.int64))
        values = sum(float(own.fixed.ravel()[at]) for own, at in places)
        return f"{'+'.join(bare.label(at) for _, at in places)} is {values:g} in {layer.name}"

    return f"{one(a)}, {one(b)}"


def _terms(places: Sequence[Place], sign: float) -> tuple[list[Term], float]:
    live = [
        (int(layer.cells.ravel()[at]), sign) for layer, at in places if layer.cells.ravel()[at] >= 0
    ]
    fixed = sum(
        float(layer.fixed.ravel()[at]) for layer, at in places if layer.cells.ravel()[at] < 0
    )
    return live, sign * fixed


def _summed(terms: Sequence[Term]) -> list[Term]:
    """Terms with each cell once; cells that cancel are left out."""
    whole: dict[int, float] = {}
    for cell, coef in terms:
        whole[cell] = whole.get(cell, 0.0) + coef
    return [(cell, coef) for cell, coef in whole.items() if coef]


def _relate(a: Sequence[Place], b: Sequence[Place], history: History, extra: Extra) -> bool:
    """Adds ``sum of b - sum of a - added == 0``; False if constants alone contradict it."""
    later, more = _terms(b, 1.0)
    earlier, less = _terms(a, -1.0)
    terms, constant = _summed(later + earlier), more + less
    tolerance = 1e-6 * (1.0 + abs(more))
    equal = history.relation == "equal"
    if not terms:
        return abs(constant) <= tolerance if equal else constant >= -tolerance
    if len(terms) == 1 and not (equal and terms[0][0] >= extra.first):
        number, sign = terms[0]
        if equal:
            # What was shown then is shown now, whatever this release does.
            extra.known.add(number)
        elif sign > 0 and number < extra.first:
            extra.floor[number] = max(extra.floor.get(number, 0.0), -constant)
        elif sign > 0:
            at = number - extra.first
            extra.lower[at] = max(extra.lower[at], -constant)
            return extra.lower[at] <= extra.upper[at]
        else:
            at = number - extra.first
            extra.upper[at] = min(extra.upper[at], constant)
            return extra.lower[at] <= extra.upper[at]
        return True
    if not equal:
        terms.append((extra.cell(), -1.0))
    extra.equation(terms, constant)
    return True


def _relate_atoms(
    a: Sequence[Place],
    b: Sequence[Place],
    pairs: Sequence[tuple[str, str]],
    codes: tuple[list[str], list[str]],
    history: History,
    extra: Extra,
) -> None:
    """Old and new are sums over their common refinement, where several became several."""
    atoms = {pair: extra.cell() for pair in pairs}
    added = {} if history.relation == "equal" else {pair: extra.cell() for pair in pairs}
    for number, place in enumerate(a):
        terms, constant = _terms([place], -1.0)
        own = [(atoms[pair], 1.0) for pair in pairs if pair[0] == codes[0][number]]
        extra.equation(own + terms, constant)
    for number, place in enumerate(b):
        terms, constant = _terms([place], -1.0)
        own = [(atoms[pair], 1.0) for pair in pairs if pair[1] == codes[1][number]]
        own += [
            (added[pair], 1.0) for pair in pairs if pair in added and pair[1] == codes[1][number]
        ]
        extra.equation(own + terms, constant)


def _later(layers: Sequence[Layer], number: int) -> Iterator[Layer]:
    """The release after this one, and the first that has all of its dimensions."""
    names = set(layers[number].names)
    following = layers[number + 1]
    yield following
    for layer in layers[number + 1 :]:
        if names <= set(layer.names):
            if layer is not following:
                yield layer
            return


def add_history(
    table: Table, values: Floats, pasts: Sequence[Past], spec: Spec, lower: float, extra: Extra
) -> None:
    """Ties a table to everything released before it, oldest first.

    Args:
        table: the table.
        values: true values of its cells (flat), in the measure of the releases.
        pasts: everything released before.
        spec: what is declared.
        lower: least value of a hidden cell of an earlier release.
        extra: gets the cells and equations.

    Raises:
        DisclosureError: Z-DIS-036 if the past contradicts itself or the table, Z-DIS-037 if units
            have no counterpart, Z-DIS-038 if shapes cannot be compared.
    """
    if not pasts or spec.history.relation == "free":
        return
    equal = spec.history.relation == "equal"
    layers = [
        _layer(past, extra, lower, _same_cells(past, table, spec) if equal else None)
        for past in pasts
    ]
    cells = np.arange(table.size).reshape(table.shape)
    here = np.ones(table.shape, dtype=bool)
    layers.append(Layer(table.name, table.axes, cells, np.zeros(table.shape), here))
    for number in range(len(pasts)):
        for later in _later(layers, number):
            _tie(layers[number], later, spec, extra)
    _check_floor(table, values, extra, pasts[-1].name)


def _check_floor(table: Table, values: Floats, extra: Extra, name: str) -> None:
    noise = 1e-6 * (1.0 + float(values.max(initial=0.0)))
    low = [cell for cell, least in sorted(extra.floor.items()) if least > values[cell] + noise]
    least = dict(extra.floor)
    for cell in extra.floor:
        # Sums of decimals carry noise, and a bound may not lie above the value itself.
        extra.floor[cell] = min(extra.floor[cell], float(values[cell]))
    if low:
        raise contradiction(
            name,
            [f"{table.label(cell)} was {least[cell]:g} and is {values[cell]:g}" for cell in low],
        )


# Comparing with what was published -------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A table beside its past, over cells with the same codes.

    Attributes:
        was_hidden: hidden in the last release.
        was_shown: shown in the last release.
        shown_value: value at which a cell was last shown in any release; nan if never.
    """

    was_hidden: Bools
    was_shown: Bools
    shown_value: Floats


def compare(table: Table, pasts: Sequence[Past]) -> Compared:
    """What the past says of each cell of a table (flat)."""
    n = table.size
    hidden, shown = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    value = np.full(n, np.nan)
    for number, past in enumerate(pasts):
        cells, places = past.at(table)
        old = past.values.ravel()[places]
        seen = ~np.isnan(old)
        if past.rounding is None:
            value[cells[seen]] = old[seen]
        if number == len(pasts) - 1:
            hidden[cells] = past.hidden.ravel()[places]
            shown[cells] = seen
    return Compared(hidden, shown, value)
