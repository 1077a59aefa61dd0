"""Linear programs over one component of the system, and what is known of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np
import numpy.typing as npt
from scipy import sparse

from zicht.attacker.propagation import TOLERANCE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Goal:
    """What is asked about each variable.

    Attributes:
        exact: [n] whether it can be recovered exactly.
        interval: [n] its whole interval.
        reach: [n] whether it can be this large; nan where that is not asked.
    """

    exact: Bools
    interval: Bools
    reach: Floats

    def asked(self) -> Bools:
        """[n] whether anything is asked."""
        return np.asarray(self.exact | self.interval | ~np.isnan(self.reach))

    def at(self, variables: Ints) -> Goal:
        """The same for some of the variables."""
        return Goal(self.exact[variables], self.interval[variables], self.reach[variables])


def is_recovered(lower: Floats, upper: Floats, *, whole: bool) -> Bools:
    """Whether an interval leaves one value: ⌈lower⌉ = ⌊upper⌋, or for amounts no width."""
    if whole:
        return np.asarray(np.ceil(lower - TOLERANCE) >= np.floor(upper + TOLERANCE))
    return np.asarray(upper - lower <= TOLERANCE * np.maximum(1.0, np.abs(lower)))


@dataclass(eq=False)
class Component:
    """One block of the system: bounds on ``matrix @ x`` per row and on x per variable."""

    variables: Ints
    rows: Ints
    matrix: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    is_whole: bool


class Program:
    """A linear program over one component that is solved for many objectives, warm each time."""

    def __init__(self, block: Component, *, integer: bool = False) -> None:
        self.block = block
        self.n_solved = 0
        self._integer = integer
        known = np.concatenate([block.row_lower, block.row_upper, block.lower, block.upper])
        known = known[np.isfinite(known)]
        # A corner of the feasible set is a sum of what is known, each at most once (the signs are
        # 1 and -1); a value that goes far beyond all of it together has no upper end.
        self._together = float(np.abs(known).sum())
        self._beyond = 1e4 + 10 * self._together
        self._highs = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in {
            "output_flag": False,
            "threads": 1,
            "presolve": "on" if integer else "off",
            "random_seed": 1,
        }.items():
            self._highs.setOptionValue(option, value)
        if not integer:
            self._highs.setOptionValue("solver", "simplex")
        else:
            self._highs.setOptionValue("mip_rel_gap", 0.0)
            self._highs.setOptionValue("mip_abs_gap", 0.5)
        model = highspy.HighsLp()
        m, n = block.matrix.shape
        model.num_col_, model.num_row_ = n, m
        model.col_cost_ = np.zeros(n)
        model.col_lower_ = block.lower
        model.col_upper_ = np.minimum(block.upper, self._beyond)
        model.row_lower_ = block.row_lower
        model.row_upper_ = block.row_upper
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = block.matrix.indptr
        model.a_matrix_.index_ = block.matrix.indices
        model.a_matrix_.value_ = block.matrix.data
        if integer:
            model.integrality_ = [highspy.HighsVarType.kInteger] * n
        self._highs.passModel(model)
        self._every = np.arange(n, dtype=np.int32)

    def minimise(self, cost: Floats) -> Floats | None:
        """[n] a solution of least cost; None if there is no solution at all."""
        self._highs.changeColsCost(len(cost), self._every, cost)
        return self._run()

    def end(self, variable: int, *, upwards: bool) -> Floats | None:
        """[n] a solution in which one variable is as large (or as small) as it can be."""
        self._highs.changeColCost(variable, -1.0 if upwards else 1.0)
        found = self._run()
        self._highs.changeColCost(variable, 0.0)
        return found

    def clear(self) -> None:
        """Sets all costs to zero."""
        self._highs.changeColsCost(len(self._every), self._every, np.zeros(len(self._every)))

    def _run(self) -> Floats | None:
        self._highs.run()
        self.n_solved += 1
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            # Numerical trouble from a warm start is not infeasibility: ask once more from nothing.
            self._highs.clearSolver()
            self._highs.run()
            if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                return None
        if not self._integer:
            # From here on the last solution is feasible for every objective: primal simplex.
            self._highs.setOptionValue("simplex_strategy", 4)
        found = np.asarray(self._highs.getSolution().col_value, dtype=np.float64)
        endless = np.isinf(self.block.upper) & (found > 1e3 + 2 * self._together)
        return np.where(endless, np.inf, found)

    def proof(self) -> tuple[int, ...]:
        """Rows (of the block) that prove that the last solution is optimal."""
        dual = np.asarray(self._highs.getSolution().row_dual, dtype=np.float64)
        return tuple(int(i) for i in np.flatnonzero(np.abs(dual) > TOLERANCE))


@dataclass(eq=False)
class Search:
    """What is known about one component so far.

    Attributes:
        block: the component.
        goal: what is asked, per variable of the component.
        lower: [n] proven lower end.
        upper: [n] proven upper end.
        seen_lower: [n] lowest value seen in a solution.
        seen_upper: [n] highest value seen in a solution.
        evidence: per variable of the system the rows that prove its interval.
        n_programs: programs that were solved.
    """

    block: Component
    goal: Goal
    lower: Floats
    upper: Floats
    seen_lower: Floats
    seen_upper: Floats
    evidence: dict[int, tuple[int, ...]] = field(default_factory=dict)
    n_programs: int = 0

    def learn(self, solution: Floats) -> None:
        """Takes note of the values in one solution."""
        np.minimum(self.seen_lower, solution, out=self.seen_lower)
        np.maximum(self.seen_upper, solution, out=self.seen_upper)

    def is_open_exact(self) -> Bools:
        """[n] whether it is not known yet if a cell can be recovered."""
        whole = self.block.is_whole
        safe = ~is_recovered(self.seen_lower, self.seen_upper, whole=whole)
        found = is_recovered(self.lower, self.upper, whole=whole)
        return np.asarray(self.goal.exact & ~safe & ~found)

    def open_ends(self) -> tuple[Bools, Bools]:
        """Which variables must be pushed up, and which down, to answer what is asked."""
        scale = TOLERANCE * np.maximum(1.0, np.abs(self.lower))
        more_up = self.seen_upper < self.upper - scale
        more_down = self.seen_lower > self.lower + scale
        with np.errstate(invalid="ignore"):
            reach = (self.seen_upper < self.goal.reach - TOLERANCE) & (
                self.upper >= self.goal.reach - TOLERANCE
            )
        both = self.is_open_exact() | self.goal.interval
        return np.asarray((both | reach) & more_up), np.asarray(both & more_down)


def begin(block: Component, goal: Goal) -> Search:
    """A search that has seen nothing yet."""
    n = len(block.variables)
    return Search(
        block,
        goal,
        block.lower.copy(),
        block.upper.copy(),
        np.full(n, np.inf),
        np.full(n, -np.inf),
    )
