"""Secondary suppression: the cheapest pattern in which every target is met.

A covering problem is solved, its pattern is attacked, what is found becomes rows of the cover, and
so on. Within a round the pattern is repaired by hiding more until the attack finds nothing, so a
safe pattern stands from the first round on; the cover's bound proves how good it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import coo_array, csr_array, vstack
from scipy.sparse.csgraph import connected_components

from zicht.disclosure.secondary.lines import (
    DOWN,
    EITHER,
    UP,
    Targets,
    line_rows,
    make_targets,
    rooms,
)
from zicht.disclosure.secondary.master import solve_master
from zicht.disclosure.secondary.mend import CHEAP, MOVED, Patch, mend, trim
from zicht.disclosure.secondary.probe import (
    LARGE,
    Proofs,
    Single,
    Vicinity,
    cut,
    harvest,
    scattered,
)
from zicht.disclosure.secondary.share import share
from zicht.disclosure.secondary.solver import Cover
from zicht.disclosure.secondary.system import (
    TOLERANCE,
    Bools,
    Demand,
    Floats,
    Ints,
    Progress,
    Suppression,
    System,
    Unmet,
    check,
    tighten,
)

SLACK = 1e-7
GAP = 1e-4
REGION = 900
PATIENCE = 12
HURRY = 0.4


@dataclass
class Pool:
    """Covering rows found so far; a row asks ``coef @ x >= need x[cell]``."""

    size: int
    parts: list[csr_array] = field(default_factory=list)
    need: list[Floats] = field(default_factory=list)
    cell: list[Ints] = field(default_factory=list)
    target: list[Ints] = field(default_factory=list)

    def add(self, rows: csr_array, need: Floats, cell: Ints, target: Ints) -> None:
        """Adds rows."""
        if len(need):
            self.parts.append(rows)
            self.need.append(need)
            self.cell.append(cell)
            self.target.append(target)

    def merge(self) -> tuple[csr_array, Floats, Ints, Ints]:
        """All rows in one block."""
        if len(self.parts) > 1:
            self.parts = [csr_array(vstack(self.parts, format="csr"))]
            self.need = [np.concatenate(self.need)]
            self.cell = [np.concatenate(self.cell)]
            self.target = [np.concatenate(self.target)]
        if not self.parts:
            none = np.zeros(0, dtype=np.int64)
            return csr_array((0, self.size)), np.zeros(0), none, none
        return self.parts[0], self.need[0], self.cell[0], self.target[0]

    def forget(self, targets: Ints) -> None:
        """Drops the rows of these targets."""
        rows, need, cell, target = self.merge()
        keep = np.flatnonzero(~np.isin(target, targets))
        self.parts, self.need = [rows[keep]], [need[keep]]
        self.cell, self.target = [cell[keep]], [target[keep]]

    def cover(self, fixed: Bools) -> tuple[csr_array, Floats]:
        """The rows as ``matrix @ x >= floor``, sharpened by the cells that are hidden anyway.

        What those add is taken off the need, and no other cell counts for more than what is left.
        """
        rows, need, cell, _ = self.merge()
        left = need * (1 - SLACK) - rows @ fixed.astype(np.float64)
        keep = np.flatnonzero(left > TOLERANCE * need)
        rows, left, cell = rows[keep], left[keep], cell[keep]
        row = np.repeat(np.arange(len(left)), np.diff(rows.indptr))
        coef = np.where(fixed[rows.indices], 0.0, np.minimum(rows.data / left[row], 1.0))
        open_ = ~fixed[cell]
        own = np.flatnonzero(open_)
        some = coef > 0
        matrix = csr_array(
            (
                np.concatenate([coef[some], np.full(len(own), -1.0)]),
                (
                    np.concatenate([row[some], own]),
                    np.concatenate([rows.indices[some], cell[own]]),
                ),
            ),
            shape=rows.shape,
        )
        return matrix, np.where(open_, 0.0, 1.0 - SLACK)


class Search:
    """State of one search for a pattern."""

    def __init__(
        self,
        system: System,
        demand: Demand,
        seconds: float,
        processes: int = 1,
        progress: Progress | None = None,
    ) -> None:
        """Makes targets and the rows of single equations."""
        self.began = time.monotonic()
        self.seconds = seconds
        self.processes = processes
        self.progress = progress
        never = demand.shown
        self.system = tighten(
            replace(
                system,
                lower=np.where(never, system.values, system.lower),
                upper=np.where(never, system.values, system.upper),
            )
        )
        self.demand = demand
        self.shown = demand.shown.copy()
        self.targets: Targets = make_targets(self.system, demand)
        self.proofs = Proofs()
        self.pool = Pool(system.size)
        self.rng = np.random.default_rng(20240101)
        self.unmet: dict[int, Unmet] = {}
        self.infeasible: list[int] = []
        self.near = Vicinity(self.system, self.shown, reach=60)
        far = 1200 if system.size <= 2 * LARGE else 300
        self.wide = Vicinity(self.system, self.shown, reach=far, keep=False)
        self.most: Single | None = None
        self.whole: Patch | None = None
        self.clock: dict[str, float] = {}

    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.began)

    def spend(self, name: str, since: float) -> None:
        """Books time since a moment under a name."""
        self.clock[name] = self.clock.get(name, 0.0) + time.monotonic() - since

    def report(self, event: str, **facts: float) -> None:
        """Tells the caller how far the search is."""
        if self.progress:
            self.progress(event, {"seconds": time.monotonic() - self.began, **facts})

    # -- attack ---------------------------------------------------------------------------------

    def open_targets(self, hidden: Bools) -> Ints:
        """Targets of hidden cells that no kept movement proves."""
        active = ~self.targets.settled & hidden[self.targets.cell]
        proven = self.proofs.holds(hidden, len(self.targets))
        return np.flatnonzero(active & ~proven)

    def prove(self, hidden: Bools, until: float = np.inf) -> Ints:
        """Targets that pooled movements do not prove."""
        t = time.monotonic()
        open_ = self.open_targets(hidden)
        while len(open_) > 12 and time.monotonic() < until:
            before = len(open_)
            seeds = [int(seed) for seed in self.rng.integers(2**31, size=2)]
            large = hidden.sum() > LARGE
            for proofs in share(
                lambda seed, rest=open_: scattered(self.system, hidden, self.targets, rest, seed),  # type: ignore[misc]
                seeds if large else seeds[:1],
                self.processes,
            ):
                self.proofs.extend(proofs)
            proven = self.proofs.holds(hidden, len(self.targets))
            open_ = open_[~proven[open_]]
            # a target on its own costs less than its share of one more pooled program
            if before - len(open_) < max(8, hidden.sum() / (120 if large else 300)):
                break
        self.spend("pooled", t)
        return open_

    def attack(self, hidden: Bools, until: float = np.inf, deep: bool = True) -> Ints:
        """Targets that the pattern does not meet; rows that forbid it are added to the pool.

        Args:
            until: moment of the monotonic clock; what is not decided by then counts as not met.
            deep: decide every target; otherwise what its vicinity leaves open counts as not met.
        """
        open_ = self.prove(hidden, until)
        if not len(open_) or time.monotonic() > until:
            return open_
        t = time.monotonic()
        few = len(open_) < 24
        halves = [open_] if few else np.array_split(open_, 2)
        missed: list[int] = []
        rows: list[tuple[int, Ints, Floats]] = []
        for lost, found, proofs in share(
            lambda part: self.inspect(hidden, part, until, deep), halves, self.processes
        ):
            missed += lost
            rows += found
            self.proofs.extend(proofs)
        self.spend("inspect", t)
        self.add_rows(rows)
        return np.array(missed, dtype=np.int64)

    def inspect(
        self, hidden: Bools, open_: Ints, until: float, deep: bool
    ) -> tuple[list[int], list[tuple[int, Ints, Floats]], Proofs]:
        """Decides each of these targets: missed (with a row) or proven (with a movement)."""
        targets, proofs = self.targets, Proofs()
        pattern = hidden.astype(np.float64)
        missed: list[int] = []
        rows: list[tuple[int, Ints, Floats]] = []
        rest = []
        for target in open_:
            if time.monotonic() > until:
                missed.append(int(target))
                continue
            row = self.near_row(self.near, int(target), pattern)
            if row is None:
                rest.append(target)
            else:
                missed.append(int(target))
                rows.append(row)
        if not deep:
            return missed + [int(target) for target in rest], rows, proofs
        todo = np.array(rest, dtype=np.int64)
        done = np.zeros(len(targets), dtype=bool)
        whole: Single | None = None
        for region in (REGION, 0):
            single: Single | None = None
            inner = np.zeros(self.system.size, dtype=bool)
            for target in todo:
                cell = int(targets.cell[target])
                if done[target]:
                    continue
                if time.monotonic() > until:
                    if not region:
                        missed.append(int(target))
                    continue
                if region and not inner[cell]:
                    around = self.near.region(cell, hidden, region)
                    inner[:] = False
                    inner[around[: len(around) // 3]] = True
                    single = Single(self.system, around)
                elif not region:
                    row = self.near_row(self.wide, int(target), pattern)
                    if row is not None:
                        missed.append(int(target))
                        rows.append(row)
                        continue
                    whole = whole or Single(self.system, np.flatnonzero(hidden))
                    single = whole
                assert single is not None
                need = float(targets.need[target])
                proof = []
                for way in self.ways(int(target)):
                    reach, shift, multipliers = single.move(cell, way, need)
                    if reach >= need - TOLERANCE:
                        found = harvest(
                            self.system, single.cells, shift, targets, todo, single.where, proofs
                        )
                        done[todo[found]] = True
                        done[target] = True
                        break
                    proof.append((way, multipliers))
                else:
                    if not region:
                        missed.append(int(target))
                        row = self.far_row(int(target), pattern, proof)
                        if row is not None:
                            rows.append(row)
        return missed, rows, proofs

    def ways(self, target: int) -> list[int]:
        """Directions in which a target can be met: the cell itself has the room."""
        cell, side = self.targets.cell[target], int(self.targets.side[target])
        need = self.targets.need[target] - TOLERANCE
        if side != EITHER:
            return [side]
        room = {UP: self.near.up[cell], DOWN: self.near.down[cell]}
        return [way for way in (UP, DOWN) if room[way] >= need]

    def near_row(
        self, near: Vicinity, target: int, pattern: Floats
    ) -> tuple[int, Ints, Floats] | None:
        """A covering row that shows from the vicinity alone that a target is not met."""
        cell, need = int(self.targets.cell[target]), float(self.targets.need[target])
        parts = []
        for way in self.ways(target):
            reach, multipliers = near.multipliers(pattern, cell, way, need)
            if reach >= need * (1 - 1e-3) - TOLERANCE:
                return None
            part = cut(self.system, self.shown, cell, way, need, multipliers)
            if part is None:
                return None
            parts.append(part)
        row = violated(parts, pattern, need)
        return None if row is None else (target, *row)

    def far_row(
        self, target: int, pattern: Floats, proof: list[tuple[int, Floats]]
    ) -> tuple[int, Ints, Floats] | None:
        """The covering row that the multipliers of a linear program over all hidden cells give."""
        cell, need = int(self.targets.cell[target]), float(self.targets.need[target])
        parts = [
            cut(self.system, self.shown, cell, way, need, multipliers) for way, multipliers in proof
        ]
        known = [part for part in parts if part is not None]
        row = violated(known, pattern, need) if len(known) == len(parts) else None
        return None if row is None else (target, *row)

    def add_rows(self, rows: list[tuple[int, Ints, Floats]]) -> None:
        """Adds covering rows; a row that nothing can meet shows a target to be out of reach."""
        if not rows:
            return
        free = ~self.shown
        impossible = []
        good = []
        for target, at, coef in rows:
            if (coef * free[at]).sum() < self.targets.need[target] - TOLERANCE:
                impossible.append(target)
            else:
                good.append((target, at, coef))
        if good:
            index = np.array([target for target, _, _ in good])
            where = np.repeat(np.arange(len(good)), [len(at) for _, at, _ in good])
            matrix = csr_array(
                (
                    np.concatenate([coef for _, _, coef in good]),
                    (where, np.concatenate([at for _, at, _ in good])),
                ),
                shape=(len(good), self.system.size),
            )
            self.pool.add(matrix, self.targets.need[index], self.targets.cell[index], index)
        for target in sorted(set(impossible)):
            self.give_up(target)

    def add_lines(self, chosen: Ints) -> None:
        """Adds the rows of single equations for these targets."""
        rows, need, cell, target = line_rows(self.system, self.demand, self.targets, chosen)
        possible = rows @ (~self.shown).astype(np.float64) >= need - TOLERANCE
        keep = np.flatnonzero(possible)
        self.pool.add(rows[keep], need[keep], cell[keep], target[keep])
        for lost in np.unique(target[~possible]):
            self.give_up(int(lost))

    def give_up(self, target: int, force: bool = False) -> None:
        """Lowers a target to what can be had when everything that may be hidden is hidden."""
        targets = self.targets
        if targets.settled[target]:
            return
        t = time.monotonic()
        cell, side = int(targets.cell[target]), int(targets.side[target])
        if self.most is None:
            self.most = Single(self.system, np.flatnonzero(~self.shown))
        need = float(targets.need[target])
        reach = max((self.most.move(cell, way, need)[0] for way in self.ways(target)), default=0.0)
        self.spend("give_up", t)
        if reach >= need - TOLERANCE and not force:
            return
        if side != EITHER:
            self.lower_to(target, reach)
            return
        targets.settled[target] = True
        self.pool.forget(np.array([target]))
        if self.demand.hidden[cell]:
            self.infeasible.append(cell)
        else:
            self.shown[cell] = True
            for model in (self.most, self.whole):
                if model is not None:
                    model.freeze(cell)

    def lower_to(self, target: int, reach: float, lines: bool = True) -> None:
        """Makes do with a shorter movement, and says so; ``lines`` renews its rows."""
        targets = self.targets
        cell, side = int(targets.cell[target]), int(targets.side[target])
        self.unmet[target] = Unmet(
            cell,
            "high" if side == UP else "low",
            float(targets.wanted[target]),
            float(self.system.values[cell]) + side * reach,
        )
        self.pool.forget(np.array([target]))
        # a little less than the exact reach, so that rounding in the solver does not decide
        targets.need[target] = reach - 5 * TOLERANCE
        targets.settled[target] = reach <= 20 * TOLERANCE
        changed = self.guard(cell)
        if not targets.settled[target]:
            changed = np.append(changed, target)
        if lines and len(changed):
            self.add_lines(changed)

    def guard(self, cell: int) -> Ints:
        """A guarded cell whose sides no longer promise one unit needs it of its own.

        Returns:
            targets that count again.
        """
        targets = self.targets
        mine = np.flatnonzero(targets.cell == cell)
        sided = mine[targets.side[mine] != EITHER]
        alone = mine[targets.side[mine] == EITHER]
        promised = targets.need[sided] >= self.demand.unit - TOLERANCE
        if len(alone) and not np.any(promised & ~targets.settled[sided]):
            reopened: Ints = alone[targets.settled[alone]]
            targets.settled[reopened] = False
            return reopened
        return np.zeros(0, dtype=np.int64)

    # -- cover ----------------------------------------------------------------------------------

    def cover(
        self,
        seconds: float,
        *,
        lower: Bools | None = None,
        start: Bools | None = None,
        width: float = 3.0,
    ) -> Cover:
        """Solves the cover over the rows found so far."""
        t = time.monotonic()
        low = self.demand.hidden if lower is None else self.demand.hidden | lower
        matrix, floor = self.pool.cover(low)
        answer = solve_master(
            matrix,
            floor,
            self.demand.weight,
            low,
            ~self.shown | low,
            seconds=seconds,
            width=width,
            start=start,
            processes=self.processes,
        )
        self.spend("cover" if lower is None else "repair", t)
        return answer

    def loss(self, hidden: Bools) -> float:
        """Weight of the cells that are hidden without having to be."""
        return float(self.demand.weight[hidden & ~self.demand.hidden].sum())

    def settle(self) -> None:
        """Settles the targets that the always hidden cells meet among themselves."""
        always = self.demand.hidden
        self.prove(always)
        proven = self.proofs.holds(always, len(self.targets))
        self.targets.settled |= proven
        self.proofs = Proofs()

    def run(self, start: Bools | None) -> tuple[Bools, float, bool, int]:
        """Rounds of covering, attacking and repairing until loss and bound meet."""
        self.clip()
        self.settle()
        self.report("settled", open=float((~self.targets.settled).sum()))
        t = time.monotonic()
        self.add_lines(np.flatnonzero(~self.targets.settled))
        self.spend("lines", t)
        best: Bools | None = None
        last: Bools | None = None
        if start is not None:
            best = self.secure((start | self.demand.hidden) & ~self.shown)[0]
            assert best is not None
            self.report("start", loss=self.loss(best))
        bound, rounds, complete, width = 0.0, 0, False, 3.0
        while True:
            rounds += 1
            round_began = time.monotonic()
            answer = self.cover(max(1.0, 0.3 * self.left()), start=best, width=width)
            bound = max(bound, answer.bound - self.loss_of_demand())
            chosen = answer.x if len(answer.x) else (best if best is not None else ~self.shown)
            raw = self.loss(chosen)
            if best is not None and np.any(best & self.shown):
                best = None  # it hides a cell that can not be guarded
            hidden, missed = self.secure(chosen, np.inf if best is None else self.loss(best))
            if hidden is not None:
                best = hidden
            assert best is not None
            self.report(
                "round",
                round=rounds,
                cover=raw,
                missed=missed,
                loss=np.nan if hidden is None else self.loss(hidden),
                best=self.loss(best),
                bound=bound,
                width=width,
            )
            if self.loss(best) <= bound * (1 + GAP) + TOLERANCE:
                complete = True
                break
            if missed and last is not None and np.array_equal(last, chosen):
                break  # nothing new is learnt
            last = chosen
            took = 1.2 * (time.monotonic() - round_began)
            if missed == 0 or self.loss(best) <= raw * (1 + GAP):
                width *= 2.5  # the rows hold; only more columns can sharpen the bound
                took *= 3.0
            if self.left() < took + self.reserve():
                break
        if not complete and self.left() > 3.0:
            answer = self.cover(0.6 * self.left(), start=best, width=np.inf)
            bound = max(bound, answer.bound - self.loss_of_demand())
            complete = self.loss(best) <= bound * (1 + GAP) + TOLERANCE
        return best, bound, complete, rounds

    def reserve(self) -> float:
        """Seconds kept for a last look at the bound, where a whole cover can be solved."""
        return 0.15 * self.seconds if len(self.pool.merge()[1]) < 15_000 else 0.0

    def secure(self, hidden: Bools, limit: float = np.inf) -> tuple[Bools | None, int]:
        """Hides more until the attack finds nothing.

        Args:
            limit: loss from which on it is not worth going on; infinite when a safe pattern must
                come out, also when time is over.

        Returns:
            a safe pattern, or None when it would lose more than the limit or time ran out, and how
            many targets the given pattern missed.
        """
        urgent = not np.isfinite(limit)
        # the cover is given part of the time; then every target that is left is mended by itself
        until = time.monotonic() + HURRY * max(self.left(), 0.0)
        deep = hidden.sum() <= LARGE or not urgent
        known = len(self.pool.merge()[1])
        missed = self.attack(hidden, until, deep)
        first, turns, late = len(missed), 0, False
        while len(missed):
            turns += 1
            # a cell that turned out to be unguardable is published
            hidden = hidden & ~self.shown
            learnt, known = len(self.pool.merge()[1]) - known, len(self.pool.merge()[1])
            late = late or time.monotonic() > until or turns > PATIENCE
            late = late or (not deep and learnt < 0.1 * len(missed))
            if np.array_equal(hidden, ~self.shown):
                for target in missed:
                    self.give_up(int(target), force=True)
            elif late:
                hidden = self.mend(hidden, missed, urgent)
            else:
                hidden = self.repair(hidden, missed)
            if self.loss(hidden) >= limit or (not urgent and self.left() < 0):
                return None, first
            missed = self.open_targets(hidden) if late else self.attack(hidden, until, deep)
        return self.trim(hidden), first

    def trim(self, hidden: Bools) -> Bools:
        """Shows again what the known movements do not need."""
        return trim(hidden, self.demand.hidden, self.demand.weight, self.targets, self.proofs)

    def mend(self, hidden: Bools, missed: Ints, urgent: bool) -> Bools:
        """Hides the cheapest movement of each target, each on its own; ends when all are proven.

        Args:
            urgent: go on when time is over.
        """
        t = time.monotonic()
        soon, until = t + 0.4 * self.left(), np.inf if urgent else t + self.left()
        missed = missed[hidden[self.targets.cell[missed]]]
        halves = np.array_split(missed, 2) if len(missed) > 50 else [missed]
        failed: list[int] = []
        result = hidden.copy()
        for wider, proofs, lost in share(
            lambda part: mend(
                self.system,
                hidden,
                self.shown,
                self.demand.weight,
                self.targets,
                part,
                self.near,
                soon,
                until,
            ),
            halves,
            self.processes,
        ):
            result |= wider
            self.proofs.extend(proofs)
            failed += lost
        self.spend("mend", t)
        for target in failed:
            if time.monotonic() > until:
                break
            result = self.mend_far(result, target)
        return result

    def mend_far(self, hidden: Bools, target: int) -> Bools:
        """Looks for a movement among all cells; a target that has none is given up."""
        targets, cell = self.targets, int(self.targets.cell[target])
        if targets.settled[target] or self.shown[cell]:
            return hidden
        t = time.monotonic()
        price = np.where(hidden, 0.0, self.demand.weight) + CHEAP
        if self.whole is None:
            self.whole = Patch(self.system, np.flatnonzero(~self.shown), price)
        self.whole.cheapen(price)
        tried = [
            self.whole.move(cell, way, float(targets.need[target])) for way in self.ways(target)
        ]
        found = [one for one in tried if one is not None]
        if not found:
            self.spend("mend_far", t)
            self.give_up(target, force=True)
            return hidden & ~self.shown
        shift = min(found, key=lambda one: one[0])[1]
        hidden = hidden.copy()
        hidden[self.whole.cells[np.abs(shift) > MOVED]] = True
        mine = np.flatnonzero(hidden[targets.cell] & ~targets.settled)
        harvest(self.system, self.whole.cells, shift, targets, mine, self.whole.where, self.proofs)
        self.spend("mend_far", t)
        return hidden

    def clip(self) -> None:
        """Targets beyond what is known of the cell itself cannot be had."""
        targets = self.targets
        down, up = rooms(self.system)
        room = np.where(targets.side == UP, up[targets.cell], down[targets.cell])
        beyond = (targets.side != EITHER) & (targets.need > room + TOLERANCE)
        for target in np.flatnonzero(beyond):
            self.lower_to(int(target), float(room[target]), lines=False)

    def repair(self, hidden: Bools, missed: Ints) -> Bools:
        """A pattern that hides more, such that all rows found so far hold."""
        answer = self.cover(max(1.0, 0.2 * self.left()), lower=hidden)
        if not len(answer.x):
            return ~self.shown
        if np.array_equal(answer.x, hidden):
            return self.widen(hidden, missed)
        return answer.x

    def loss_of_demand(self) -> float:
        """Weight that is lost whatever is done."""
        return float(self.demand.weight[self.demand.hidden].sum())

    def widen(self, hidden: Bools, missed: Ints) -> Bools:
        """Hides everything that may be hidden around targets that are not met."""
        wider = hidden.copy()
        for target in missed:
            equations = self.near.equations(int(self.targets.cell[target]))
            wider[np.unique(self.system.matrix[equations].indices)] = True
        wider &= ~self.shown
        return ~self.shown if np.array_equal(wider, hidden) else wider


def violated(
    parts: list[tuple[Ints, Floats]], pattern: Floats, need: float
) -> tuple[Ints, Floats] | None:
    """One row out of a row per direction, of which one has to hold; None when the pattern meets it.

    The largest coefficients of the directions make a row that may be met by halves of each. Then
    the pattern has to hide one more of the cells that would help in any direction.
    """
    at, coef = join(parts)
    enough = need * (1 - 1e-6) - TOLERANCE
    if (coef * pattern[at]).sum() < enough:
        return at, coef
    if any((values * pattern[cells]).sum() >= enough for cells, values in parts):
        return None
    more = pattern[at] < 0.5
    return at[more], np.full(int(more.sum()), need)


def join(parts: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    """Largest coefficient per cell: one of several rows has to hold."""
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    at = np.unique(np.concatenate([cells for cells, _ in parts]))
    coef = np.zeros(len(at))
    for cells, values in parts:
        np.maximum.at(coef, np.searchsorted(at, cells), values)
    return at, coef


def intervals(
    system: System, hidden: Bools, cells: Ints, *, processes: int = 2
) -> tuple[Floats, Floats]:
    """Smallest and largest value that cells can have, given what is shown.

    Exact linear programs over the unconnected parts of the hidden cells.

    Args:
        hidden: the pattern.
        cells: hidden cells that are asked for.

    Returns:
        lower and upper ends, one per cell asked for; the ends may be fractional.
    """
    label = parts_of(system, hidden)
    asked = np.asarray(cells, dtype=np.int64)
    order = asked[np.argsort(label[asked], kind="stable")]
    halves = [half for half in np.array_split(order, 2) if len(half)]

    def work(half: Ints) -> tuple[list[float], list[float]]:
        low: list[float] = []
        high: list[float] = []
        single, at = None, -1
        for cell in half:
            if single is None or label[cell] != at:
                at = int(label[cell])
                single = Single(system, np.flatnonzero(label == at))
            value = float(system.values[cell])
            low.append(value - single.move(int(cell), DOWN, np.inf)[0])
            high.append(value + single.move(int(cell), UP, np.inf)[0])
        return low, high

    lower, upper = np.full(system.size, np.nan), np.full(system.size, np.nan)
    for half, (low, high) in zip(halves, share(work, halves, processes), strict=True):
        lower[half], upper[half] = low, high
    return lower[asked], upper[asked]


def parts_of(system: System, hidden: Bools) -> Ints:
    """Number of the unconnected part that each hidden cell lies in; -1 for cells that are shown."""
    cells = np.flatnonzero(hidden)
    part = system.matrix[:, cells].tocoo()
    m, n = part.shape
    graph = coo_array((np.ones(part.nnz), (part.row, m + part.col)), shape=(m + n, m + n))
    label = np.full(system.size, -1, dtype=np.int64)
    label[cells] = connected_components(graph, directed=False)[1][m:]
    return label


def recoverable(
    system: System, hidden: Bools, cells: Ints, *, unit: float = 1.0, processes: int = 2
) -> Ints:
    """Cells that come out exactly: they can move by one unit in neither direction."""
    guarded = np.zeros(system.size, dtype=bool)
    guarded[cells] = True
    none = np.full(system.size, np.nan)
    demand = Demand(
        hidden.copy(), ~hidden, np.zeros(system.size), guarded & hidden, none, none, unit
    )
    search = Search(system, demand, np.inf, processes)
    missed = search.attack(hidden)
    return np.unique(search.targets.cell[missed])


def suppress(
    system: System,
    demand: Demand,
    *,
    seconds: float,
    processes: int = 2,
    start: Bools | None = None,
    progress: Progress | None = None,
) -> Suppression:
    """Finds a safe pattern of small loss.

    Args:
        seconds: wall-clock time that may be used; the answer is safe when it runs out, and may
            then be a little late.
        processes: how many threads may work at once.
        start: a pattern to begin with, such as that of the release before.
        progress: is told what happens, as a name and numbers.

    Returns:
        The pattern, its loss and a bound, and what could not be had.

    Raises:
        DisclosureError: Z-DIS-060 to Z-DIS-064 when input is wrong, Z-DIS-066 when a process dies.
    """
    check(system, demand)
    search = Search(system, demand, seconds, processes, progress)
    hidden, bound, complete, rounds = search.run(start)
    return Suppression(
        hidden=hidden,
        secondary=hidden & ~demand.hidden,
        loss=search.loss(hidden),
        lower_bound=min(bound, search.loss(hidden)),
        unmet=tuple(search.unmet[k] for k in sorted(search.unmet)),
        infeasible=np.array(sorted(set(search.infeasible)), dtype=np.int64),
        seconds=time.monotonic() - search.began,
        complete=complete,
        rounds=rounds,
        notes=search.clock,
    )
