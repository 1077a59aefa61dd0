"""The attack: lays published tables together and lists what they give away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from zicht.attacker import findings as found
from zicht.attacker.complaints import unlike
from zicht.attacker.findings import Attacked, Finding
from zicht.attacker.inference import infer
from zicht.attacker.knowledge import (
    Clue,
    HiddenCount,
    Key,
    Knowledge,
    Participant,
    enter_clues,
    enter_flags,
    enter_hidden_counts,
    enter_participant,
    variable_of,
)
from zicht.attacker.programs import Goal
from zicht.attacker.propagation import propagate
from zicht.attacker.published import HIDDEN, SHOWN, PublishedTable
from zicht.attacker.rates import RateTable, clues_of_rates, rate_findings
from zicht.attacker.report import Interval, Report, Statistics, TableSummary
from zicht.attacker.system import System, build_system
from zicht.errors import AttackError


def _with_vintages(tables: Sequence[PublishedTable]) -> list[PublishedTable]:
    """Every table gets a vintage: its own, or one for all where they hold the same facts."""
    if tables[0].spec.relation == "equal":
        return [replace(table, vintage=tables[0].vintage or "now") for table in tables]
    return [
        table if table.vintage else replace(table, vintage=table.name or f"table {i + 1}")
        for i, table in enumerate(tables)
    ]


def _same_units(tables: Sequence[PublishedTable]) -> list[list[PublishedTable]]:
    groups: dict[tuple[str, str], list[PublishedTable]] = {}
    for table in tables:
        groups.setdefault((table.subject, table.period), []).append(table)
    for own in groups.values():
        for other in own[1:]:
            if other.spec.is_whole != own[0].spec.is_whole:
                raise unlike(
                    f"{other.name}: one holds counts and the other ({own[0].name}) amounts.",
                    "Give tables of the same measure, or attack them apart.",
                )
    return list(groups.values())


def _goal(system: System, *, intervals: bool) -> Goal:
    n = len(system.lower)
    exact = system.hidden & ~system.shown
    whole = np.zeros(n, dtype=bool)
    reach = np.full(n, np.nan)
    for table, place in zip(system.tables, system.place, strict=True):
        spec = table.spec
        hidden = place[table.status == HIDDEN]
        if intervals or (spec.p_percent is not None and not spec.is_whole):
            whole[hidden] = True
        elif spec.protection == "interval" and spec.is_whole:
            reach[hidden] = spec.minimum_frequency
        if spec.rounding_base > 1:
            whole[place[table.status == SHOWN]] = True
    whole &= ~system.shown | (system.upper > system.lower)
    return Goal(exact, whole, reach)


def _run(system: System, goal: Goal, processes: int, late: Callable[[], bool]) -> Attacked:
    bounds = propagate(system)
    return Attacked(system, bounds, infer(system, bounds, goal, processes=processes, late=late))


def attack(
    tables: Sequence[PublishedTable],
    *,
    knowledge: Knowledge = Knowledge.INFORMED,
    processes: int = 2,
    seconds: float | None = None,
    intervals: bool = False,
    primary: Sequence[Key] | None = None,
    participant: Participant | None = None,
    clues: Sequence[Clue] = (),
    rates: Sequence[RateTable] = (),
    hidden_counts: Sequence[HiddenCount] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Computes what published tables give away, one table or many together.

    Tables of one subject and period hold the same units and are laid together; the first of them
    is the newest. Tables of one vintage hold the same facts; other vintages are tied as
    ``history.relation`` of the spec says.

    Args:
        tables: what is published, from :func:`read_table`, :func:`make_table` or
            :func:`tables_of_release`.
        knowledge: what the attacker knows beside the tables.
        processes: processes to use.
        seconds: stop after this many; what is then open is a finding ``undecided``.
        intervals: compute the whole interval of every hidden cell, also where only exact recovery
            was excluded by policy.
        primary: keys of the primary cells of the newest table. Their intervals are judged
            (``narrow``); with knowledge ``flags`` the attacker uses them too.
        participant: a contributor who knows himself, for knowledge ``participant``.
        clues: what is known of single cells of the newest table from elsewhere.
        rates: published rates whose numerators are cells of the newest table.
        hidden_counts: published remarks on hidden cells of the newest table.
        clock: seconds that go on.

    Raises:
        AttackError: Z-ATT-011 tables that cannot be laid together, Z-ATT-012 a cell that is not
            there, Z-ATT-014 knowledge without what is known, Z-ATT-017 no table at all.
    """
    if not tables:
        raise AttackError(
            "there is no table to attack.", code="Z-ATT-017", remedy="Name a published file."
        )
    if knowledge is Knowledge.FLAGS and primary is None:
        raise AttackError(
            "knowledge flags without the primary cells.",
            code="Z-ATT-014",
            remedy="Name them with --flags FILE (in Python: primary=).",
        )
    if knowledge is Knowledge.PARTICIPANT and participant is None:
        raise AttackError(
            "knowledge participant without his cell.",
            code="Z-ATT-014",
            remedy="Name it with --participant mun=GM0363,cat=C1 (in Python: participant=).",
        )
    started = clock()

    def late() -> bool:
        return seconds is not None and clock() - started > seconds

    informed = knowledge is not Knowledge.NAIVE
    list_: list[Finding] = []
    statistics = Statistics()
    measured: list[Interval] = []
    for i, group in enumerate(_same_units(tables)):
        own = _with_vintages(group)
        system = build_system(own, informed=informed)
        if i == 0:
            enter_clues(system, [*clues, *(clue for one in rates for clue in clues_of_rates(one))])
            enter_hidden_counts(system, hidden_counts)
            if knowledge is Knowledge.PARTICIPANT and participant is not None:
                enter_participant(system, participant)
        goal = _goal(system, intervals=intervals)
        small: list[int] = []
        if i == 0 and primary is not None:
            small = [variable_of(system, key) for key in primary]
            small = [v for v in small if system.hidden[v] and not system.shown[v]]
            goal.interval[small] = True
        attacked = _run(system, goal, processes, late)
        list_ += found.contradictions(attacked)
        list_ += found.printed(attacked)
        list_ += found.shown_small(attacked)
        list_ += found.narrow_amounts(attacked, small)
        list_ += found.narrow_primaries(attacked, small if system.is_whole else ())
        list_ += found.rounded(attacked)
        list_ += found.differences(attacked)
        if intervals or any(table.spec.protection == "interval" for table in own):
            list_ += found.below_threshold(attacked)
        if i == 0 and knowledge is Knowledge.FLAGS and primary is not None:
            flagged = build_system(own, informed=informed)
            enter_flags(flagged, primary)
            goal = replace(goal, interval=np.zeros_like(goal.interval), reach=goal.reach * np.nan)
            list_ += found.recoveries(_run(flagged, goal, processes, late))
        else:
            list_ += found.recoveries(attacked)
        statistics = statistics.plus(attacked)
        if intervals:
            measured += _intervals(attacked)
    for one in rates:
        list_ += rate_findings(one, minimum_frequency=tables[0].spec.minimum_frequency)
    order = {kind: i for i, kind in enumerate(found.Kind)}
    return Report(
        knowledge=knowledge,
        tables=tuple(TableSummary.of(table) for table in tables),
        findings=tuple(sorted(list_, key=lambda one: order[one.kind])),
        statistics=statistics,
        intervals=tuple(measured),
        seconds=clock() - started,
    )


def _intervals(attacked: Attacked) -> list[Interval]:
    system = attacked.system
    measured = []
    for variable in np.flatnonzero(system.hidden & ~system.shown).tolist():
        lower, upper = attacked.ends(variable)
        measured.append(
            Interval(
                table=system.name(variable),
                key=system.key(variable),
                lower=found.tidy(lower),
                upper=found.tidy(upper),
                subject=system.tables[0].subject,
                period=system.tables[0].period,
            )
        )
    return measured
