"""The report of an attack: for a person at 80 columns, and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zicht.attacker.findings import Attacked, Finding, Kind, Severity, number
from zicht.attacker.knowledge import Knowledge
from zicht.attacker.published import HIDDEN, SHOWN, UNKNOWN, PublishedTable

VERSION = 1
"""Version of the JSON document; a new field does not change it, another meaning does."""

WIDTH = 80

MEANING = {
    Kind.EXACT: "hidden cells whose value can be computed",
    Kind.PRINTED: "cells hidden in one table and shown in another",
    Kind.SHOWN_SMALL: "values under the threshold that are shown",
    Kind.BELOW_THRESHOLD: "hidden cells that are known to be under the threshold",
    Kind.NARROW: "hidden cells that are known too well",
    Kind.ROUNDING: "rounded values that are known better than the base allows",
    Kind.RATE: "numerators that follow from a rate",
    Kind.DIFFERENCE: "small changes between releases",
    Kind.CANARY: "values that occur only in confidential data",
    Kind.NOT_ADDITIVE: "published values that contradict each other",
    Kind.UNDECIDED: "cells of which it is not known",
}


@dataclass(frozen=True)
class TableSummary:
    """One of the tables that were attacked."""

    name: str
    subject: str
    period: str
    vintage: str
    n_cells: int
    n_shown: int
    n_hidden: int
    n_unknown: int = 0
    n_unused: int = 0
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: PublishedTable) -> TableSummary:
        """Counts the cells of a table."""
        return cls(
            table.name,
            table.subject,
            table.period,
            table.vintage,
            table.n_cells,
            int((table.status == SHOWN).sum()),
            int((table.status == HIDDEN).sum()),
            int((table.status == UNKNOWN).sum()),
            table.n_unused,
            table.ignored,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.__dict__, "ignored": list(self.ignored)}


@dataclass(frozen=True)
class Statistics:
    """How large the attack was."""

    n_variables: int = 0
    n_rows: int = 0
    n_propagated: int = 0
    n_components: int = 0
    largest_component: int = 0
    n_programs: int = 0

    def plus(self, attacked: Attacked) -> Statistics:
        """These numbers with those of one more system."""
        system, result = attacked.system, attacked.result
        fixed = attacked.bounds.is_fixed() & system.hidden & ~system.shown
        return Statistics(
            self.n_variables + len(system.lower),
            self.n_rows + len(system.row_lower),
            self.n_propagated + int(np.sum(fixed)),
            self.n_components + result.n_components,
            max(self.largest_component, result.largest),
            self.n_programs + result.n_programs,
        )


@dataclass(frozen=True)
class Interval:
    """The interval of one hidden cell; ``upper`` is None where there is no limit."""

    table: str
    key: Mapping[str, str]
    lower: float | None
    upper: float | None
    subject: str = ""
    period: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.__dict__, "key": dict(self.key)}


@dataclass(frozen=True)
class Report:
    """All that an attack found.

    Attributes:
        knowledge: what the attacker knew.
        tables: what was attacked.
        findings: the gravest kinds first.
        statistics: how large the attack was.
        intervals: of every hidden cell, when that was asked.
        seconds: how long it took; not in the JSON, which is the same for the same input.
    """

    knowledge: Knowledge
    tables: tuple[TableSummary, ...]
    findings: tuple[Finding, ...]
    statistics: Statistics = field(default_factory=Statistics)
    intervals: tuple[Interval, ...] = ()
    seconds: float = 0.0

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings that break the promise."""
        return tuple(one for one in self.findings if one.severity is Severity.FAIL)

    @property
    def is_safe(self) -> bool:
        """Whether nothing was found that breaks the promise."""
        return not self.failures

    def with_findings(self, more: Sequence[Finding]) -> Report:
        """This report with more findings, each kind in its place."""
        order = list(Kind)
        joined = sorted([*self.findings, *more], key=lambda one: order.index(one.kind))
        return replace(self, findings=tuple(joined))

    def count(self, kind: Kind) -> int:
        """Findings of one kind."""
        return sum(one.kind is kind for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; the same input gives the same document."""
        counts = Counter((one.kind, one.severity) for one in self.findings)
        summary = {
            kind.value: {s.value: counts[(kind, s)] for s in Severity if counts[(kind, s)]}
            for kind in Kind
            if any(counts[(kind, s)] for s in Severity)
        }
        document: dict[str, Any] = {
            "version": VERSION,
            "knowledge": self.knowledge.value,
            "is_safe": self.is_safe,
            "summary": summary,
            "tables": [table.to_json() for table in self.tables],
            "statistics": dict(self.statistics.__dict__),
            "findings": [one.to_json() for one in self.findings],
        }
        if self.intervals:
            document["intervals"] = [one.to_json() for one in self.intervals]
        return document


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_long_words=True
    )


def _interval(one: Finding) -> str:
    if one.lower is None and one.upper is None:
        return ""
    if one.lower == one.upper:
        return f" = {number(one.lower)}"
    upper = "no limit" if one.upper is None else number(one.upper)
    return f" from {number(one.lower or 0.0)} to {upper}"


def _of_kind(kind: Kind, own: Sequence[Finding], most: int) -> list[str]:
    per = Counter(one.severity for one in own)
    marks = ", ".join(f"{per[s]} {s.value}" for s in Severity if per[s])
    lines = ["", *_wrapped(f"{kind.value}: {MEANING[kind]} ({marks})", "")]
    several = len({one.table for one in own}) > 1
    for one in own[:most]:
        cell = " ".join(one.key.values()) or one.table
        lines += _wrapped(f"{cell}{_interval(one)}: {one.message}", "  ")
        if several and one.table and one.key:
            lines += _wrapped(f"in {one.table}", "      ")
        for step in one.evidence[:3]:
            lines += _wrapped(step, "      ")
    if len(own) > most:
        lines.append(f"  and {len(own) - most} more; all of them are in the JSON report")
    return lines


def render(report: Report, *, most: int = 10) -> str:
    """The report for a person, at most 80 columns wide.

    Args:
        report: what was found.
        most: findings of each kind that are written out.
    """
    lines = []
    for table in report.tables:
        lines += _wrapped(
            f"{table.name}: {table.n_cells} cells, {table.n_shown} shown, {table.n_hidden} hidden"
            + (f", {table.n_unknown} unknown" if table.n_unknown else ""),
            "",
        )
        if table.n_unknown:
            said = "not looked for: values of unknown cells, which may follow from the rest"
            printed = f"; {table.n_unused} of these are printed and were not used"
            lines += _wrapped(said + (printed if table.n_unused else ""), "  ")
        if table.ignored:
            # Such a column may hold the very values that are hidden.
            lines += _wrapped(f"not looked at: the columns {', '.join(table.ignored)}", "  ")
    sizes = report.statistics
    lines += _wrapped(
        f"attacker: {report.knowledge.value}; {sizes.n_variables} unknowns and "
        f"{sizes.n_rows} lines, {sizes.n_components} blocks of at most "
        f"{sizes.largest_component}, {sizes.n_programs} linear programs, {report.seconds:.1f} s",
        "",
    )
    if any(one.evidence for one in report.findings):
        lines.append("in the lines below, [9] was computed and ? was not")
    for kind in sorted(Kind, key=_gravity(report)):
        own = [one for one in report.findings if one.kind is kind]
        if own:
            lines += _of_kind(kind, sorted(own, key=lambda one: _RANK[one.severity]), most)
    lines.append("")
    n = len(report.failures)
    lines.append(
        "nothing found that breaks the promise"
        if report.is_safe
        else f"NOT SAFE: {n} finding{'s' if n > 1 else ''} that break{'' if n > 1 else 's'} "
        "the promise"
    )
    return "\n".join(lines) + "\n"


_RANK = {Severity.FAIL: 0, Severity.WARN: 1, Severity.INFO: 2}


def _gravity(report: Report) -> Any:
    worst = dict.fromkeys(Kind, 3)
    for one in report.findings:
        worst[one.kind] = min(worst[one.kind], _RANK[one.severity])
    order = list(Kind)
    return lambda kind: (worst[kind], order.index(kind))
