"""Why a cell is hidden and what can be inferred about it: internal, never published."""

from __future__ import annotations

from typing import Any

import numpy as np

from zicht.disclosure.suppressing import Outcome
from zicht.disclosure.tables import Bools, Floats, Ints

MOST_SHIELDED = 5
"""A secondary cell is explained by at most this many primary ones."""

KEPT = "stable"
SHIELD = "secondary"


def shielded(matrix: Any, hidden: Bools, primary: Bools, cells: Ints) -> dict[int, list[int]]:
    """Per secondary cell the nearest primary cells that it shields.

    Near is: in a line with it; otherwise over as few lines of hidden cells as possible.

    Args:
        matrix: equations by cells.
        hidden: all hidden cells.
        primary: primary cells.
        cells: the cells asked about.
    """
    ties = (matrix[:, np.flatnonzero(hidden)] != 0).astype(np.int8)
    where = np.flatnonzero(hidden)
    place = np.full(len(hidden), -1)
    place[where] = np.arange(len(where))
    by_cell, by_line = ties.tocsc(), ties.tocsr()
    is_primary = primary[where]
    found: dict[int, list[int]] = {}
    for cell in cells.tolist():
        seen = {int(place[cell])}
        edge = [int(place[cell])]
        nearest: list[int] = []
        while edge and not nearest:
            step: list[int] = []
            for one in edge:
                for line in by_cell.indices[by_cell.indptr[one] : by_cell.indptr[one + 1]]:
                    for mate in by_line.indices[by_line.indptr[line] : by_line.indptr[line + 1]]:
                        if int(mate) not in seen:
                            seen.add(int(mate))
                            step.append(int(mate))
            nearest = sorted(int(where[one]) for one in step if is_primary[one])
            edge = step
        found[cell] = nearest[:MOST_SHIELDED]
    return found


def intervals_of(outcome: Outcome, cells: Ints) -> tuple[Floats, Floats]:
    """What an attacker can infer of hidden counts, past releases included."""
    from zicht.disclosure.secondary import System, intervals

    problem = outcome.problem
    hidden = np.concatenate([outcome.hidden, np.ones(problem.size - problem.n, dtype=bool)])
    constant = problem.lower == problem.upper
    hidden[problem.n :] &= ~constant[problem.n :]
    system = System(problem.matrix, problem.values, problem.lower, problem.upper)
    low, high = intervals(system, hidden, cells)
    return low, high


def explain(outcome: Outcome) -> dict[str, list[Any]]:
    """Columns of the internal explanation: one row per hidden cell, in published order.

    Dimension columns, ``value``, ``kind`` (primary or secondary), ``rules`` (what hit, joined by a
    comma; ``secondary`` or ``stable`` for the others), ``shields`` (primary cells, joined by a
    semicolon), ``lower`` and ``upper`` (what can be inferred; upper empty for no bound), and with
    a magnitude its ``largest_share`` of the sum.
    """
    table = outcome.table
    cells = np.flatnonzero(outcome.hidden)
    primary = outcome.primary.cells.ravel()
    low, high = intervals_of(outcome, cells) if len(cells) else (np.zeros(0), np.zeros(0))
    secondary = cells[~primary[cells]]
    matrix = outcome.problem.matrix[:, : table.size]
    shields = shielded(matrix, outcome.hidden, primary, secondary)
    keys = table.key_columns()
    columns: dict[str, list[Any]] = {
        name: [own[cell] for cell in cells.tolist()] for name, own in keys.items()
    }
    count = table.count.ravel()
    columns["value"] = [int(count[cell]) for cell in cells.tolist()]
    columns["kind"] = ["primary" if primary[cell] else "secondary" for cell in cells.tolist()]
    columns["rules"] = [
        ",".join(outcome.primary.rules_of(cell)) or (KEPT if outcome.kept[cell] else SHIELD)
        for cell in cells.tolist()
    ]
    columns["shields"] = [
        ";".join(table.label(one) for one in shields.get(cell, ())) for cell in cells.tolist()
    ]
    # Bounds of whole numbers; what the solver leaves as noise is taken off.
    columns["lower"] = [float(np.ceil(one - 1e-6)) for one in low.tolist()]
    columns["upper"] = [
        float(np.floor(one + 1e-6)) if np.isfinite(one) else None for one in high.tolist()
    ]
    if table.magnitudes is not None:
        total = table.magnitudes.total.ravel()
        largest = table.magnitudes.largest.ravel()
        columns["largest_share"] = [
            round(float(largest[cell] / total[cell]), 4) if total[cell] else None
            for cell in cells.tolist()
        ]
    return columns
