"""How far hidden cells can move: proofs that targets are met, and rows when they are not.

Movements are shifts away from the true table that keep every equation. A movement proves its
targets for every pattern that hides the cells it moves, so proofs are kept and outlive a round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from zicht.disclosure.secondary.lines import DOWN, EITHER, UP, Targets, capacity, rooms
from zicht.disclosure.secondary.solver import make_model
from zicht.disclosure.secondary.system import TOLERANCE, Bools, Floats, Ints, System

LARGE = 5000
"""Cells above which the first of a series of linear programs is presolved."""


UNBOUNDED = (
    highspy.HighsModelStatus.kUnbounded,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
)


@dataclass
class Proofs:
    """Movements found so far: which cells they move and which targets they prove."""

    cells: list[Ints] = field(default_factory=list)
    targets: list[Ints] = field(default_factory=list)

    def add(self, cells: Ints, targets: Ints) -> None:
        """Keeps one movement."""
        self.cells.append(cells)
        self.targets.append(targets)

    def extend(self, other: Proofs) -> None:
        """Takes over the movements of another collection."""
        self.cells += other.cells
        self.targets += other.targets

    def holds(self, hidden: Bools, size: int) -> Bools:
        """Per target whether a kept movement moves only hidden cells; others are forgotten."""
        proven = np.zeros(size, dtype=bool)
        if not self.cells:
            return proven
        starts = np.cumsum([0, *[len(c) for c in self.cells[:-1]]])
        valid = np.logical_and.reduceat(hidden[np.concatenate(self.cells)], starts)
        for k in np.flatnonzero(valid):
            proven[self.targets[k]] = True
        keep = np.flatnonzero(valid)
        self.cells = [self.cells[k] for k in keep]
        self.targets = [self.targets[k] for k in keep]
        return proven


def restrict(system: System, cells: Ints) -> csr_array:
    """The equations on these cells only, without the empty ones."""
    part = system.matrix[:, cells]
    return part[np.flatnonzero(np.diff(part.indptr))]


def scattered(
    system: System,
    hidden: Bools,
    targets: Targets,
    open_: Ints,
    seed: int,
) -> Proofs:
    """One linear program in a box of the size of the needs, pulled in random directions.

    Its corner moves a good part of all cells by their whole need at once.
    """
    rng, proofs = np.random.default_rng(seed), Proofs()
    cells = np.flatnonzero(hidden)
    where = np.full(system.size, -1)
    where[cells] = np.arange(len(cells))
    down_room, up_room = (room[cells] for room in rooms(system))
    matrix = restrict(system, cells)
    at = where[targets.cell[open_]]
    side, need = targets.side[open_], targets.need[open_]
    box = np.zeros(len(cells))
    np.maximum.at(box, at, need)
    box = np.where(box > 0, box, need.max())
    pull = rng.uniform(0.5, 1.5, len(open_)) / need
    sign = np.where(side == EITHER, np.where(rng.random(len(open_)) < 0.5, UP, DOWN), side)
    cost = np.zeros(len(cells))
    order = rng.permutation(len(open_))
    cost[at[order]] = (sign * pull)[order]
    zeros = np.zeros(matrix.shape[0])
    model = make_model(
        matrix,
        cost,
        -np.minimum(down_room, box),
        np.minimum(up_room, box),
        zeros,
        zeros,
        maximise=True,
        solver="simplex",
    )
    model.run()
    shift = np.asarray(model.getSolution().col_value)
    if len(shift) == len(cells):
        harvest(system, cells, shift, targets, open_, where, proofs)
    return proofs


def harvest(
    system: System,
    cells: Ints,
    shift: Floats,
    targets: Targets,
    open_: Ints,
    where: Ints,
    proofs: Proofs,
) -> Bools:
    """Splits a movement in its connected parts, stretches each and keeps what it proves.

    Returns:
        per open target whether it is proven.
    """
    down_room, up_room = (room[cells] for room in rooms(system))
    moved = np.flatnonzero(np.abs(shift) > 1e-7)
    found = np.zeros(len(open_), dtype=bool)
    if not len(moved):
        return found
    part = restrict(system, cells[moved])
    m = part.shape[0]
    entries = part.tocoo()
    graph = coo_array(
        (np.ones(len(entries.row)), (entries.row, m + entries.col)),
        shape=(m + len(moved), m + len(moved)),
    )
    label = connected_components(graph, directed=False)[1][m:]
    size = shift[moved]
    room = np.where(size > 0, up_room[moved], down_room[moved])
    stretch = np.full(label.max() + 1, np.inf)
    np.minimum.at(stretch, label, room / np.abs(size))
    stretch = np.where(np.isfinite(stretch), stretch, 1e9)
    full = np.zeros(len(cells))
    full[moved] = size * stretch[label]
    group = np.full(len(cells), -1)
    group[moved] = label
    at = where[targets.cell[open_]]
    side, need = targets.side[open_], targets.need[open_]
    movement = np.where(side == EITHER, np.abs(full[at]), side * full[at])
    # a target elsewhere has no place among these cells
    found = (at >= 0) & (movement >= need - TOLERANCE)
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(label.max() + 2))
    hit = np.flatnonzero(found)
    hit = hit[np.argsort(group[at[hit]], kind="stable")]
    labels = group[at[hit]]
    edges = np.flatnonzero(np.diff(labels)) + 1
    for chunk in np.split(hit, edges):
        if len(chunk):
            g = group[at[chunk[0]]]
            proofs.add(cells[moved[order[bounds[g] : bounds[g + 1]]]], open_[chunk])
    return found


class Single:
    """Warm linear programs, one target at a time, over a fixed set of hidden cells."""

    def __init__(self, system: System, cells: Ints) -> None:
        """Loads the equations on these hidden cells."""
        self.system = system
        self.cells = np.sort(cells)
        self.where = np.full(system.size, -1)
        self.where[self.cells] = np.arange(len(self.cells))
        down, up = rooms(system)
        self.down, self.up = down[self.cells], up[self.cells]
        part = system.matrix[:, self.cells]
        self.rows = np.flatnonzero(np.diff(part.indptr))
        zeros = np.zeros(len(self.rows))
        self.model: Any = make_model(
            part[self.rows],
            np.zeros(len(self.cells)),
            -self.down,
            self.up,
            zeros,
            zeros,
            maximise=True,
            presolve="on" if len(self.cells) > LARGE else "off",
            solver="simplex",
            simplex_strategy=4,
        )

    def freeze(self, cell: int) -> None:
        """Takes a cell out: it stands still from here on."""
        k = int(self.where[cell])
        self.down[k] = self.up[k] = 0.0
        self.model.changeColBounds(k, 0.0, 0.0)

    def move(self, cell: int, side: int, need: float) -> tuple[float, Floats, Floats]:
        """Farthest the cell moves to a side, at most ``need``.

        Returns:
            distance, the shifts of the cells, and multipliers on all equations that prove it.
        """
        k = int(self.where[cell])
        low, high = -self.down[k], self.up[k]
        if side == UP:
            self.model.changeColBounds(k, low, min(high, need))
        else:
            self.model.changeColBounds(k, max(low, -need), high)
        self.model.changeColCost(k, float(side))
        self.model.run()
        self.model.setOptionValue("presolve", "off")  # from here on the last basis is worth more
        solution = self.model.getSolution()
        status = self.model.getModelStatus()
        shift = np.asarray(solution.col_value)
        dual = np.asarray(solution.row_dual)
        self.model.changeColBounds(k, low, high)
        self.model.changeColCost(k, 0.0)
        multipliers = np.zeros(self.system.matrix.shape[0])
        multipliers[self.rows] = dual
        if status in UNBOUNDED:
            return np.inf, np.zeros(len(self.cells)), multipliers
        if status != highspy.HighsModelStatus.kOptimal:
            # not decided: nothing is proven, and no row follows
            return 0.0, np.zeros(len(self.cells)), np.zeros(len(multipliers))
        return side * float(shift[k]), shift, multipliers


def cut(
    system: System,
    shown: Bools,
    cell: int,
    side: int,
    need: float,
    multipliers: Floats,
) -> tuple[Ints, Floats] | None:
    """The covering row that multipliers give: other cells and their coefficients."""
    rows = np.flatnonzero(multipliers)
    total = system.matrix[rows].T @ multipliers[rows]
    own = total[cell]
    if abs(own) < 1e-9:
        return None
    ratio = -total / own * side
    ratio[np.abs(ratio) < 1e-9] = 0.0
    ratio[cell] = 0.0
    ratio[shown] = 0.0
    at = np.flatnonzero(ratio)
    down, up = rooms(system)
    coef = capacity(ratio[at], down[at], up[at], np.full(len(at), need))
    keep = coef > TOLERANCE
    return at[keep], coef[keep]


class Vicinity:
    """Small linear programs around a cell that give sharp covering rows.

    Only the equations near the cell are kept; what lies behind them may move freely within its
    room, so every row found is valid. Cells that are shown may move a very little bit, which makes
    the multipliers choose, among equals, those that ask for few other cells.
    """

    EDGE = 1e-3

    def __init__(self, system: System, shown: Bools, reach: int = 60, keep: bool = True) -> None:
        """Prepares the look-up of equations by cell."""
        self.system = system
        self.shown = shown
        self.reach = reach
        self.keep = keep
        self.columns = system.matrix.tocsc()
        self.length = np.diff(system.matrix.indptr)
        self.down, self.up = rooms(system)
        self.known: dict[int, tuple[Ints, Ints, csr_array]] = {}

    def region(self, cell: int, hidden: Bools, size: int) -> Ints:
        """Hidden cells around a cell, nearest first."""
        matrix, columns = self.system.matrix, self.columns
        found = [np.array([cell])]
        seen = np.zeros(self.system.size, dtype=bool)
        seen[cell] = True
        total = 1
        while total < size:
            last = found[-1]
            equations = np.unique(columns[:, last].indices)
            cells = np.unique(matrix[equations].indices)
            cells = cells[hidden[cells] & ~seen[cells]]
            if not len(cells):
                break
            found.append(cells)
            seen[cells] = True
            total += len(cells)
        return np.concatenate(found)[: 2 * size]

    def equations(self, cell: int) -> Ints:
        """Equations near a cell, by growing through short equations."""
        matrix, columns = self.system.matrix, self.columns
        own = columns.indices[columns.indptr[cell] : columns.indptr[cell + 1]]
        chosen = dict.fromkeys(int(e) for e in own)
        frontier = sorted(chosen, key=lambda e: (int(self.length[e]), e))
        while frontier and len(chosen) < self.reach:
            nxt: dict[int, None] = {}
            for e in frontier:
                for c in matrix.indices[matrix.indptr[e] : matrix.indptr[e + 1]]:
                    if self.shown[c]:
                        continue
                    for other in columns.indices[columns.indptr[c] : columns.indptr[c + 1]]:
                        if int(other) not in chosen and len(chosen) < self.reach:
                            chosen[int(other)] = None
                            nxt[int(other)] = None
            frontier = sorted(nxt, key=lambda e: (int(self.length[e]), e))
        return np.array(sorted(chosen), dtype=np.int64)

    def multipliers(self, x: Floats, cell: int, side: int, need: float) -> tuple[float, Floats]:
        """Distance that the vicinity allows under pattern x (may be fractional), and the proof."""
        rows, cells, part = self.window(cell)
        down, up = self.down[cells], self.up[cells]
        share = np.maximum(x[cells], self.EDGE)
        whole = share >= 1.0
        down = np.where(whole, down, share * np.minimum(down, need))
        up = np.where(whole, up, share * np.minimum(up, need))
        k = int(np.searchsorted(cells, cell))
        if side == UP:
            down[k], up[k] = self.down[cell], need
        else:
            down[k], up[k] = need, self.up[cell]
        cost = np.zeros(len(cells))
        cost[k] = side
        zeros = np.zeros(len(rows))
        model = make_model(
            part, cost, -down, up, zeros, zeros, maximise=True, presolve="off", solver="simplex"
        )
        model.run()
        solution = model.getSolution()
        multipliers = np.zeros(self.system.matrix.shape[0])
        multipliers[rows] = np.asarray(solution.row_dual)
        return side * float(solution.col_value[k]), multipliers

    def window(self, cell: int) -> tuple[Ints, Ints, csr_array]:
        """Equations near a cell, the cells on them that may be hidden, and the matrix of both."""
        if cell in self.known:
            return self.known[cell]
        rows = self.equations(cell)
        part = self.system.matrix[rows]
        cells = np.unique(part.indices).astype(np.int64)
        cells = cells[~self.shown[cells]]
        window = (rows, cells, csr_array(part[:, cells]))
        if self.keep:
            self.known[cell] = window
        return window
