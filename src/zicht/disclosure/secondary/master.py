"""The covering problem: a relaxation, and integer programs on what the relaxation leaves open.

The linear relaxation is nearly integral. Columns with a large reduced cost are left out; the rest
falls apart in many small problems that are solved to the end. Leaving a column out costs nothing
when even the relaxation pays more than the answer for it, so the bound stays valid.
"""

from __future__ import annotations

import time

import highspy
import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from zicht.disclosure.secondary.share import share
from zicht.disclosure.secondary.solver import Cover, make_model, solve_cover
from zicht.disclosure.secondary.system import Bools, Floats, Ints

SMALL = 1500


def solve_master(
    matrix: csr_array,
    floor: Floats,
    weight: Floats,
    lower: Bools,
    upper: Bools,
    *,
    seconds: float,
    width: float,
    start: Bools | None,
    processes: int,
) -> Cover:
    """Cheap 0/1 vector with ``matrix @ x >= floor``, between lower and upper.

    Args:
        width: columns that take part in the integer programs, as a multiple of those that the
            relaxation uses.
        start: a pattern that meets the rows, if one is known; its columns always take part.
    """
    began = time.monotonic()
    free = np.flatnonzero(~lower & upper)
    settled = lower.astype(np.float64)
    rest = floor - matrix @ settled
    part = csr_array(matrix[:, free])
    rows = unsettled(part, rest)
    part, rest = part[rows], rest[rows]
    base = float(weight[lower].sum())
    if not len(rows):
        return Cover(lower.copy(), base, True)
    cost = weight[free]
    model = make_model(
        part,
        cost,
        np.zeros(len(free)),
        np.ones(len(free)),
        rest,
        np.full(len(rest), highspy.kHighsInf),
        solver="simplex",
        presolve="off",
        time_limit=max(seconds, 1.0),
    )
    model.run()
    solved = model.getModelStatus() == highspy.HighsModelStatus.kOptimal
    solution = model.getSolution()
    x, price = np.asarray(solution.col_value), np.asarray(solution.col_dual)
    if not solved or len(x) != len(free):
        return solve_cover(
            matrix,
            floor,
            weight,
            lower.astype(float),
            upper.astype(float),
            seconds=seconds,
            start=start,
        )
    relaxed = float(model.getInfo().objective_function_value)
    support = x > 1e-6
    if start is not None:
        support |= start[free]
    count = int(min(max(SMALL, width * support.sum()), len(free)))
    order = np.lexsort((price, ~support))
    taken = np.sort(order[:count])
    left = order[count:]
    left_price = float(price[left].min()) if len(left) else np.inf
    answer = solve_parts(
        csr_array(part[:, taken]),
        rest,
        cost[taken],
        seconds=max(seconds - (time.monotonic() - began), 1.0),
        start=None if start is None else start[free[taken]],
        processes=processes,
    )
    bound = max(relaxed, min(answer.bound, relaxed + max(left_price, 0.0)))
    if not len(answer.x):
        if np.isfinite(width):
            return solve_master(
                matrix,
                floor,
                weight,
                lower,
                upper,
                seconds=seconds,
                width=np.inf,
                start=start,
                processes=processes,
            )
        return Cover(answer.x, base + bound, False)
    pattern = lower.copy()
    pattern[free[taken]] = answer.x
    return Cover(pattern, base + bound, answer.optimal and bound >= answer.bound - 1e-6)


def unsettled(part: csr_array, rest: Floats) -> Ints:
    """Rows that some choice of the columns does not meet."""
    least = csr_array(
        (np.minimum(part.data, 0.0), part.indices, part.indptr), shape=part.shape
    ) @ np.ones(part.shape[1])
    return np.flatnonzero(rest > least + 1e-9)


def solve_parts(
    part: csr_array,
    rest: Floats,
    cost: Floats,
    *,
    seconds: float,
    start: Bools | None,
    processes: int,
) -> Cover:
    """Solves the unconnected parts of a covering problem each on its own."""
    rows = unsettled(part, rest)
    part, rest = csr_array(part[rows]), rest[rows]
    n, m = part.shape[1], part.shape[0]
    entries = part.tocoo()
    graph = coo_array((np.ones(entries.nnz), (entries.col, n + entries.row)), shape=(n + m, n + m))
    count, label = connected_components(graph, directed=False)
    column_label, row_label = label[:n], label[n:]
    size = np.bincount(row_label, minlength=count)
    busy = np.flatnonzero(size)
    # batches of about equal work; a batch is solved as one problem when its parts are tiny
    batches: list[list[Ints]] = [[], []]
    load = [0.0, 0.0]
    tiny: list[int] = []
    weight = 0
    groups: list[list[int]] = []
    for k in busy[np.argsort(-size[busy], kind="stable")]:
        if size[k] > 60:
            groups.append([int(k)])
            continue
        tiny.append(int(k))
        weight += int(size[k])
        if weight > 150:
            groups.append(tiny)
            tiny, weight = [], 0
    if tiny:
        groups.append(tiny)
    for group in groups:
        work = float(size[group].sum()) ** 1.3
        side = 0 if load[0] <= load[1] else 1
        load[side] += work
        batches[side].append(np.array(group))
    # stable order of columns and rows per label
    by_column, by_row = (
        np.argsort(column_label, kind="stable"),
        np.argsort(row_label, kind="stable"),
    )
    column_edge = np.searchsorted(column_label[by_column], np.arange(count + 1))
    row_edge = np.searchsorted(row_label[by_row], np.arange(count + 1))
    deadline = time.monotonic() + seconds

    def work_on(batch: list[Ints]) -> list[tuple[Ints, Bools, float, bool]]:
        answers = []
        for group in batch:
            columns = np.concatenate(
                [by_column[column_edge[k] : column_edge[k + 1]] for k in group]
            )
            its_rows = np.concatenate([by_row[row_edge[k] : row_edge[k + 1]] for k in group])
            ones = np.ones(len(columns))
            answer = solve_cover(
                csr_array(part[its_rows][:, columns]),
                rest[its_rows],
                cost[columns],
                0 * ones,
                ones,
                seconds=max(deadline - time.monotonic(), 0.5),
                start=None if start is None else start[columns],
            )
            answers.append((columns, answer.x, answer.bound, answer.optimal))
        return answers

    many = processes if m > 1500 else 1
    x = np.zeros(n, dtype=bool)
    bound, optimal = 0.0, True
    for answers in share(work_on, batches, many):
        for columns, chosen, least, done in answers:
            if not len(chosen):
                if start is None:
                    return Cover(np.zeros(0, dtype=bool), 0.0, False)
                chosen, done = start[columns], False
            x[columns] = chosen
            bound += least
            optimal &= done
    return Cover(x, bound, optimal)
