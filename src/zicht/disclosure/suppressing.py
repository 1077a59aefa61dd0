"""Suppression of one table: from primary rules and the past to demands, and to a safe pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zicht.disclosure.history import Compared, Past, add_history, compare
from zicht.disclosure.primary import Primary, find_primary
from zicht.disclosure.problem import Extra, Problem, loss_of_hiding, make_problem
from zicht.disclosure.spec import CellPolicy, Spec
from zicht.disclosure.tables import Bools, Floats, Ints, Table

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A demand on an interval that cannot be had.

    Attributes:
        cell: cell of the table.
        side: ``low``, ``high`` or ``exact``.
        wanted, reached: value that the interval should reach, and does reach.
    """

    cell: int
    side: str
    wanted: float
    reached: float


@dataclass(frozen=True)
class Outcome:
    """What suppression came to, for cells of the table (flat).

    Attributes:
        hidden: the pattern.
        unmet: demands on intervals that cannot be had, whatever is hidden.
        infeasible: cells that stay exactly recoverable, or must be hidden and may not be.
        follows: those of the infeasible ones that earlier releases alone give away.
        past_infeasible: hidden cells of earlier releases that this one gives away, by name.
        past_unmet: hidden cells of earlier releases known to be small whatever is hidden now.
        already_known: cells of the table and of earlier releases that the past alone gives away.
        relaxed: cells of never_hide that had to be hidden.
        loss, lower_bound: of the secondary cells, in the weight of policy; the bound is nan where
            the pattern follows the last release, because then flips are counted first.
        complete: False if time ran out before loss and bound met.
        problem: the system that was solved.
        primary: what the primary rules found.
        kept: cells that are hidden because the last release hid them.
    """

    table: Table
    primary: Primary
    problem: Problem
    hidden: Bools
    kept: Bools
    unmet: tuple[Target, ...]
    infeasible: tuple[int, ...]
    follows: tuple[int, ...]
    past_infeasible: tuple[str, ...]
    past_unmet: tuple[str, ...]
    already_known: tuple[str, ...]
    relaxed: tuple[int, ...]
    loss: float
    lower_bound: float
    complete: bool

    @property
    def is_feasible(self) -> bool:
        """Whether the guarantee holds."""
        return not self.infeasible and not self.past_infeasible


@dataclass(frozen=True)
class _Wish:
    """The demands on the cells of a table, before they meet the engine."""

    hidden: Bools
    shown: Bools
    kept: Bools
    weight: Floats
    low: Floats
    high: Floats
    conflict: Bools
    never: Bools
    counts_flips: bool


def _weight(table: Table, primary: Primary, spec: Spec) -> Floats:
    """What it costs to hide each cell; a zero that need not be hidden is not hidden for nothing."""
    weight = loss_of_hiding(table, spec.policy)
    return np.where(primary.loose_zeros.ravel(), np.maximum(weight, 1.0), weight)


def _wish(
    table: Table, primary: Primary, problem: Problem, then: Compared, spec: Spec, relax: bool
) -> _Wish:
    policy = spec.policy
    count = table.count.ravel()
    cells = primary.cells.ravel()
    never = np.zeros(table.size, dtype=bool)
    for cell in spec.never_hide:
        never |= table.matches(cell, "never_hide").ravel()
    open_ = np.zeros_like(never) if relax else never
    zeros = (count == 0) & ~cells & ~primary.loose_zeros.ravel()
    must = cells & ~problem.known
    follows = policy.stable or spec.history.relation == "equal"
    kept = then.was_hidden & ~zeros & ~problem.known & ~open_ & ~must & follows
    conflict = must & open_
    hidden = (must | kept) & ~open_
    weight = _weight(table, primary, spec)
    flips = bool(policy.stable and then.was_shown.any())
    if flips:
        # A flip costs as much as a cell larger than most: both kinds of loss keep one scale.
        positive = weight[weight > 0]
        weight = weight + then.was_shown * (np.percentile(positive, 90) if len(positive) else 1.0)
    if relax:
        # One such cell costs more than all others together, so as few as can be are hidden.
        weight = np.where(never, 1.0 + weight[~never].sum(), weight)
    return _Wish(
        hidden=hidden,
        shown=(zeros | open_ | problem.known) & ~hidden,
        kept=kept,
        weight=weight,
        low=np.where(hidden, primary.low.ravel(), np.nan),
        high=np.where(hidden, primary.high.ravel(), np.nan),
        conflict=conflict,
        never=never,
        counts_flips=flips,
    )


def _pad(values: Any, size: int, fill: Any) -> Any:
    return np.concatenate([values, np.full(size - len(values), fill)])


