"""Targets (what each hidden cell needs) and the covering rows that single equations give.

A pattern is a 0/1 vector x (1 = hidden). A target says: when cell p is hidden, it must be able to
move by ``need`` in a direction. For any multipliers on the equations, the movement of p is at most
a weighted sum of the rooms of the other hidden cells, so a row ``sum coef[c] x[c] >= need x[p]``
must hold: the capacity constraints of Fischetti and Salazar-González (Management Science 47,
2001). Multipliers on one equation give the rows made here; they cost nothing and make the
relaxation sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array

from zicht.disclosure.secondary.system import (
    TOLERANCE,
    Bools,
    Demand,
    Floats,
    Ints,
    System,
)

UP, DOWN, EITHER = 1, -1, 0


@dataclass
class Targets:
    """Movements that hidden cells need, one entry per target.

    Attributes:
        cell: cell of the target.
        side: UP, DOWN, or EITHER (a move by one unit in either direction).
        need: length of the movement.
        settled: met by the cells that are always hidden, or given up; never looked at again.
        wanted: the value that was asked for, before anything was given up.
    """

    cell: Ints
    side: Ints
    need: Floats
    settled: Bools
    wanted: Floats

    def __len__(self) -> int:
        return len(self.cell)


@dataclass
class Rows:
    """Covering rows ``matrix @ x >= floor``."""

    matrix: csr_array
    floor: Floats


def make_targets(system: System, demand: Demand) -> Targets:
    """Every target that a pattern could have to meet, ordered by cell and side."""
    v = system.values
    up = np.where(demand.hidden & ~np.isnan(demand.high), demand.high - v, 0.0)
    down = np.where(demand.hidden & ~np.isnan(demand.low), v - demand.low, 0.0)
    has_up, has_down = up > TOLERANCE, down > TOLERANCE
    unit = demand.unit
    moved = (has_up & (up >= unit)) | (has_down & (down >= unit))
    either = demand.guarded & ~demand.shown
    cells = [np.flatnonzero(has_up), np.flatnonzero(has_down), np.flatnonzero(either)]
    side = np.repeat([UP, DOWN, EITHER], [len(c) for c in cells])
    cell = np.concatenate(cells)
    need = np.concatenate([up[cells[0]], down[cells[1]], np.full(len(cells[2]), unit)])
    wanted = np.concatenate([demand.high[cells[0]], demand.low[cells[1]], v[cells[2]]])
    order = np.lexsort((side, cell))
    return Targets(
        cell[order].astype(np.int64),
        side[order].astype(np.int64),
        need[order],
        ((side == EITHER) & moved[cell])[order],
        wanted[order],
    )


def rooms(system: System) -> tuple[Floats, Floats]:
    """How far each cell can move down and up when hidden."""
    return system.values - system.lower, system.upper - system.values


def line_rows(
    system: System, demand: Demand, targets: Targets, chosen: Ints
) -> tuple[csr_array, Floats, Ints, Ints]:
    """One row per target and equation of its cell.

    Rows that the always hidden cells meet are left out.

    Returns:
        matrix with in each row the coefficients of the other cells (capped at the need), and the
        need, the cell and the target of each row.
    """
    matrix: csr_array = system.matrix
    columns: csc_array = matrix.tocsc()
    down_room, up_room = rooms(system)
    free = ~demand.shown
    # a sum that the always hidden cells reach in every direction: most equations stop here
    surely = np.where(demand.hidden, np.minimum(down_room, up_room), 0.0)
    surely = np.where(np.isfinite(surely), surely, 1e12)
    reach = abs(matrix) @ np.minimum(surely, 1e12)
    cell = targets.cell[chosen]
    counts = np.diff(columns.indptr)[cell]
    pair_target = np.repeat(chosen, counts)
    pair_cell = np.repeat(cell, counts)
    offset = np.arange(len(pair_cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = columns.indptr[pair_cell] + offset
    pair_row = columns.indices[position]
    pair_coef = np.asarray(columns.data[position], dtype=np.float64)
    need = targets.need[pair_target]
    keep = reach[pair_row] - np.abs(pair_coef) * surely[pair_cell] < need * np.abs(pair_coef)
    pair_target, pair_cell, pair_row, pair_coef, need = (
        part[keep] for part in (pair_target, pair_cell, pair_row, pair_coef, need)
    )
    length = np.diff(matrix.indptr)[pair_row]
    pair = np.repeat(np.arange(len(pair_row)), length)
    offset = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
    position = matrix.indptr[pair_row[pair]] + offset
    other = matrix.indices[position]
    ratio = -np.asarray(matrix.data[position], dtype=np.float64) / pair_coef[pair]
    keep = free[other] & (other != pair_cell[pair])
    pair, other, ratio = pair[keep], other[keep], ratio[keep]
    side = targets.side[pair_target]
    cap = need[pair]
    upward = capacity(ratio, down_room[other], up_room[other], cap)
    downward = capacity(-ratio, down_room[other], up_room[other], cap)
    can_up = (side >= 0) & (up_room[pair_cell] >= need - TOLERANCE)
    can_down = (side <= 0) & (down_room[pair_cell] >= need - TOLERANCE)
    coef = np.maximum(np.where(can_up[pair], upward, 0.0), np.where(can_down[pair], downward, 0.0))
    keep = coef > TOLERANCE
    rows = csr_array((coef[keep], (pair[keep], other[keep])), shape=(len(pair_row), system.size))
    unmet = rows @ demand.hidden.astype(np.float64) < need - TOLERANCE
    return rows[np.flatnonzero(unmet)], need[unmet], pair_cell[unmet], pair_target[unmet]


def capacity(ratio: Floats, down_room: Floats, up_room: Floats, need: Floats) -> Floats:
    """What hidden cells add to a movement: their room the helping way, at most the need."""
    with np.errstate(invalid="ignore"):
        most = np.where(ratio > 0, ratio * up_room, -ratio * down_room)
    return np.where(ratio == 0, 0.0, np.minimum(most, need))
