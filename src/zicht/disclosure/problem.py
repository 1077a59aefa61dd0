"""What the engine is asked: this table and everything known about it, as cells and equations.

The first cells are those of the table, in published order. Behind them come what is never
published: hidden cells of earlier releases, what late records added, atoms of re-divisions, the
slack between a total and its parts where these do not add up, and constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zicht.disclosure.spec import CellPolicy
from zicht.disclosure.tables import Axis, Bools, Floats, Ints, Table, equations, part_relations

Term = tuple[int, float]
"""A cell and its coefficient in an equation."""


@dataclass
class Extra:
    """Cells behind those of the table, and equations that tie them; grows while it is built.

    Attributes:
        first: number of cells of the table.
        lower, upper: what is known of each extra cell.
        value: value of each extra cell; nan where it follows from the rest.
        guarded: whether an extra cell may not become exactly recoverable.
        floor: larger lower bounds of cells of the table, by cell.
        known: cells of the table that an earlier release made public.
        names: what an extra cell that is guarded is called in messages.
    """

    first: int
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    guarded: list[bool] = field(default_factory=list)
    floor: dict[int, float] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    row: list[int] = field(default_factory=list)
    col: list[int] = field(default_factory=list)
    coef: list[float] = field(default_factory=list)
    n_rows: int = 0

    @property
    def size(self) -> int:
        """Number of all cells."""
        return self.first + len(self.value)

    def cell(
        self,
        value: float = np.nan,
        lower: float = 0.0,
        upper: float = np.inf,
        *,
        guarded: bool = False,
        name: str = "",
    ) -> int:
        """Adds a cell and returns its number."""
        number = self.size
        self.value.append(value)
        self.lower.append(lower)
        self.upper.append(upper)
        self.guarded.append(guarded)
        if name:
            self.names[number] = name
        return number

    def equation(self, terms: Sequence[Term], constant: float = 0.0) -> None:
        """Adds ``sum of terms + constant == 0``."""
        if constant:
            number = self.cell(abs(constant), abs(constant), abs(constant))
            terms = [*terms, (number, float(np.sign(constant)))]
        self.row += [self.n_rows] * len(terms)
        self.col += [cell for cell, _ in terms]
        self.coef += [coef for _, coef in terms]
        self.n_rows += 1


@dataclass(frozen=True)
class Problem:
    """The system of all cells, without what policy demands.

    Attributes:
        n: cells of the table; the rest is never published.
        matrix: equations by cells (csr_array).
        values, lower, upper: true values, and what is known of hidden cells.
        guarded: extra cells that may not become exactly recoverable (of the table: all False).
        known: cells of the table that an earlier release made public.
        names: what guarded extra cells are called.
    """

    n: int
    matrix: Any
    values: Floats
    lower: Floats
    upper: Floats
    guarded: Bools
    known: Bools
    names: dict[int, str]

    @property
    def size(self) -> int:
        """Number of cells, extra ones included."""
        return len(self.values)


def add_part_relations(axes: Sequence[Axis], extra: Extra, cells: Ints, fixed: Floats) -> None:
    """Ties totals that are not sums to their parts: at least each part, at most all together.

    Args:
        axes: the axes of the grid.
        extra: gets the slack.
        cells: number of the cell at each place of the grid; -1 where its value is fixed.
        fixed: value where it is fixed.
    """
    pairs, covers = part_relations(axes)
    relations: list[tuple[list[tuple[int, float]], float]] = [
        ([(total, 1.0), (part, -1.0)], -1.0) for total, part in pairs
    ]
    relations += [
        ([*((int(part), 1.0) for part in parts), (total, -1.0)], -1.0) for total, parts in covers
    ]
    for terms, slack in relations:
        live = [(int(cells[at]), coef) for at, coef in terms if cells[at] >= 0]
        constant = float(sum(coef * fixed[at] for at, coef in terms if cells[at] < 0))
        if live:
            extra.equation([*live, (extra.cell(), slack)], constant)


def make_problem(table: Table, values: Floats, lower: Floats, extra: Extra) -> Problem:
    """Puts the table and everything behind it together; unknown extra values are completed.

    Args:
        table: the table.
        values: values of its cells.
        lower: what is known of each when it is hidden.
        extra: what lies behind; its own relations within the table are added here.

    Raises:
        DisclosureError: Z-DIS-036 if earlier releases contradict the values.
    """
    import scipy.sparse as sparse

    n = table.size
    # Relations within the table have live cells only: nothing of it is fixed yet.
    add_part_relations(table.axes, extra, np.arange(n), np.zeros(0))
    own = equations(table.axes)
    tail = sparse.csr_array((extra.coef, (extra.row, extra.col)), shape=(extra.n_rows, extra.size))
    head = sparse.csr_array((own.data, own.indices, own.indptr), shape=(own.shape[0], extra.size))
    matrix = sparse.csr_array(sparse.vstack([head, tail], format="csr")) if extra.n_rows else head
    floor = lower.astype(np.float64).copy()
    for cell, least in extra.floor.items():
        floor[cell] = max(floor[cell], least)
    known = np.zeros(n, dtype=bool)
    known[sorted(extra.known)] = True
    low = np.concatenate([floor, np.array(extra.lower)])
    high = np.concatenate([np.full(n, np.inf), np.array(extra.upper)])
    full = np.concatenate([values, np.array(extra.value)])
    return Problem(
        n=n,
        matrix=matrix,
        values=complete(matrix, full, low, high, table.name),
        lower=low,
        upper=high,
        guarded=np.concatenate([np.zeros(n, dtype=bool), np.array(extra.guarded, dtype=bool)]),
        known=known,
        names=dict(extra.names),
    )


def complete(matrix: Any, values: Floats, lower: Floats, upper: Floats, name: str) -> Floats:
    """Fills in what earlier releases hid with any values that fit; what can be inferred is
    the same for all of them, because it follows from what was shown.

    Raises:
        DisclosureError: Z-DIS-036 if nothing fits.
    """
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    from scipy.optimize import Bounds, LinearConstraint, milp

    from zicht.disclosure.history import contradiction

    filled = np.where(unknown, 0.0, values)
    columns = matrix[:, np.flatnonzero(unknown)]
    rows = np.flatnonzero(np.diff(columns.indptr))
    columns, right = columns[rows], -(matrix @ filled)[rows]
    low, high = lower[unknown], upper[unknown]
    if (low > high).any():
        raise contradiction(name, [])
    tied = LinearConstraint(columns, right, right)
    found = milp(np.zeros(len(low)), bounds=Bounds(low, high), constraints=tied)
    if found.x is None:
        raise contradiction(name, [])
    solution = found.x
    if np.abs(solution - np.round(solution)).max(initial=0.0) > 1e-6:
        whole = milp(
            np.zeros(len(low)),
            integrality=np.ones(len(low), dtype=np.int64),
            bounds=Bounds(low, high),
            constraints=tied,
            options={"time_limit": 10.0},
        )
        solution = whole.x if whole.x is not None else solution
    rounded = np.round(solution)
    if np.abs(columns @ rounded - right).max(initial=0.0) < 1e-6:
        solution = rounded
    made = values.copy()
    made[unknown] = np.clip(solution, low, high)
    return made


def loss_of_hiding(table: Table, policy: CellPolicy) -> Floats:
    """What it costs to hide each cell, as policy says."""
    count = table.count.ravel().astype(np.float64)
    if policy.weight == "count":
        return np.ones(table.size)
    if policy.weight == "value":
        return count
    height = np.zeros(table.shape)
    for number, axis in enumerate(table.axes):
        own = axis.height.astype(np.float64)
        height += own.reshape([-1 if n == number else 1 for n in range(len(table.axes))])
    return np.asarray(count * (1.0 + height.ravel()))