def _late_high(problem: Problem, policy: CellPolicy) -> Floats:
    """How far what is known of hidden cells of earlier releases must reach upwards.

    Their values are not at hand, only some that fit; a threshold above these is a demand all the
    same, because the interval does not depend on which values were taken.
    """
    high = np.full(problem.size, np.nan)
    if policy.protection == "interval":
        small = problem.guarded & (problem.values < policy.minimum_frequency)
        high[small] = policy.minimum_frequency
    return high


def _known_for_certain(problem: Problem) -> Bools:
    return np.asarray(problem.lower == problem.upper)


def _solve(
    problem: Problem,
    wish: _Wish,
    guarded: Bools,
    seconds: float,
    say: Say | None,
    late_high: Floats | None = None,
) -> Any:
    from zicht.disclosure.secondary import Demand, Suppression, System, suppress

    n, size = problem.n, problem.size
    constant = _known_for_certain(problem)
    constant[:n] = False
    if not problem.matrix.nnz:
        # Without totals and without a past nothing can be computed of a hidden cell.
        hidden = _pad(wish.hidden, size, True) & ~constant
        none = np.zeros(size, dtype=bool)
        return Suppression(hidden, none, 0.0, 0.0, (), np.zeros(0, dtype=np.int64), 0.0, True, 0)
    system = System(problem.matrix, problem.values, problem.lower, problem.upper)
    # Of a cell in no line nothing can be computed, and nothing can be done.
    tied = np.bincount(problem.matrix.indices, minlength=size) > 0
    high = _pad(wish.high, size, np.nan) if late_high is None else late_high
    demand = Demand(
        hidden=_pad(wish.hidden, size, True) & ~constant,
        shown=_pad(wish.shown, size, False) | constant,
        weight=_pad(wish.weight, size, 0.0),
        guarded=guarded & tied,
        low=np.where(tied, _pad(wish.low, size, np.nan), np.nan),
        high=np.where(tied, high, np.nan),
    )

    def tell(text: str, numbers: Mapping[str, float]) -> None:
        if say is not None:
            said = ", ".join(f"{name} {value:,.6g}" for name, value in numbers.items())
            say(f"{text} {said}".strip())

    return suppress(system, demand, seconds=seconds, progress=tell)


def count_problem(table: Table, pasts: Sequence[Past], spec: Spec) -> Problem:
    """The counts of a table and everything known about them.

    Raises:
        DisclosureError: Z-DIS-036 to Z-DIS-038 if the past cannot be compared with the table.
    """
    policy = spec.policy
    count = table.count.ravel().astype(np.float64)
    informed = policy.zeros_are_known and policy.method == "suppress"
    extra = Extra(table.size)
    add_history(table, count, pasts, spec, 1.0 if policy.zeros_are_known else 0.0, extra)
    if spec.history.relation == "equal":
        shown = compare(table, pasts).shown_value
        extra.known |= set(np.flatnonzero(shown == count).tolist())
    return make_problem(table, count, np.where((count > 0) & informed, 1.0, 0.0), extra)


def given_away_before(problem: Problem, cells: Ints) -> Bools:
    """Which of these cells come out by earlier releases, even if this table hides everything."""
    if not len(cells):
        return np.zeros(0, dtype=bool)
    from zicht.disclosure.secondary import System, recoverable

    system = System(problem.matrix, problem.values, problem.lower, problem.upper)
    hidden = ~_known_for_certain(problem)
    hidden[: problem.n] = True
    return np.asarray(~hidden[cells] | np.isin(cells, recoverable(system, hidden, cells)))


def pinned(problem: Problem) -> Bools:
    """Hidden cells of earlier releases that bounds alone give away."""
    return problem.guarded & _known_for_certain(problem)


