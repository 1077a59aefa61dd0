"""What can be inferred of hidden cells: feasibility intervals by linear programming.

Three steps, each leaving less to the next. Propagation fixes what follows row by row. What is left
falls apart in components. Per component a pool of solutions shows of most cells that they can have
two values; only the others get linear programs of their own, each started from the last basis.

The interval of a cell is that of Fischetti and Salazar (2001), "Solving the cell suppression
problem on tabular data with linear constraints": the least and greatest value over all tables that
agree with everything published.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from zicht.attacker.integers import SMALL, tighten
from zicht.attacker.programs import Component, Goal, Program, Search, begin
from zicht.attacker.propagation import Bounds
from zicht.attacker.system import System

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MOST_EVIDENCE = 6
_SMALLEST_SHARE = 40
"""Below this many programs a second process costs more than it brings."""


@dataclass(eq=False)
class Inference:
    """Per variable what can be inferred.

    Attributes:
        lower: [n] proven lower end; the end of the interval itself where that was asked.
        upper: [n] likewise; inf where there is none.
        attained_lower: [n] lowest value seen in a solution.
        attained_upper: [n] highest value seen in a solution.
        evidence: per variable the rows that prove its interval, when they are few.
        is_by_whole: [n] whether only whole numbers make the bounds what they are.
        undecided: variables of which time ran out.
        contradictory: variables of components without any solution.
        n_components: components that were looked at.
        largest: variables of the largest.
        n_programs: linear programs that were solved.
    """

    lower: Floats
    upper: Floats
    attained_lower: Floats
    attained_upper: Floats
    evidence: dict[int, tuple[int, ...]] = field(default_factory=dict)
    is_by_whole: Bools = field(default_factory=lambda: np.empty(0, dtype=bool))
    undecided: list[int] = field(default_factory=list)
    contradictory: list[int] = field(default_factory=list)
    n_components: int = 0
    largest: int = 0
    n_programs: int = 0


def _labels(matrix: sparse.csr_array) -> Ints:
    """Numbers the connected parts of a matrix: first for its rows, then for its columns."""
    m, n = matrix.shape
    entries = matrix.tocoo()
    graph = sparse.coo_array(
        (np.ones(entries.nnz), (entries.row, entries.col.astype(np.int64) + m)),
        shape=(m + n, m + n),
    )
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], dtype=np.int64)


def _members(label: Ints, wanted: Ints) -> list[Ints]:
    """Per wanted label the positions that carry it."""
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], wanted)
    last = np.searchsorted(label[order], wanted, side="right")
    return [order[a:b] for a, b in zip(first, last, strict=True)]


def components_of(system: System, bounds: Bounds, asked: Bools) -> list[Component]:
    """Cuts what propagation left open into blocks; those that nobody asks about are left out."""
    open_ = ~bounds.is_fixed()
    if len(bounds.dropped):
        # Without the dropped rows the minimal ones no longer imply the others.
        rows = np.setdiff1d(np.arange(len(system.row_lower)), bounds.dropped)
    else:
        rows = np.flatnonzero(system.is_minimal)
    whole = sparse.csr_array(
        (system.signs, system.columns, system.start),
        shape=(len(system.row_lower), len(system.lower)),
    )
    matrix = sparse.csr_array(whole[rows])
    fixed_part = np.asarray(matrix @ np.where(open_, 0.0, bounds.lower), dtype=np.float64)
    variables = np.flatnonzero(open_)
    matrix = sparse.csr_array(matrix[:, variables])
    useful = np.diff(matrix.indptr) > 0
    matrix, rows, fixed_part = sparse.csr_array(matrix[useful]), rows[useful], fixed_part[useful]
    m = len(rows)
    if not len(variables):
        return []
    label = _labels(matrix)
    wanted = np.unique(label[m:][asked[variables]])
    rows_of, variables_of = _members(label[:m], wanted), _members(label[m:], wanted)
    found = []
    for own_rows, own in zip(rows_of, variables_of, strict=True):
        block = sparse.csr_array(matrix[own_rows][:, own])
        found.append(
            Component(
                variables=variables[own],
                rows=rows[own_rows],
                matrix=block,
                row_lower=system.row_lower[rows[own_rows]] - fixed_part[own_rows],
                row_upper=system.row_upper[rows[own_rows]] - fixed_part[own_rows],
                lower=bounds.lower[variables[own]],
                upper=bounds.upper[variables[own]],
                is_whole=system.is_whole,
            )
        )
    return sorted(found, key=lambda block: (-len(block.variables), int(block.variables[0])))


def _pool(search: Search, program: Program, late: Callable[[], bool]) -> bool:
    """Solutions that move many variables at once; False if there is no solution at all."""
    random = np.random.default_rng(len(search.lower))
    first = program.minimise(np.zeros(len(search.lower)))
    if first is None:
        return False
    search.learn(first)
    stalled = 0
    while stalled < 4 and not late():
        up, down = search.open_ends()
        before = int(up.sum() + down.sum())
        if before < 3:
            break
        push = np.where(up & down, random.random(len(up)) < 0.5, up)
        weight = random.uniform(0.5, 1.5, len(up)) * (up | down)
        solution = program.minimise(np.where(push, -weight, weight))
        if solution is None:
            break
        search.learn(solution)
        up, down = search.open_ends()
        after = int(up.sum() + down.sum())
        stalled = stalled + 1 if before - after < max(2, before // 50) else 0
    program.clear()
    return True


def _ends(search: Search, program: Program, order: Sequence[int], late: Callable[[], bool]) -> None:
    """Linear programs of their own for the variables that the pool left open."""
    for i in order:
        proofs: list[int] = []
        for upwards in (True, False):
            up, down = search.open_ends()
            if not (up if upwards else down)[i]:
                continue
            if late():
                return
            solution = program.end(i, upwards=upwards)
            if solution is None:
                return
            proofs += [int(search.block.rows[row]) for row in program.proof()]
            search.learn(solution)
            if upwards:
                search.upper[i] = solution[i]
            else:
                search.lower[i] = solution[i]
        distinct = tuple(dict.fromkeys(proofs))
        if 0 < len(distinct) <= _MOST_EVIDENCE:
            search.evidence[int(search.block.variables[i])] = distinct


@dataclass(eq=False)
class _Answer:
    """What came out of one component (or a share of one), in numbers of the system."""

    variables: Ints
    lower: Floats
    upper: Floats
    seen_lower: Floats
    seen_upper: Floats
    evidence: dict[int, tuple[int, ...]]
    by_whole: Bools
    undecided: Ints
    is_contradictory: bool
    n_programs: int


def _answer(
    search: Search, *, contradictory: bool = False, by_whole: Bools | None = None
) -> _Answer:
    up, down = search.open_ends()
    n = len(search.lower)
    return _Answer(
        search.block.variables,
        search.lower,
        search.upper,
        search.seen_lower,
        search.seen_upper,
        search.evidence,
        np.zeros(n, dtype=bool) if by_whole is None else by_whole,
        search.block.variables[(up | down) & ~np.bool_(contradictory)],
        contradictory,
        search.n_programs,
    )


def _solve(block: Component, goal: Goal, late: Callable[[], bool]) -> _Answer:
    """Answers all that is asked about one component."""
    search, program, fine = _begin(block, goal, late)
    if not fine:
        return _answer(search, contradictory=True)
    up, down = search.open_ends()
    _ends(search, program, np.flatnonzero(up | down).tolist(), late)
    search.n_programs = program.n_solved
    by_whole = None
    if block.is_whole and len(block.variables) <= SMALL:
        by_whole = tighten(search, late)
    return _answer(search, by_whole=by_whole)


def _begin(block: Component, goal: Goal, late: Callable[[], bool]) -> tuple[Search, Program, bool]:
    search, program = begin(block, goal), Program(block)
    fine = _pool(search, program, late)
    search.n_programs = program.n_solved
    return search, program, fine


@dataclass(frozen=True, eq=False)
class _Share:
    """Work for one process: whole components, or some variables of one that was begun."""

    blocks: tuple[tuple[Component, Goal], ...] = ()
    begun: Search | None = None
    order: tuple[int, ...] = ()


def _work(share: _Share, late: Callable[[], bool]) -> list[_Answer]:
    if share.begun is None:
        return [_solve(block, goal, late) for block, goal in share.blocks]
    program = Program(share.begun.block)
    _ends(share.begun, program, share.order, late)
    share.begun.n_programs = program.n_solved
    return [_answer(share.begun)]


_inherited: list[tuple[_Share, Callable[[], bool]]] = []
"""What forked processes find when they start; filled only while they run."""


def _work_inherited(i: int) -> list[_Answer]:
    return _work(*_inherited[i])


def _parallel(shares: Sequence[_Share], late: Callable[[], bool], processes: int) -> list[_Answer]:
    may_fork = not multiprocessing.current_process().daemon
    if processes < 2 or len(shares) < 2 or not may_fork:
        return [answer for share in shares for answer in _work(share, late)]
    _inherited[:] = [(share, late) for share in shares]
    try:
        with ProcessPoolExecutor(
            processes, mp_context=multiprocessing.get_context("fork")
        ) as executor:
            return [
                answer
                for answers in executor.map(_work_inherited, range(len(shares)))
                for answer in answers
            ]
    finally:
        _inherited.clear()


def _merge(into: Inference, answer: _Answer) -> None:
    at = answer.variables
    into.lower[at] = np.maximum(into.lower[at], answer.lower)
    into.upper[at] = np.minimum(into.upper[at], answer.upper)
    into.attained_lower[at] = np.minimum(into.attained_lower[at], answer.seen_lower)
    into.attained_upper[at] = np.maximum(into.attained_upper[at], answer.seen_upper)
    into.is_by_whole[at] |= answer.by_whole
    into.evidence.update(answer.evidence)
    into.n_programs += answer.n_programs
    if answer.is_contradictory:
        into.contradictory += at.tolist()


def _still_open(into: Inference, block: Component, goal: Goal) -> Ints:
    at = block.variables
    search = Search(
        block,
        goal,
        into.lower[at],
        into.upper[at],
        into.attained_lower[at],
        into.attained_upper[at],
    )
    up, down = search.open_ends()
    return np.asarray(at[up | down])


def infer(
    system: System,
    bounds: Bounds,
    goal: Goal,
    *,
    processes: int = 2,
    late: Callable[[], bool] = lambda: False,
) -> Inference:
    """Answers per variable what was asked, by linear programming over the open components.

    Args:
        system: the tables as a linear system.
        bounds: what propagation found.
        goal: what is asked of each variable.
        processes: processes to spread components, or halves of a large one, over.
        late: whether time is over; what is then open is listed as undecided.
    """
    fixed = bounds.is_fixed()
    result = Inference(
        lower=bounds.lower.copy(),
        upper=bounds.upper.copy(),
        attained_lower=np.where(fixed, bounds.lower, np.inf),
        attained_upper=np.where(fixed, bounds.upper, -np.inf),
        is_by_whole=np.zeros(len(bounds.lower), dtype=bool),
    )
    blocks = components_of(system, bounds, goal.asked() & ~fixed)
    result.n_components = len(blocks)
    result.largest = len(blocks[0].variables) if blocks else 0
    large = [b for b in blocks if len(b.variables) >= 20 * SMALL]
    small = [b for b in blocks if len(b.variables) < 20 * SMALL]
    for block in large:
        own = goal.at(block.variables)
        search, program, fine = _begin(block, own, late)
        if not fine:
            _merge(result, _answer(search, contradictory=True))
            continue
        up, down = search.open_ends()
        order = np.flatnonzero(up | down).tolist()
        if len(order) < _SMALLEST_SHARE or processes < 2:
            _ends(search, program, order, late)
            search.n_programs = program.n_solved
            _merge(result, _answer(search))
        else:
            _merge(result, _answer(search))
            shares = [_Share(begun=search, order=tuple(part)) for part in _halves(order, processes)]
            for answer in _parallel(shares, late, processes):
                _merge(result, answer)
        result.undecided += _still_open(result, block, own).tolist()
    pairs = [(block, goal.at(block.variables)) for block in small]
    parts = 2 * processes if sum(len(b.variables) for b in small) > 10 * _SMALLEST_SHARE else 1
    shares = [_Share(blocks=tuple(pairs[i::parts])) for i in range(parts)]
    for answer in _parallel(shares, late, processes):
        _merge(result, answer)
        result.undecided += answer.undecided.tolist()
    return result


def _halves(order: Sequence[int], processes: int) -> list[Sequence[int]]:
    """Neighbours stay together: their programs resemble each other."""
    cuts = np.linspace(0, len(order), processes + 1).astype(int)
    return [order[a:b] for a, b in itertools.pairwise(cuts)]
