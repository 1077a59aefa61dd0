"""Greedy repair: for a target that is not proven, the movement that asks for the cheapest cells.

A linear program looks for a movement of the target around its cell, where hidden cells cost next
to nothing and other cells their weight per unit of movement (the incremental heuristic of Kelly,
Golden and Assad, Networks 22, 1992). The cells that it moves are hidden, and the movement itself
is the proof. It costs more weight than the cover, but it ends in a time that can be foreseen.
"""

from __future__ import annotations

import time
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csr_array, hstack

from zicht.disclosure.secondary.lines import DOWN, EITHER, UP, Targets, rooms
from zicht.disclosure.secondary.probe import Proofs, Vicinity, harvest
from zicht.disclosure.secondary.solver import make_model
from zicht.disclosure.secondary.system import Bools, Floats, Ints, System

WINDOW = 3000
CHEAP = 1e-4
MOVED = 1e-7


class Patch:
    """Warm linear programs over a set of cells that are hidden or may be: cheapest movements."""

    def __init__(self, system: System, cells: Ints, price: Floats) -> None:
        """Loads the equations that touch these cells; all other cells stand still."""
        self.system = system
        self.cells = np.sort(cells)
        self.where = np.full(system.size, -1)
        self.where[self.cells] = np.arange(len(self.cells))
        down, up = rooms(system)
        self.room = np.concatenate([up[self.cells], down[self.cells]])
        part = csr_array(system.matrix[:, self.cells])
        part = part[np.flatnonzero(np.diff(part.indptr))]
        zeros = np.zeros(part.shape[0])
        self.price = price[self.cells].copy()
        self.model: Any = make_model(
            csr_array(hstack([part, -part], format="csr")),
            np.tile(self.price, 2),
            np.zeros(2 * len(self.cells)),
            self.room,
            zeros,
            zeros,
            presolve="off",
            solver="simplex",
            simplex_strategy=1,
        )

    def freeze(self, cell: int) -> None:
        """Takes a cell out: it stands still from here on."""
        k = int(self.where[cell])
        for column in (k, k + len(self.cells)):
            self.room[column] = 0.0
            self.model.changeColBounds(column, 0.0, 0.0)

    def cheapen(self, price: Floats) -> None:
        """Takes over the prices of cells that have been hidden since."""
        mine = price[self.cells]
        for k in np.flatnonzero(mine != self.price):
            self.model.changeColCost(int(k), float(mine[k]))
            self.model.changeColCost(int(k) + len(mine), float(mine[k]))
        self.price = mine.copy()

    def move(self, cell: int, side: int, need: float) -> tuple[float, Floats] | None:
        """The cheapest movement of a cell by ``need`` to a side: its price and the shifts."""
        n, k = len(self.cells), int(self.where[cell])
        on, off = (k, k + n) if side == UP else (k + n, k)
        if self.room[on] < need:
            return None
        self.model.changeColBounds(on, need, need)
        self.model.changeColBounds(off, 0.0, 0.0)
        self.model.run()
        status = self.model.getModelStatus()
        values = np.asarray(self.model.getSolution().col_value)
        price = float(self.model.getInfo().objective_function_value)
        for column in (on, off):
            self.model.changeColBounds(column, 0.0, float(self.room[column]))
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        return price, values[:n] - values[n:]


def surroundings(near: Vicinity, cell: int, may: Bools, *, wide: bool) -> Ints:
    """Cells among which a movement of a cell can close, nearest first.

    The first step takes all cells on its equations; step k then only cells on k equations that
    are already touched: the corners that close squares, cubes and so on.

    Args:
        wide: go on with what lies around that, up to the size of a window.
    """
    matrix, columns = near.system.matrix, near.columns
    score = np.zeros(near.system.size, dtype=np.int64)
    seen = np.zeros(near.system.size, dtype=bool)
    touched = np.zeros(matrix.shape[0], dtype=bool)
    seen[cell] = True
    found = [np.array([cell], dtype=np.int64)]
    total, step = 1, 0
    while total < WINDOW:
        step += 1
        fresh = np.unique(columns[:, found[-1]].indices)
        fresh = fresh[~touched[fresh]]
        if len(fresh):
            touched[fresh] = True
            score += np.bincount(matrix[fresh].indices, minlength=len(score))
        level = np.flatnonzero((score >= step) & may & ~seen)
        if not len(level) and wide and step > 1:
            step = 0  # closed; on with what lies around it
            continue
        if not len(level):
            break
        level = level[np.argsort(-score[level], kind="stable")][: WINDOW - total]
        found.append(level)
        seen[level] = True
        total += len(level)
    return np.concatenate(found)


