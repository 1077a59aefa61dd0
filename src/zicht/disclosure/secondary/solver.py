"""A thin layer over HiGHS: a linear model in one go, warm re-solves, mixed-integer covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csr_array

from zicht.disclosure.secondary.system import Floats


def make_model(
    matrix: csr_array,
    cost: Floats,
    lower: Floats,
    upper: Floats,
    row_lower: Floats,
    row_upper: Floats,
    *,
    integer: bool = False,
    maximise: bool = False,
    **options: Any,
) -> Any:
    """A HiGHS instance that holds the model, single-threaded and silent."""
    lp = highspy.HighsLp()
    lp.num_col_ = matrix.shape[1]
    lp.num_row_ = matrix.shape[0]
    lp.col_cost_ = cost
    lp.col_lower_ = lower
    lp.col_upper_ = upper
    lp.row_lower_ = row_lower
    lp.row_upper_ = row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_ = matrix.indices.astype(np.int32)
    lp.a_matrix_.value_ = np.asarray(matrix.data, dtype=np.float64)
    if maximise:
        lp.sense_ = highspy.ObjSense.kMaximize
    if integer:
        lp.integrality_ = [highspy.HighsVarType.kInteger] * int(matrix.shape[1])
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in {"output_flag": False, "threads": 1, "random_seed": 1, **options}.items():
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    return solver


@dataclass(frozen=True)
class Cover:
    """An answer to a covering problem.

    Attributes:
        x: the pattern, rounded; empty when none was found.
        bound: proven lower bound on the objective.
        optimal: the gap was closed.
    """

    x: np.ndarray
    bound: float
    optimal: bool


def solve_cover(
    matrix: csr_array,
    floor: Floats,
    weight: Floats,
    lower: Floats,
    upper: Floats,
    *,
    seconds: float,
    gap: float = 1e-6,
    start: np.ndarray | None = None,
) -> Cover:
    """Cheapest 0/1 vector with ``matrix @ x >= floor``."""
    free = np.flatnonzero(lower < upper)
    fixed = lower * weight
    base = float(fixed[lower >= upper].sum())
    settled = np.where(lower < upper, 0.0, lower)
    rest = floor - matrix @ settled
    part = matrix[:, free]
    negative = np.minimum(part.data, 0.0)
    least = csr_array((negative, part.indices, part.indptr), shape=part.shape) @ np.ones(len(free))
    rows = np.flatnonzero(rest > least + 1e-9)
    x = settled.copy()
    if not len(rows):
        return Cover(x.astype(bool), base, True)
    model = make_model(
        part[rows],
        weight[free],
        np.zeros(len(free)),
        np.ones(len(free)),
        rest[rows],
        np.full(len(rows), highspy.kHighsInf),
        integer=True,
        time_limit=max(seconds, 0.05),
        mip_rel_gap=gap,
    )
    if start is not None:
        point = highspy.HighsSolution()
        point.col_value = list(start[free].astype(float))
        model.setSolution(point)
    model.run()
    status = model.getModelStatus()
    info = model.getInfo()
    bound = base + max(float(info.mip_dual_bound), 0.0)
    values = np.asarray(model.getSolution().col_value)
    if info.primal_solution_status != 2 or len(values) != len(free):
        return Cover(np.zeros(0, dtype=bool), bound, False)
    x[free] = np.round(values)
    return Cover(x.astype(bool), bound, status == highspy.HighsModelStatus.kOptimal)