def suppress_table(
    table: Table,
    spec: Spec,
    pasts: Sequence[Past] = (),
    sums: Sequence[Past] = (),
    *,
    seconds: float,
    relax: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Finds a pattern for the counts of a table, and for its magnitude if it has one.

    Args:
        table: all cells.
        spec: what is declared and asked.
        pasts: everything released before, oldest first.
        sums: likewise, of the magnitude.
        seconds: time for it.
        relax: whether cells of ``never_hide`` may be hidden, at a cost that makes them the last.
        say: gets a line now and then.

    Raises:
        DisclosureError: Z-DIS-036 to Z-DIS-038 if the past cannot be compared with the table.
    """
    primary = find_primary(table, spec)
    then = compare(table, pasts)
    problem = count_problem(table, pasts, spec)
    wish = _wish(table, primary, problem, then, spec, relax)
    guarded = problem.guarded & ~pinned(problem)
    guarded[: problem.n] = ~wish.shown
    n = problem.n
    share = 0.6 if table.magnitudes is not None else 1.0
    late_high = _late_high(problem, spec.policy)
    late_high[pinned(problem)] = np.nan
    late_high[: problem.n] = wish.high
    result = _solve(problem, wish, guarded, seconds * share, say, late_high)
    hidden = result.hidden[:n]
    unmet = [
        Target(int(one.cell), one.side, one.wanted, one.reached)
        for one in result.unmet
        if one.cell < n and one.side != "exact"
    ]
    narrow = sorted({problem.names[one.cell] for one in result.unmet if one.cell >= n})
    infeasible = set(np.flatnonzero(wish.conflict).tolist())
    infeasible |= {int(cell) for cell in result.infeasible if cell < n}
    late = np.array([cell for cell in result.infeasible if cell >= n], dtype=np.int64)
    lost = given_away_before(problem, late)
    before = np.concatenate([np.flatnonzero(pinned(problem)), late[lost]])
    past = [problem.names[cell] for cell in late[~lost].tolist()]
    complete = bool(result.complete)
    if table.magnitudes is not None:
        hidden, more, open_, gone, done = _magnitude_pattern(
            table, primary, wish, hidden, spec, sums, seconds * 0.4, say
        )
        unmet += more
        past += gone
        infeasible |= open_
        complete = complete and done
    open_cells = np.array(sorted(infeasible) if pasts else [], dtype=np.int64)
    primary_cells = primary.cells.ravel()
    secondary = hidden & ~primary_cells
    loss = float(_weight(table, primary, spec)[secondary].sum())
    plain = not (wish.counts_flips or relax or wish.kept.any())
    known = [f"{table.label(int(c))}" for c in np.flatnonzero(primary_cells & problem.known)]
    return Outcome(
        table=table,
        primary=primary,
        problem=problem,
        hidden=hidden,
        kept=wish.kept,
        unmet=tuple(unmet),
        infeasible=tuple(sorted(infeasible)),
        follows=tuple(sorted(open_cells[given_away_before(problem, open_cells)].tolist())),
        past_infeasible=tuple(past),
        past_unmet=tuple(narrow),
        already_known=tuple([problem.names[int(c)] for c in before] + known),
        relaxed=tuple(np.flatnonzero(wish.never & hidden).tolist()),
        loss=loss,
        lower_bound=float(result.lower_bound) if plain else float("nan"),
        complete=complete,
    )


def magnitude_unit(total: Floats) -> float:
    """The smallest shift of a sum that counts: 1 for whole amounts, else 1% of a middling cell."""
    positive = total[total > 0]
    if not len(positive) or bool(np.all(positive == np.round(positive))):
        return 1.0
    return float(np.median(positive)) / 100.0


def _magnitude_pattern(
    table: Table,
    primary: Primary,
    wish: _Wish,
    hidden: Bools,
    spec: Spec,
    pasts: Sequence[Past],
    seconds: float,
    say: Say | None,
) -> tuple[Bools, list[Target], set[int], list[str], bool]:
    """Hides more, until the sums are as safe as the counts: hiding more never undoes safety.

    Returns:
        the pattern, demands that cannot be had, cells that stay exactly recoverable, cells of
        earlier releases that come out, and whether time sufficed.
    """
    from zicht.disclosure.magnitudes import relative_reach

    assert table.magnitudes is not None
    unit = magnitude_unit(table.magnitudes.total.ravel())
    total = table.magnitudes.total.ravel() / unit
    percent = spec.policy.p_percent.p if spec.policy.p_percent else 10.0
    low, high = (one.ravel() / unit for one in relative_reach(table.magnitudes, percent))
    about = primary.about_magnitude.ravel() & hidden
    extra = Extra(table.size)
    scaled = [replace(past, values=past.values / unit) for past in pasts]
    add_history(table, total, scaled, spec, 0.0, extra)
    problem = make_problem(table, total, np.zeros(table.size), extra)
    # What earlier releases made known cannot be hidden any more; it may still look hidden here.
    asked = replace(
        wish,
        hidden=hidden,
        shown=wish.shown & ~hidden,
        low=np.where(about, low, np.nan),
        high=np.where(about, high, np.nan),
    )
    guarded = problem.guarded & ~pinned(problem)
    guarded[: table.size] = (hidden | ~wish.shown) & ~problem.known
    result = _solve(problem, asked, guarded, seconds, say)
    unmet = [
        Target(int(one.cell), one.side, one.wanted * unit, one.reached * unit)
        for one in result.unmet
        if one.side != "exact" and one.cell < table.size
    ]
    infeasible = [int(cell) for cell in result.infeasible]
    # A sum of less than one unit cannot be narrowed to less than one.
    open_ = {cell for cell in infeasible if cell < table.size and total[cell] > 0}
    late = np.array([cell for cell in infeasible if cell >= table.size], dtype=np.int64)
    gone = [problem.names[cell] for cell in late[~given_away_before(problem, late)].tolist()]
    return result.hidden[: table.size], unmet, open_, gone, bool(result.complete)