def mend(
    system: System,
    hidden: Bools,
    shown: Bools,
    weight: Floats,
    targets: Targets,
    todo: Ints,
    near: Vicinity,
    soon: float = np.inf,
    until: float = np.inf,
) -> tuple[Bools, Proofs, list[int]]:
    """Hides around each of these targets what its cheapest movement moves.

    Args:
        soon: moment of the monotonic clock after which smaller, dearer vicinities do.
        until: moment after which nothing more is tried.

    Returns:
        a pattern that hides more, the movements, and the targets for which none was found nearby.
    """
    hidden, proofs = hidden.copy(), Proofs()
    may = ~shown
    down, up = rooms(system)
    typical = float(np.median(targets.need[todo]))
    unit = weight / np.maximum(np.minimum(np.maximum(down, up), typical), 1.0)
    price = np.where(hidden, 0.0, unit) + CHEAP
    done = np.zeros(len(targets), dtype=bool)
    inner = np.zeros(system.size, dtype=bool)
    by_cell = np.argsort(targets.cell, kind="stable")
    edge = np.searchsorted(targets.cell[by_cell], np.arange(system.size + 1))
    queue = [int(target) for target in todo]
    asked = set(queue)
    failed = []
    patch: Patch | None = None
    at = 0
    while at < len(queue):
        target = queue[at]
        at += 1
        cell, need = int(targets.cell[target]), float(targets.need[target])
        if done[target]:
            continue
        if time.monotonic() > until:
            failed.append(target)
            continue
        if patch is None or not inner[cell]:
            around = surroundings(near, cell, may, wide=time.monotonic() < soon)
            inner[:] = False
            inner[around[: max(len(around) // 2, 1)]] = True
            patch = Patch(system, around, price)
        side = int(targets.side[target])
        tried = [patch.move(cell, way, need) for way in ((UP, DOWN) if side == EITHER else (side,))]
        found = [one for one in tried if one is not None]
        if not found:
            failed.append(target)
            continue
        shift = min(found, key=lambda one: one[0])[1]
        moved = patch.cells[np.abs(shift) > MOVED]
        new = moved[~hidden[moved]]
        hidden[new] = True
        price[new] = CHEAP
        patch.cheapen(price)
        mine = np.concatenate([by_cell[edge[c] : edge[c + 1]] for c in moved])
        mine = mine[~targets.settled[mine] & ~done[mine]]
        done[mine[harvest(system, patch.cells, shift, targets, mine, patch.where, proofs)]] = True
        # a cell that moved by less than its own need becomes a target of its own
        for cell in new:
            for one in by_cell[edge[cell] : edge[cell + 1]]:
                if not (done[one] or targets.settled[one] or int(one) in asked):
                    asked.add(int(one))
                    queue.insert(at, int(one))
        if not done[target]:
            failed.append(target)
    return hidden, proofs, failed


def trim(hidden: Bools, always: Bools, weight: Floats, targets: Targets, proofs: Proofs) -> Bools:
    """Shows again, dearest first, the cells without which every target keeps a movement."""
    hidden = hidden.copy()
    proofs.holds(hidden, len(targets))
    if not proofs.cells:
        return hidden
    sizes = [len(cells) for cells in proofs.cells]
    member = csr_array(
        (
            np.ones(sum(sizes), dtype=np.int8),
            (np.concatenate(proofs.cells), np.repeat(np.arange(len(sizes)), sizes)),
        ),
        shape=(len(hidden), len(sizes)),
    )
    count = np.zeros(len(targets), dtype=np.int64)
    for proven in proofs.targets:
        count[proven] += 1
    alive = np.ones(len(sizes), dtype=bool)
    needed = ~targets.settled
    secondary = np.flatnonzero(hidden & ~always)
    for cell in secondary[np.argsort(-weight[secondary], kind="stable")]:
        used = member.indices[member.indptr[cell] : member.indptr[cell + 1]]
        used = used[alive[used]]
        if len(used):
            lost, times = np.unique(
                np.concatenate([proofs.targets[k] for k in used]), return_counts=True
            )
            matter = needed[lost] & hidden[targets.cell[lost]] & (targets.cell[lost] != cell)
            if np.any(count[lost[matter]] <= times[matter]):
                continue
            count[lost] -= times
            alive[used] = False
        hidden[cell] = False
    return hidden
