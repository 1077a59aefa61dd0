"""Protects a table: the public function, from cells and a spec to what may be published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zicht.disclosure.explain import explain
from zicht.disclosure.history import (
    STRUCTURE,
    Compared,
    Past,
    Released,
    compare,
    read_past,
    structure_path,
)
from zicht.disclosure.primary import GROUP, find_group, group_dimensions
from zicht.disclosure.problem import Problem
from zicht.disclosure.reading import read_columns, source_name
from zicht.disclosure.rounding import Rounded, round_conventionally, round_table
from zicht.disclosure.spec import Rounding, Spec, check_fit
from zicht.disclosure.suppressing import (
    Outcome,
    Say,
    count_problem,
    given_away_before,
    suppress_table,
)
from zicht.disclosure.tables import Bools, Floats, Ints, Table, build_table, merge_codes
from zicht.disclosure.writing import json_bytes, table_bytes, write_all
from zicht.errors import DisclosureError

if TYPE_CHECKING:
    import pandas

REPORT_FORMAT = 1
MOST_LISTED = 1000
"""A report lists at most this many cells of a kind; how many there are is always said."""


class HeldBackError(DisclosureError):
    """Policy holds this table or revision back: nothing is wrong with the input.

    What was released before stays as it is.
    """

    default_code = "Z-DIS-040"
    exit_status = 14


@dataclass(frozen=True)
class Protected:
    """A protected table.

    Attributes:
        columns: what may be published, in published order: one column per dimension, ``value``
            (None when hidden), the magnitude under its own name if there is one, ``obs_status``
            (A or Q) and ``conf_status`` (F or C).
        structure_columns: the public structure: which code lies in which.
        report: internal: what it cost, what could not be had, what changed; see the reference.
        outcome: what suppression came to; None for a table that was rounded.
        rounding: how the counts are rounded; None for not at all.
    """

    columns: dict[str, list[Any]]
    structure_columns: dict[str, list[str]]
    report: dict[str, Any]
    outcome: Outcome | None = None
    rounding: Rounding | None = None

    @property
    def published_columns(self) -> dict[str, list[Any]]:
        """``columns``, and of rounded counts ``rounding_base`` and ``rounding_mode``.

        A file travels without its spec, and a table can be rounded where the spec does not say so.
        """
        if self.rounding is None:
            return self.columns
        size = len(self.columns["value"])
        return self.columns | {
            "rounding_base": [self.rounding.base] * size,
            "rounding_mode": [self.rounding.mode] * size,
        }

    @property
    def table(self) -> pandas.DataFrame:
        """What may be published, as a data frame."""
        import pandas

        made = pandas.DataFrame(self.columns)
        made["value"] = pandas.array(self.columns["value"], dtype="Int64")
        return made

    @property
    def structure(self) -> pandas.DataFrame:
        """Which code lies in which, as a data frame."""
        import pandas

        return pandas.DataFrame(self.structure_columns)

    @cached_property
    def explanation(self) -> dict[str, list[Any]]:
        """Internal: columns with one row per hidden cell, see :func:`.explain.explain`."""
        return {} if self.outcome is None else explain(self.outcome)

    @property
    def internal(self) -> pandas.DataFrame:
        """Internal: why each hidden cell is hidden, and its interval; computed when asked for."""
        import pandas

        return pandas.DataFrame(self.explanation)

    def as_released(self, name: str = "earlier release") -> Released:
        """This table as an earlier release of the next one."""
        return Released(
            read_columns({**self.columns, "value": _blank(self.columns["value"])}),
            read_columns(self.structure_columns) if self.structure_columns["code"] else {},
            name,
            self.rounding,
        )

    def write(
        self, out: Path | str, explain: Path | str | None = None, report: Path | str | None = None
    ) -> None:
        """Writes what may be published with its structure, and if asked for what is internal.

        All files or none. ``out`` and ``explain`` are Parquet if their name ends so, else CSV.
        """
        out = Path(out)
        contents = {
            out: table_bytes(self.published_columns, out),
            structure_path(out): table_bytes(self.structure_columns, structure_path(out)),
        }
        if explain is not None:
            contents[Path(explain)] = table_bytes(self.explanation, Path(explain))
        if report is not None:
            contents[Path(report)] = json_bytes(self.report)
        write_all(contents)


def _blank(values: Sequence[Any]) -> list[Any]:
    return ["" if one is None else str(one) for one in values]


@dataclass
class _Run:
    """One call: what it was asked, and the notes it makes on its way."""

    spec: Spec
    pasts: list[Past]
    sums: list[Past]
    said: Say
    began: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    rounding: Rounding | None = None

    @property
    def seconds(self) -> float:
        """Seconds that are left; never so few that nothing can be done."""
        return max(1.0, self.spec.policy.seconds - (time.monotonic() - self.began))

    def warn(self, text: str) -> None:
        """Keeps a warning for the report."""
        self.warnings.append(text)


def protect_cells(
    cells: pandas.DataFrame | Path | str | Mapping[str, Any],
    spec: Spec,
    released: Sequence[Released] = (),
    progress: Callable[[str], None] | None = None,
) -> Protected:
    """Protects a table of innermost cells.

    Args:
        cells: one row per innermost combination: a data frame, columns by name, or a file (CSV
            or Parquet).
        spec: what is declared and asked, see :func:`.spec.load_spec`.
        released: everything ever released of the same units, oldest first, withdrawn included.
        progress: gets a line now and then.

    Returns:
        what may be published, and internally why.

    Raises:
        HeldBackError: Z-DIS-040 if the guarantee cannot be had and policy holds back, Z-DIS-041 if
            policy holds back small changes.
        DisclosureError: Z-DIS-014 to Z-DIS-042 for what is wrong with cells, spec or releases.
    """
    check_fit(spec)
    name = source_name(cells, "cells")
    run = _Run(spec, [], [], progress or (lambda _: None))
    table = build_table(read_columns(cells, name=name), spec, name)
    run.said(f"{table.size:,} cells with totals")
    run.pasts = [read_past(one, spec) for one in released]
    if spec.magnitude is not None:
        own = spec.magnitude.total
        run.sums = [read_past(one, spec, own) for one in released if own in one.cells]
    outcome, rounded = None, None
    method = spec.policy.method
    if method == "suppress":
        table, method = _mind_groups(table, run)
    if method == "suppress":
        outcome, table = _suppress(table, run)
    then = compare(table, run.pasts)
    changed = _small_changes(table, then, outcome, spec)
    if len(changed):
        outcome = _mind_changes(table, changed, outcome, run)
    if outcome is None:
        rounded = _round(table, run)
    return _finish(table, outcome, rounded, changed, then, run)


def _small_changes(table: Table, then: Compared, outcome: Outcome | None, spec: Spec) -> Ints:
    """Shown cells whose count differs by 1 to threshold - 1 from what was last shown of them."""
    if spec.history.relation == "equal" or outcome is None:
        return np.zeros(0, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        change = np.abs(table.count.ravel() - then.shown_value)
        small = (change >= 1) & (change < spec.policy.minimum_frequency)
    return np.flatnonzero(small & ~outcome.hidden)


def _mind_changes(table: Table, cells: Ints, outcome: Outcome | None, run: _Run) -> Outcome | None:
    """What policy does about small changes: None for rounding the table instead."""
    choice = run.spec.policy.small_changes
    if choice == "hold":
        raise HeldBackError(
            f"{table.name}: {len(cells)} shown cells changed by less than the threshold since "
            f"they were last shown: {_names(table, cells)}; policy.small_changes holds this "
            "revision back.",
            code="Z-DIS-041",
            remedy="Wait until more records came in, or set policy.small_changes to round or warn.",
        )
    if choice == "round":
        run.fallbacks.append("round (small changes)")
        return None
    run.warn(
        f"{len(cells)} shown cells changed by less than {run.spec.policy.minimum_frequency} "
        "since they were last shown: the late records behind them can be read off"
    )
    return outcome


def _names(table: Table, cells: Sequence[int] | Ints, most: int = 5) -> str:
    shown = ", ".join(table.label(int(cell)) for cell in cells[:most])
    return shown + (f" and {len(cells) - most} more" if len(cells) > most else "")


# Group disclosure ------------------------------------------------------------------------------


def _mind_groups(table: Table, run: _Run) -> tuple[Table, str]:
    """Merges or rounds where a category holds nearly all of its margin, if policy says so."""
    rule = run.spec.policy.group_disclosure
    if rule is None or rule.action == "hide":
        return table, "suppress"
    while True:
        hit = find_group(table, rule)[0]
        if not hit.any():
            return table, "suppress"
        if rule.action == "round":
            run.fallbacks.append(f"round ({GROUP})")
            return table, "round"
        merged = _merge_one(table, hit.ravel(), group_dimensions(table, rule), run)
        if merged is None:
            run.warn(
                f"{int(hit.sum())} categories hold nearly all of their margin and cannot be "
                "merged any further; they are hidden"
            )
            return table, "suppress"
        table = merged


def _merge_one(table: Table, cells: Bools, dimensions: Sequence[str], run: _Run) -> Table | None:
    """Merges the category with the most of these cells with its smallest neighbour.

    Returns:
        the table, or None if no dimension has more than two categories left.
    """
    if run.pasts:
        # Earlier releases keep their categories; a merged one could not be tied to them.
        return None
    hits = np.zeros(table.size, dtype=bool)
    hits[:] = cells
    grid = hits.reshape(table.shape)
    best: tuple[int, str, int] | None = None
    for number, axis in enumerate(table.axes):
        if axis.name not in dimensions or axis.steps or not axis.additive or len(axis.inner) < 3:
            continue
        others = tuple(n for n in range(len(table.axes)) if n != number)
        per_code = grid.sum(axis=others)
        at = max(axis.inner.tolist(), key=lambda one: (int(per_code[one]), -one))
        if per_code[at] and (best is None or per_code[at] > best[0]):
            best = (int(per_code[at]), axis.name, at)
    if best is None:
        return None
    number = next(n for n, axis in enumerate(table.axes) if axis.name == best[1])
    axis = table.axes[number]
    others = tuple(n for n in range(len(table.axes)) if n != number)
    sizes = table.count.sum(axis=others)
    mate = min((one for one in axis.inner.tolist() if one != best[2]), key=lambda c: (sizes[c], c))
    pair = sorted([axis.codes[best[2]], axis.codes[mate]])
    run.merged.append(f"{axis.name}: {' and '.join(pair)}")
    run.said(f"merging {axis.name}: {' and '.join(pair)}")
    return merge_codes(table, axis.name, pair)


# Suppression and what comes after it -----------------------------------------------------------


def _suppress(table: Table, run: _Run) -> tuple[Outcome | None, Table]:
    """A pattern, by the routes of policy; None if the table is to be rounded instead."""
    spec = run.spec

    def attempt(one: Table, *, relax: bool = False) -> Outcome:
        return suppress_table(
            one, spec, run.pasts, run.sums, seconds=run.seconds, relax=relax, say=run.said
        )

    outcome = attempt(table)
    if outcome.is_feasible:
        return outcome, table
    relaxed = attempt(table, relax=True) if spec.never_hide else None
    for route in (*spec.policy.infeasible, "hold_back"):
        if route == "hide_more" and relaxed is not None and relaxed.is_feasible:
            run.fallbacks.append(route)
            run.warn(f"hidden although never_hide names them: {_names(table, relaxed.relaxed)}")
            return relaxed, table
        if route == "merge":
            smaller, merged = _merge_until_feasible(outcome, run, attempt)
            if smaller is not None:
                run.fallbacks.append(route)
                return smaller, merged
        if route == "round" and table.magnitudes is None:
            run.fallbacks.append(route)
            return None, table
        if route == "hold_back":
            break
    raise _held_back(outcome, relaxed)


def _merge_until_feasible(
    outcome: Outcome, run: _Run, attempt: Callable[[Table], Outcome]
) -> tuple[Outcome | None, Table]:
    table = outcome.table
    names = [axis.name for axis in table.axes]
    while not outcome.is_feasible:
        cells = np.zeros(outcome.table.size, dtype=bool)
        cells[list(outcome.infeasible)] = True
        merged = _merge_one(outcome.table, cells, names, run)
        if merged is None:
            run.merged.clear()
            return None, table
        outcome = attempt(merged)
    return outcome, outcome.table


def _held_back(outcome: Outcome, relaxed: Outcome | None) -> HeldBackError:
    table = outcome.table
    parts = []
    if outcome.infeasible:
        parts.append(
            f"{len(outcome.infeasible)} cells cannot be protected: "
            f"{_names(table, outcome.infeasible)}"
        )
    if outcome.follows:
        parts.append(f"{len(outcome.follows)} of them follow from earlier releases alone")
    if outcome.past_infeasible:
        shown = "; ".join(outcome.past_infeasible[:5])
        parts.append(
            f"{len(outcome.past_infeasible)} cells that were hidden earlier would come out: {shown}"
        )
    if relaxed is not None and relaxed.is_feasible:
        remedy = (
            f"The smallest relaxation: allow hiding {_names(table, relaxed.relaxed)} "
            "(policy.infeasible: [hide_more]), or merge or round."
        )
    elif outcome.past_infeasible:
        remedy = "Hold this revision, or let policy.infeasible round; the past cannot be undone."
    else:
        remedy = "Let policy.infeasible merge categories or round, or publish fewer dimensions."
    error = HeldBackError(
        f"{table.name}: the guarantee cannot be had; {'; '.join(parts)}.",
        code="Z-DIS-040",
        remedy=remedy,
    )
    return error


def _recoverable(matrix: Any, values: Floats, low: Floats, high: Floats, looked_at: Bools) -> Ints:
    from zicht.disclosure.secondary import System, recoverable

    system = System(matrix, values, low, high)
    everything = np.ones(len(values), dtype=bool)
    found: Ints = recoverable(system, everything, np.flatnonzero(looked_at))
    return found


def _round(table: Table, run: _Run) -> Rounded:
    rounding = run.spec.policy.rounding
    if run.fallbacks and all(axis.additive for axis in table.axes):
        rounding = replace(rounding, mode="controlled")
    run.said(f"rounding to {rounding.base}, {rounding.mode}")
    run.rounding = rounding
    made = round_table(table, rounding, run.seconds, _recoverable)
    policy = run.spec.policy
    if policy.protection == "interval" and rounding.base < policy.minimum_frequency:
        run.warn(
            f"rounding to {rounding.base} leaves less open than policy.minimum_frequency "
            f"{policy.minimum_frequency}"
        )
    if run.pasts:
        _check_past(table, made, run)
    if made.hidden.any():
        run.warn(f"{int(made.hidden.sum())} cells are hidden, because rounding gave them away")
    return made


def _check_past(table: Table, made: Rounded, run: _Run) -> None:
    """Whether a rounded table and the past together give a hidden or small cell away."""
    from zicht.disclosure.secondary import System, recoverable

    problem = count_problem(table, run.pasts, run.spec)
    n, count = problem.n, table.count.ravel()
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[:n] = np.maximum(lower[:n], np.where(made.hidden, 0, made.low))
    upper[:n] = np.minimum(upper[:n], np.where(made.hidden, np.inf, made.high))
    watched = problem.guarded.copy()
    watched[:n] = (count > 0) & (made.hidden | (count < run.spec.policy.minimum_frequency))
    loose = lower < upper
    system = System(problem.matrix, problem.values, lower, upper)
    found = set(recoverable(system, loose, np.flatnonzero(watched & loose)).tolist())
    found |= set(np.flatnonzero(watched & ~loose).tolist())
    late = np.array(sorted(cell for cell in found if cell >= n), dtype=np.int64)
    found -= set(late[given_away_before(problem, late)].tolist())
    if run.spec.policy.protection == "interval":
        found |= _narrowed(problem, lower, upper, float(run.spec.policy.minimum_frequency))
    if found:
        names = [table.label(cell) if cell < n else problem.names[cell] for cell in sorted(found)]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise HeldBackError(
            f"{table.name}: rounded and beside earlier releases it gives {len(names)} cells "
            f"away: {', '.join(names[:5])}{more}.",
            remedy="Choose a larger rounding.base, or hold this revision.",
        )


def _narrowed(problem: Problem, lower: Floats, upper: Floats, least: float) -> set[int]:
    """Hidden cells of earlier releases that are known to be small beside these bounds, and were
    not without them.
    """
    from zicht.disclosure.secondary import System, intervals

    def highest(low: Floats, high: Floats, cells: Ints) -> Floats:
        system = System(problem.matrix, problem.values, low, high)
        return np.asarray(intervals(system, low < high, cells)[1])

    cells = np.flatnonzero(problem.guarded & (lower < upper) & (problem.values < least))
    if not len(cells):
        return set()
    cells = cells[highest(lower, upper, cells) < least - 1e-6]
    if not len(cells):
        return set()
    alone = highest(problem.lower, problem.upper, cells)
    return set(cells[alone >= least - 1e-6].tolist())


# What comes out --------------------------------------------------------------------------------


def _structure(table: Table) -> dict[str, list[str]]:
    rows = [
        (axis.name, step.level, step.code, step.parent_level, step.parent)
        for axis in table.axes
        for step in axis.steps
    ]
    return {column: [row[number] for row in rows] for number, column in enumerate(STRUCTURE)}


def _published(
    table: Table, hidden: Bools, counts: Ints, sums: Floats | None, spec: Spec
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = dict(table.key_columns())
    off = hidden.tolist()
    columns["value"] = [
        None if gone else one for one, gone in zip(counts.tolist(), off, strict=True)
    ]
    if sums is not None and spec.magnitude is not None:
        columns[spec.magnitude.total] = [
            None if gone else (int(one) if one == int(one) else one)
            for one, gone in zip(sums.tolist(), off, strict=True)
        ]
    columns["obs_status"] = ["Q" if gone else "A" for gone in off]
    columns["conf_status"] = ["C" if gone else "F" for gone in off]
    return columns


def _finish(
    table: Table,
    outcome: Outcome | None,
    rounded: Rounded | None,
    changed: Ints,
    then: Compared,
    run: _Run,
) -> Protected:
    spec = run.spec
    income = spec.policy.income
    if rounded is not None:
        hidden, counts = rounded.hidden, rounded.values
    else:
        assert outcome is not None
        hidden, counts = outcome.hidden, table.count.ravel()
        if outcome.already_known:
            run.warn(
                f"{len(outcome.already_known)} cells are given away by earlier releases alone: "
                f"{', '.join(outcome.already_known[:5])}"
            )
        if income is not None:
            counts = round_conventionally(counts, income.base)
    sums = None if table.magnitudes is None else table.magnitudes.total.ravel()
    report = {
        "format": REPORT_FORMAT,
        "input": table.name,
        "spec": spec.name,
        **_report_counts(table, outcome, rounded, hidden, spec),
        "changes": _report_changes(table, hidden, changed, then, run),
        "fallbacks": run.fallbacks,
        "merged": run.merged,
        "warnings": run.warnings,
        "seconds": round(time.monotonic() - run.began, 2),
    }
    columns = _published(table, hidden, counts, sums, spec)
    how = run.rounding if rounded is not None else None
    if rounded is None and income is not None:
        how = Rounding(income.base, "conventional")
    return Protected(columns, _structure(table), report, outcome, how)


def _listed(items: Iterator[Any]) -> list[Any]:
    return [one for one, _ in zip(items, range(MOST_LISTED), strict=False)]


def _report_counts(
    table: Table, outcome: Outcome | None, rounded: Rounded | None, hidden: Bools, spec: Spec
) -> dict[str, Any]:
    count = table.count.ravel()
    base = spec.policy.income.base if spec.policy.income is not None else None
    base = spec.policy.rounding.base if rounded is not None else base
    made: dict[str, Any] = {
        "method": "round" if rounded is not None else "suppress",
        "n_cells": table.size,
        "n_hidden": int(hidden.sum()),
        "rounding_base": base,
    }
    if rounded is not None:
        error = np.abs(rounded.values - count)
        made |= {
            "n_moved": len(rounded.moved),
            "largest_error": int(error.max()),
            "mean_error": round(float(error.mean()), 3),
            "narrowest_interval": int((rounded.high - rounded.low).min()),
        }
        return made
    assert outcome is not None
    primary = outcome.primary.cells.ravel() & hidden
    secondary = hidden & ~primary
    bound = outcome.lower_bound
    return made | {
        "n_primary": int(primary.sum()),
        "n_secondary": int(secondary.sum()),
        "n_kept_hidden": int((outcome.kept & hidden).sum()),
        "by_rule": {rule: int(cells.sum()) for rule, cells in outcome.primary.by_rule.items()},
        "mass": int(count[secondary].sum()),
        "loss": outcome.loss,
        "lower_bound": None if np.isnan(bound) else bound,
        "is_complete": outcome.complete,
        "n_unmet": len(outcome.unmet),
        "unmet": _listed(
            {
                "cell": table.key(one.cell),
                "side": one.side,
                "wanted": round(one.wanted, 6),
                "reached": round(one.reached, 6),
            }
            for one in outcome.unmet
        ),
        **_out_of_reach(table, primary, spec),
        "relaxed": [table.key(cell) for cell in outcome.relaxed if hidden[cell]],
        "given_away_before": list(outcome.already_known[:MOST_LISTED]),
        "unmet_before": list(outcome.past_unmet[:MOST_LISTED]),
    }


def _out_of_reach(table: Table, primary: Bools, spec: Spec) -> dict[str, Any]:
    """Primary cells that can never look like 1: so many of their innermost cells are not zero."""
    policy = spec.policy
    if policy.protection != "interval" or not policy.zeros_are_known:
        return {"n_never_one": 0, "never_one": []}
    parts = table.n_nonzero.ravel()
    cells = np.flatnonzero(primary & (parts > 1) & (parts <= table.count.ravel()))
    small = cells[table.count.ravel()[cells] < policy.minimum_frequency]
    return {
        "n_never_one": len(small),
        "never_one": _listed(
            {"cell": table.key(int(cell)), "lowest": int(parts[cell])} for cell in small
        ),
    }


def _report_changes(
    table: Table, hidden: Bools, changed: Ints, then: Compared, run: _Run
) -> dict[str, Any] | None:
    if not run.pasts:
        return None
    opened = np.flatnonzero(then.was_hidden & ~hidden)
    closed = np.flatnonzero(then.was_shown & hidden)
    return {
        "n_hidden_to_shown": len(opened),
        "hidden_to_shown": _listed(table.key(int(cell)) for cell in opened),
        "n_shown_to_hidden": len(closed),
        "shown_to_hidden": _listed(table.key(int(cell)) for cell in closed),
        "n_small_changes": len(changed),
        "small_changes": _listed(
            {
                **table.key(int(cell)),
                "was": int(then.shown_value[cell]),
                "is": int(table.count.ravel()[cell]),
            }
            for cell in changed
        ),
    }


__all__ = ["HeldBackError", "Protected", "Released", "protect_cells"]
