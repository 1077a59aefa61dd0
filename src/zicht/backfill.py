"""Backfills: computing again what was computed, on a request that a second person has reviewed.

Vintages are computed once, so nothing is computed again by itself. After a fault below them (a
library that calculated wrongly, a damaged disk) a backfill forgets the rows of the sources and
periods that it names and runs a refresh, which then finds them missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import Record, read_ledger
from zicht.errors import UsageError, ZichtError
from zicht.files import locked, write_json
from zicht.periods import Period
from zicht.refresh.checked import forget_passed, passed_gate_2
from zicht.refresh.run import mark_warehouse
from zicht.settings import Settings
from zicht.sql import quoted
from zicht.transform import relations
from zicht.upkeep import rests_on

Say = Callable[[str], None]

_FIELDS = ("id", "sources", "periods", "reason", "requester", "reviewer", "reviewed_on")
_TEXTS = ("reason", "requester", "reviewer")


class BackfillError(UsageError):
    """A backfill was asked for that cannot be run."""

    default_code = "Z-BCK-001"


@dataclass(frozen=True)
class Backfill:
    """A reviewed request.

    Attributes:
        id: the name of the file.
        sources: whose deliveries are gone over again.
        first: the first period; periods of any length that lie between it and ``last`` are meant.
        last: the last period.
        reason: why.
        requester: who asks.
        reviewer: who agreed; another person.
        reviewed_on: when.
        sha256: hash of the file.
    """

    id: str
    sources: tuple[str, ...]
    first: Period
    last: Period
    reason: str
    requester: str
    reviewer: str
    reviewed_on: date
    sha256: str

    def concerns(self, record: Record) -> bool:
        """Whether a delivery is of one of the sources and lies within the periods."""
        period = record.reference_period
        return (
            record.source in self.sources
            and period.start >= self.first.start
            and period.end <= self.last.end
        )


@dataclass(frozen=True)
class Rows:
    """The rows of a cube in one vintage, and a hash of them."""

    cube: str
    reference_period: str
    vintage: str
    sha256: str


@dataclass(frozen=True)
class Scope:
    """What a backfill goes over again.

    Attributes:
        deliveries: the accepted deliveries of its sources and periods.
        checked: those of them that have passed gate 2, and will be looked at again.
        rows: the rows that rest on any of them.
    """

    deliveries: tuple[Record, ...]
    checked: tuple[Record, ...]
    rows: tuple[Rows, ...]


def _wrong(path: Path, what: str, remedy: str, code: str = "Z-BCK-001") -> BackfillError:
    return BackfillError(f"{path}: {what}.", code=code, remedy=remedy)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        content = path.read_bytes()
        document = yaml.safe_load(content)
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror})", "Name a file.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _wrong(path, f"not YAML: {error}", "Correct the YAML.") from error
    if not isinstance(document, dict) or set(document) != set(_FIELDS):
        found = set(document) if isinstance(document, dict) else set()
        odd = ", ".join(sorted(map(str, found ^ set(_FIELDS))))
        raise _wrong(
            path, f"missing or unknown: {odd}", f"It has exactly the fields {', '.join(_FIELDS)}."
        )
    return document, hashlib.sha256(content).hexdigest()


def _periods(path: Path, value: Any) -> tuple[Period, Period]:
    try:
        first, last = (Period.parse(str(value[end])) for end in ("from", "to"))
    except (TypeError, KeyError, ValueError) as error:
        raise _wrong(
            path,
            f"periods {value!r} ({error})",
            'Write {from: "2022", to: "2023-Q4"}, both included.',
            "Z-BCK-004",
        ) from error
    if first.start > last.end:
        raise _wrong(path, f"{first} lies after {last}", "Exchange from and to.", "Z-BCK-004")
    return first, last


def load_backfill(path: Path, contracts: Mapping[str, Contract], today: date) -> Backfill:
    """Reads and checks a backfill.

    Raises:
        BackfillError: Z-BCK-001 if the file is not of the agreed form, Z-BCK-002 if nobody else
            has reviewed it, Z-BCK-003 for an unknown source, Z-BCK-004 for impossible periods.
    """
    document, sha256 = _read(path)
    if document["id"] != path.stem:
        raise _wrong(path, f"its id is {document['id']!r}", f"Set id: {path.stem}.")
    for name in _TEXTS:
        if not isinstance(document[name], str) or not document[name].strip():
            raise _wrong(path, f"{name} is empty", "Fill it in.")
    reviewed_on = document["reviewed_on"]
    if type(reviewed_on) is not date or reviewed_on > today:
        raise _wrong(
            path,
            f"reviewed_on is {reviewed_on!r}, not a past day",
            "Write 2026-11-20.",
            "Z-BCK-002",
        )
    requester, reviewer = (" ".join(document[k].split()) for k in ("requester", "reviewer"))
    if requester.casefold() == reviewer.casefold():
        raise _wrong(
            path,
            f"{requester} asked for it and reviewed it",
            "Have another person review it, and name that person.",
            "Z-BCK-002",
        )
    sources = document["sources"]
    if not isinstance(sources, list) or not sources or len(set(map(str, sources))) < len(sources):
        raise _wrong(path, "sources is not a list of sources, each once", "Name one or more.")
    unknown = [str(source) for source in sources if source not in contracts]
    if unknown:
        raise _wrong(
            path,
            f"no contract for {', '.join(unknown)}",
            f"Choose from: {', '.join(contracts)}.",
            "Z-BCK-003",
        )
    first, last = _periods(path, document["periods"])
    return Backfill(
        id=path.stem,
        sources=tuple(sorted(sources)),
        first=first,
        last=last,
        reason=document["reason"].strip(),
        requester=requester,
        reviewer=reviewer,
        reviewed_on=reviewed_on,
        sha256=sha256,
    )


def _row_hashes(settings: Settings) -> dict[tuple[str, str, str], str]:
    """Per cube, period and vintage in the warehouse a hash of its rows."""
    if not settings.warehouse.exists():
        return {}
    cubes = [name for name in relations(settings.warehouse) if name.startswith("cube_")]
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return {
            (cube, period, vintage): sha256
            for cube in cubes
            for period, vintage, sha256 in connection.execute(
                "select reference_period, vintage, sha256(string_agg(line, '' order by line)) "
                "from (select reference_period, vintage, "
                f"sha256(cast(to_json(t) as varchar)) as line from {quoted(cube)} as t) "
                "group by reference_period, vintage order by all"
            ).fetchall()
        }


def find_scope(settings: Settings, backfill: Backfill) -> Scope:
    """Works out what a backfill goes over again; changes nothing.

    Rows that rest on a delivery that was destroyed since stay as they are: they could not be
    computed again.

    Raises:
        BackfillError: Z-BCK-005 if no delivery of these sources and periods was accepted.
    """
    records = read_ledger(settings)
    deliveries = [record for record in records if backfill.concerns(record)]
    if not deliveries:
        raise BackfillError(
            f"{backfill.id}: no delivery of {', '.join(backfill.sources)} from {backfill.first} "
            f"to {backfill.last} was accepted.",
            code="Z-BCK-005",
            remedy="zicht deliveries lists what there is.",
        )
    concerned = {(r.source, r.id) for r in deliveries}
    there = {(r.source, r.id) for r in records}
    rows = []
    for (cube, period, vintage), sha256 in _row_hashes(settings).items():
        basis = rests_on(settings, vintage) or frozenset()
        if basis & concerned and basis <= there:
            rows.append(Rows(cube, period, vintage, sha256))
    passed = {source: passed_gate_2(settings, source) for source in backfill.sources}
    return Scope(
        deliveries=tuple(deliveries),
        checked=tuple(r for r in deliveries if r.id in passed[r.source]),
        rows=tuple(rows),
    )


def _forget(settings: Settings, backfill: Backfill, scope: Scope) -> None:
    """Forgets the rows and that their deliveries were looked at.

    A refresh that is under way has planned with these rows, so it loses the warehouse and has to
    start again from its plan.
    """
    mark_warehouse(settings, f"backfill-{backfill.id}")
    if scope.rows:
        with duckdb.connect(str(settings.warehouse)) as connection:
            connection.execute("begin")
            for row in scope.rows:
                connection.execute(
                    f"delete from {quoted(row.cube)} where reference_period = ? and vintage = ?",
                    [row.reference_period, row.vintage],
                )
            connection.execute("commit")
    checkpoint("backfill-forgotten")
    forget_passed(settings, ((r.source, r.id) for r in scope.deliveries))


def _row_json(row: Rows, after: Mapping[tuple[str, str, str], str]) -> dict[str, Any]:
    now = after.get((row.cube, row.reference_period, row.vintage))
    return {
        "cube": row.cube,
        "reference_period": row.reference_period,
        "vintage": row.vintage,
        "sha256_before": row.sha256,
        "sha256_after": now,
    }


def _record(backfill: Backfill, scope: Scope, started: datetime) -> dict[str, Any]:
    return {
        "id": backfill.id,
        "sha256": backfill.sha256,
        "sources": list(backfill.sources),
        "periods": {"from": str(backfill.first), "to": str(backfill.last)},
        "reason": backfill.reason,
        "requester": backfill.requester,
        "reviewer": backfill.reviewer,
        "reviewed_on": backfill.reviewed_on.isoformat(),
        "started_at": format_moment(started),
        "deliveries": [{"source": r.source, "id": r.id} for r in scope.deliveries],
        "rows": [_row_json(row, {}) for row in scope.rows],
        "state": "started",
    }


def run_backfill(
    settings: Settings, path: Path, clock: Clock, say: Say, refresh: Callable[[], None]
) -> dict[str, Any]:
    """Runs a backfill and keeps a record of it in ``$ZICHT_HOME/backfills/``.

    Killed half-way it has forgotten rows that the next refresh computes, as any that are missing.

    Args:
        path: the reviewed request.
        refresh: runs a refresh and waits for its end.

    Returns:
        The record: the request, what was forgotten, and per group of rows the hash before and
        after; ``sha256_after`` is null for rows that nothing shows now, which are computed again
        when a look at the past asks for them.

    Raises:
        BackfillError: as :func:`load_backfill` and :func:`find_scope`.
    """
    started = clock()
    backfill = load_backfill(path, load_contracts(settings.contracts), started.date())
    target = settings.home / "backfills" / f"{backfill.id}-{started:%Y%m%dT%H%M%SZ}.json"
    with locked(settings.locks / "warehouse.lock"):
        scope = find_scope(settings, backfill)
        record = _record(backfill, scope, started)
        # Before anything is forgotten: who is killed half-way leaves the reason behind.
        write_json(target, record)
        _forget(settings, backfill, scope)
    say(summary(scope))
    try:
        refresh()
    except ZichtError as error:
        write_json(target, {**record, "state": "refresh_failed", "code": error.code})
        raise
    after = _row_hashes(settings)
    rows = [_row_json(row, after) for row in scope.rows]
    record |= {"rows": rows, "state": "done", "ended_at": format_moment(clock())}
    write_json(target, record)
    say(_verdict(rows))
    return record


def summary(scope: Scope) -> str:
    """What a backfill goes over again, in a line."""
    return (
        f"  {len(scope.deliveries)} deliveries to look at again, {len(scope.rows)} cube vintages "
        "that rest on them to compute again"
    )


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    made = [row for row in rows if row["sha256_after"] is not None]
    changed = sum(1 for row in made if row["sha256_after"] != row["sha256_before"])
    rest = f"; {len(rows) - len(made)} that nothing shows now wait" if len(made) < len(rows) else ""
    return f"  {len(made)} computed again, {changed} of them with other rows than before{rest}"
