"""Upkeep: destroys what may no longer be held, and keeps a record of what, when and why.

A delivery goes when no agreement covers its source any more, or when the shortest retention that
holds for it has passed since it was accepted. With it goes what was computed from it and is
confidential. Releases stay: they disclose nobody.

The record is written first and closed last, so that a process that is killed in between leaves a
record that the next run finishes. Killed at any point and run again, the end is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from zicht.agreements import Agreement, agreements_of, covers, load_agreements
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import GATE_1, Record, delivery_folder, read_ledger
from zicht.deliveries.package import sha256_of
from zicht.deliveries.quarantine import PAGE, PAYLOAD, REPORT, Refusal, read_quarantine
from zicht.errors import ConfigurationError
from zicht.files import (
    hidden_beside,
    list_folders,
    locked,
    move_folder,
    read_json,
    remove_tree,
    write_atomic,
    write_json,
)
from zicht.periods import Period
from zicht.settings import Settings
from zicht.sql import literal, quoted

Say = Callable[[str], None]

QUARANTINE_DAYS = 90
"""How long a refused delivery is kept whole, unless ``ZICHT_QUARANTINE_DAYS`` says otherwise."""
REFUSED = "refused"
THEMES = "themes"
_THEME = re.compile(r"(?:cube|mart)_(?P<theme>.+?)__")
_LONGEST_NAME = 200
_CONFIDENTIAL_GATES = ("gate_2.json", "gate_3.json")


@dataclass(frozen=True)
class Cause:
    """Why something may no longer be held.

    Attributes:
        reason: ``agreement_ended`` or ``retention_passed``.
        text: the same in a sentence.
        last_day: the last day on which it might be held.
    """

    reason: str
    text: str
    last_day: date

    def to_json(self) -> dict[str, str]:
        """As it stands in a destruction record."""
        return {"reason": self.reason, "text": self.text, "last_day": self.last_day.isoformat()}


@dataclass(frozen=True)
class Destroyed:
    """A destruction record: what was, or is being, destroyed.

    Attributes:
        delivery: id of the delivery.
        source: its contract.
        reference_period: what it described.
        known_at: from when on it was known.
        is_finished: False when a run was killed half-way; the next one goes on.
        document: the whole record.
    """

    delivery: str
    source: str
    reference_period: Period
    known_at: datetime
    is_finished: bool
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Rows of the warehouse for one period and vintage, and what they rest on.

    Attributes:
        relation: table in the warehouse.
        reference_period: what the rows describe.
        vintage: hash of all that they follow from.
        n_rows: how many there are.
        deliveries: (source, id) of what they rest on; None when no file says so.
    """

    relation: str
    reference_period: str
    vintage: str
    n_rows: int
    deliveries: frozenset[tuple[str, str]] | None


@dataclass(frozen=True)
class UpkeepReport:
    """What a run destroyed, or with a dry run would destroy.

    Attributes:
        deliveries: destruction records, of accepted deliveries.
        refused: folders in quarantine whose payload went, as ``source/folder``.
        n_derived_rows: rows of the warehouse.
        without_agreement: sources with deliveries that no agreement names, ended or not. Nothing
            of them is destroyed: a missing file is no decision.
        without_contract: sources with deliveries and no contract, so without a known retention.
    """

    deliveries: tuple[Mapping[str, Any], ...] = ()
    refused: tuple[str, ...] = ()
    n_derived_rows: int = 0
    without_agreement: tuple[str, ...] = ()
    without_contract: tuple[str, ...] = ()


def destroyed_folder(settings: Settings, source: str) -> Path:
    """Where the destruction records of a source lie, one per delivery."""
    return settings.home / "destroyed" / source


def read_destroyed(settings: Settings, source: str) -> list[Destroyed]:
    """The destruction records of the accepted deliveries of a source, in order of id."""
    found = []
    for path in sorted(destroyed_folder(settings, source).glob("[!.]*.json")):
        document = read_json(path)
        found.append(
            Destroyed(
                delivery=document["delivery"],
                source=document["source"],
                reference_period=Period.parse(document["reference_period"]),
                known_at=parse_moment(document["known_at"]),
                is_finished=document["destroyed_at"] is not None,
                document=document,
            )
        )
    return found


def destroyed(settings: Settings, source: str) -> set[str]:
    """Ids of the accepted deliveries of a source that were destroyed; they may not come back."""
    folder = destroyed_folder(settings, source)
    return {path.name.removesuffix(".json") for path in folder.glob("[!.]*.json")}


def quarantine_days() -> int:
    """Reads ``ZICHT_QUARANTINE_DAYS``.

    Raises:
        ConfigurationError: Z-CFG-055 if it is not a whole number of days.
    """
    text = os.environ.get("ZICHT_QUARANTINE_DAYS") or str(QUARANTINE_DAYS)
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ConfigurationError(
            f"ZICHT_QUARANTINE_DAYS is {text!r}, not a whole number of days.",
            code="Z-CFG-055",
            remedy=f"Unset it (then it is {QUARANTINE_DAYS}), or set it to a number such as 30.",
        )
    return int(text)


def _ended(agreement: Agreement) -> Cause:
    text = f"agreement {agreement.id} ended on {agreement.valid_until.isoformat()}"
    return Cause("agreement_ended", text, agreement.valid_until)


def agreement_over(source: str, agreements: Mapping[str, Agreement], today: date) -> Cause | None:
    """The end of the last agreement that named a source, if none is in force today."""
    if agreements_of(agreements, source, today):
        return None
    over = [a for a in agreements.values() if source in a.sources and a.valid_until < today]
    return _ended(max(over, key=lambda a: (a.valid_until, a.id))) if over else None


def cause_of(
    contract: Contract, record: Record, agreements: Mapping[str, Agreement], today: date
) -> Cause | None:
    """Why a delivery may no longer be held today; None while it may.

    Only what is written down destroys: the end date of an agreement that names the source while
    no other one is in force, or a retention. Of several retentions the shortest counts.
    """
    retentions = [(contract.retention_days, f"contract {contract.source} {contract.version}")]
    if contract.needs_agreement:
        over = agreement_over(contract.source, agreements, today)
        if over is not None:
            return over
        in_force = agreements_of(agreements, contract.source, today)
        retentions += [(a.retention_days, f"agreement {a.id}") for a in in_force]
    days, whose = min(retentions)
    last_day = record.accepted_at.date() + timedelta(days=days)
    if today <= last_day:
        return None
    text = f"retention of {days} days ({whose}) passed on {last_day.isoformat()}"
    return Cause("retention_passed", text, last_day)


def withheld_themes(
    agreements: Mapping[str, Agreement], contracts: Mapping[str, Contract], today: date
) -> dict[tuple[str, str], Cause]:
    """Per (source, theme) that an agreement covered and none does today: why."""
    found: dict[tuple[str, str], Cause] = {}
    for agreement in sorted(agreements.values(), key=lambda a: (a.valid_until, a.id)):
        if agreement.valid_until >= today:
            continue
        for source in agreement.sources:
            needed = source in contracts and contracts[source].needs_agreement
            for theme in agreement.themes:
                if needed and not covers(agreements, source, theme, today):
                    found[source, theme] = _ended(agreement)
    return found


def _files(folder: Path) -> list[dict[str, Any]]:
    """Names, sizes and hashes of all files below a folder; links are named, never followed."""
    return [
        {
            "path": str(path.relative_to(folder)),
            "bytes": path.stat().st_size if not path.is_symlink() else None,
            "sha256": sha256_of(path) if not path.is_symlink() else None,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    ]


def _open_record(record: Record, cause: Cause, now: datetime) -> dict[str, Any]:
    document = record.to_json()
    return {
        "delivery": document.pop("id"),
        **document,
        "why": cause.to_json(),
        "files": [],
        "derived": [],
        "decided_at": format_moment(now),
        "destroyed_at": None,
    }


def _raw_folder(settings: Settings, document: Mapping[str, Any]) -> Path:
    source, period = document["source"], document["reference_period"]
    return delivery_folder(settings, source, period, document["delivery"])


def _record_path(settings: Settings, document: Mapping[str, Any]) -> Path:
    return destroyed_folder(settings, document["source"]) / f"{document['delivery']}.json"


def rests_on(settings: Settings, vintage: str) -> frozenset[tuple[str, str]] | None:
    """The deliveries (source, id) that rows of a vintage rest on; None when no file says so."""
    path = settings.home / "vintages" / f"{vintage}.json"
    if not path.exists():
        return None
    inputs = read_json(path)["inputs"]
    found = {(str(one[0]), str(one[1])) for one in inputs.get("deliveries", ())}
    for cube in inputs.get("cubes", {}).values():
        below = rests_on(settings, str(cube))
        if below is None:
            return None
        found |= below
    return frozenset(found)


def derived_rows(settings: Settings) -> list[Rows]:
    """All rows of the warehouse that have a vintage, per relation, period and vintage."""
    import duckdb

    if not settings.warehouse.exists():
        return []
    found = []
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        tables = connection.execute(
            "select t.table_name from duckdb_columns() c join duckdb_tables() t "
            "using (database_oid, table_oid) "
            "where c.column_name in ('vintage', 'reference_period') "
            "group by t.table_name having count(*) = 2 order by t.table_name"
        ).fetchall()
        for (table,) in tables:
            groups = connection.execute(
                f"select reference_period, vintage, count(*) from {quoted(table)} "
                "group by all order by all"
            ).fetchall()
            found += [
                Rows(table, str(period), str(vintage), n, rests_on(settings, str(vintage)))
                for period, vintage, n in groups
            ]
    return found


def touched(
    rows: Rows,
    gone: Collection[tuple[str, str]],
    withheld: Collection[tuple[str, str]],
) -> bool:
    """Whether rows rest on a delivery that goes, or on a source withheld from their theme.

    Rows that cannot say what they rest on go along with anything: they can be computed again.
    """
    match = _THEME.match(rows.relation)
    theme = match["theme"] if match else ""
    if rows.deliveries is None:
        return bool(gone) or theme in {withheld_theme for _, withheld_theme in withheld}
    return any(
        (source, delivery) in gone or (source, theme) in withheld
        for source, delivery in rows.deliveries
    )


def _derived_json(rows: Rows) -> dict[str, Any]:
    return {
        "relation": rows.relation,
        "reference_period": rows.reference_period,
        "vintage": rows.vintage,
        "n_rows": rows.n_rows,
    }


def _with_derived(document: dict[str, Any], rows: Iterable[Rows]) -> dict[str, Any]:
    """The record with the rows that go along; what an earlier attempt noted stays."""
    noted = {(d["relation"], d["vintage"]): d for d in document["derived"]}
    noted |= {(one.relation, one.vintage): _derived_json(one) for one in rows}
    return {**document, "derived": [noted[key] for key in sorted(noted)]}


def _rewrite_warehouse(settings: Settings, doomed: Collection[tuple[str, str]]) -> None:
    """Leaves rows out of the warehouse, by relation and vintage.

    The file is written anew: what DuckDB deletes stays readable in the free blocks of a file.
    Views are left out, for they name files that go; each refresh makes its own.
    """
    import duckdb

    fresh = settings.scratch / "upkeep-warehouse.duckdb"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    for path in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        path.unlink(missing_ok=True)
    with duckdb.connect(str(settings.warehouse)) as connection:
        # What a killed writer left in the write-ahead log has to be in the file.
        connection.execute("checkpoint")
    with duckdb.connect(str(fresh)) as connection:
        connection.execute(f"attach {literal(str(settings.warehouse))} as old (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() "
            "where database_name = 'old' and not internal order by all"
        ).fetchall()
        for schema, table in tables:
            connection.execute(f"create schema if not exists {quoted(schema)}")
            # Written into the query: the first parameter of a process imports pandas.
            gone = ", ".join(sorted(literal(vintage) for name, vintage in doomed if name == table))
            clause = f" where vintage not in ({gone})" if gone else ""
            connection.execute(
                f"create table {quoted(schema)}.{quoted(table)} as "
                f"select * from old.{quoted(schema)}.{quoted(table)}{clause}"
            )
        connection.execute("detach old")
        connection.execute("checkpoint")
    os.replace(fresh, settings.warehouse)
    settings.warehouse.with_name(f"{settings.warehouse.name}.wal").unlink(missing_ok=True)


def _vintages_in(folder: Path) -> set[str] | None:
    """The vintages in the Parquet files of a folder; None when they do not say."""
    import duckdb

    found: set[str] = set()
    try:
        with duckdb.connect() as connection:
            for path in sorted(folder.glob("*.parquet")):
                rows = connection.execute(
                    f"select distinct vintage from read_parquet({literal(str(path))})"
                )
                found |= {str(vintage) for (vintage,) in rows.fetchall()}
    except duckdb.Error:
        return None
    return found


def _forget_as_of(settings: Settings, doomed: Collection[str]) -> None:
    """Removes exports of marts as known at a past moment that hold doomed rows.

    One that does not say what it holds goes too: it can be made again.
    """
    for folder in list_folders(settings.home / "as_of") if doomed else ():
        vintages = _vintages_in(folder)
        if vintages is None or vintages & set(doomed):
            shutil.rmtree(folder)


def _without_rows(path: Path) -> str | None:
    """A gate's result without its sample rows; None when it has none."""
    from zicht.gates.model import GateResult

    result = GateResult.loads(path.read_text())
    bare = replace(result, results=tuple(replace(one, rows=()) for one in result.results))
    return None if bare == result else bare.dumps()


def _forget_sample_rows(settings: Settings, gone: Collection[tuple[str, str]]) -> None:
    """Takes the sample rows out of the gates' results of runs that read a doomed delivery."""
    ids = {f'"{delivery}"' for _, delivery in gone}
    for folder in list_folders(settings.runs) if gone else ():
        plan = folder / "plan.json"
        text = plan.read_text() if plan.exists() else ""
        if not any(name in text for name in ids):
            continue
        for path in (folder / name for name in _CONFIDENTIAL_GATES):
            if path.exists() and (bare := _without_rows(path)) is not None:
                # The page first: once the result has no rows, nobody looks for the page again.
                (folder / "report.html").unlink(missing_ok=True)
                write_atomic(path, bare)


def _remove_raw(settings: Settings, document: Mapping[str, Any]) -> None:
    source = document["source"]
    folder = _raw_folder(settings, document)
    # At this level the ledger does not look, and a killed intake's leftovers lie there too.
    hidden = hidden_beside(settings.raw / source / folder.name, ".removing-")
    shutil.rmtree(hidden, ignore_errors=True)
    if folder.exists():
        move_folder(folder, hidden)
        checkpoint("upkeep-raw-moved")
        shutil.rmtree(hidden)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _unfinished(settings: Settings) -> list[dict[str, Any]]:
    return [
        dict(one.document)
        for folder in list_folders(settings.home / "destroyed")
        for one in read_destroyed(settings, folder.name)
        if not one.is_finished
    ]


def _note_themes(
    settings: Settings,
    rows: Sequence[Rows],
    withheld: Mapping[tuple[str, str], Cause],
    now: datetime,
) -> set[str]:
    """Records the rows that go because an agreement ended for one theme and not for all.

    Returns:
        The vintages that ever went for this reason.
    """
    vintages: set[str] = set()
    for (source, theme), cause in sorted(withheld.items()):
        path = destroyed_folder(settings, source) / THEMES / f"{theme}.json"
        before = read_json(path)["derived"] if path.exists() else []
        own = [one for one in rows if touched(one, (), {(source, theme)}) and one.deliveries]
        document: dict[str, Any] = {
            "source": source,
            "theme": theme,
            "why": cause.to_json(),
            "derived": before,
            "destroyed_at": format_moment(now),
        }
        if own:
            document = _with_derived(document, own)
            write_json(path, document)
        vintages |= {one["vintage"] for one in document["derived"]}
    return vintages


def _destroy(
    settings: Settings,
    open_records: Sequence[dict[str, Any]],
    withheld: Mapping[tuple[str, str], Cause],
    now: datetime,
    say: Say,
) -> tuple[list[dict[str, Any]], int]:
    """Destroys the deliveries of open records, and all rows that rest on them or are withheld."""
    if not open_records and not withheld:
        return [], 0
    gone = {(d["source"], d["delivery"]) for d in open_records}
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(settings.locks / "warehouse.lock"))
        for source in sorted({source for source, _ in gone}):
            stack.enter_context(locked(settings.locks / f"intake-{source}.lock"))
            for leftover in settings.scratch.glob(f"*intake-{source}*"):
                # What a killed intake loaded; its lock is held here.
                remove_tree(leftover) if leftover.is_dir() else leftover.unlink()
        rows = [one for one in derived_rows(settings) if touched(one, gone, withheld)]
        noted = []
        for document in open_records:
            key = (document["source"], document["delivery"])
            own = [one for one in rows if one.deliveries is None or key in one.deliveries]
            noted.append(_with_derived(document, own))
            write_json(_record_path(settings, document), noted[-1])
        vintages = _note_themes(settings, rows, withheld, now)
        vintages |= {one.vintage for one in rows}
        vintages |= {one["vintage"] for document in noted for one in document["derived"]}
        checkpoint("upkeep-noted")
        if gone or rows:
            # A refresh that is under way planned with these rows; it has to begin again.
            (settings.home / "warehouse.run").unlink(missing_ok=True)
        if rows:
            _rewrite_warehouse(settings, {(one.relation, one.vintage) for one in rows})
        checkpoint("upkeep-derived")
        _forget_as_of(settings, vintages)
        _forget_sample_rows(settings, gone)
        return [_finish(settings, document, now, say) for document in noted], sum(
            one.n_rows for one in rows
        )


def _finish(
    settings: Settings, document: Mapping[str, Any], now: datetime, say: Say
) -> dict[str, Any]:
    """Removes the raw data of an open record and closes the record."""
    _remove_raw(settings, document)
    checkpoint("upkeep-raw-removed")
    closed = {**document, "destroyed_at": format_moment(now)}
    write_json(_record_path(settings, document), closed)
    say(f"  destroyed {document['delivery']}: {document['why']['text']}")
    return closed


def _refusal_record(settings: Settings, refusal: Refusal) -> Path:
    name = refusal.folder.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return destroyed_folder(settings, refusal.source) / REFUSED / f"{name}.json"


def _refusals_to_destroy(
    settings: Settings,
    contracts: Mapping[str, Contract],
    agreements: Mapping[str, Agreement],
    now: datetime,
    days: int,
) -> list[tuple[Refusal, Cause]]:
    """The refused deliveries whose content may no longer be held, and why."""
    found = []
    for refusal in read_quarantine(settings):
        payload, record = refusal.folder / PAYLOAD, _refusal_record(settings, refusal)
        hidden = hidden_beside(payload, ".removing-")
        is_open = record.exists() and read_json(record)["destroyed_at"] is None
        if not (payload.exists() or hidden.exists() or is_open):
            continue
        last = parse_moment(refusal.refused_at) + timedelta(days=days)
        contract = contracts.get(refusal.source)
        over = (
            agreement_over(refusal.source, agreements, now.date())
            if contract and contract.needs_agreement
            else None
        )
        if over is not None:
            found.append((refusal, over))
        elif last < now or is_open:
            text = f"refused deliveries are kept for {days} days"
            found.append((refusal, Cause("quarantine_passed", text, last.date())))
    return found


def _destroy_refusal(settings: Settings, refusal: Refusal, cause: Cause, now: datetime) -> None:
    payload, path = refusal.folder / PAYLOAD, _refusal_record(settings, refusal)
    hidden = hidden_beside(payload, ".removing-")
    with locked(settings.locks / f"intake-{refusal.source}.lock"):
        if not (refusal.folder / REPORT).exists():
            # It was put back into landing in the meantime.
            return
        if not path.exists():
            document = {
                "delivery": refusal.delivery,
                "source": refusal.source,
                "reference_period": refusal.reference_period,
                "refused_at": refusal.refused_at,
                "codes": [reason["code"] for reason in refusal.reasons],
                "why": cause.to_json(),
                "files": _files(payload),
                "decided_at": format_moment(now),
                "destroyed_at": None,
            }
            write_json(path, document)
        checkpoint("upkeep-refused-recorded")
        # The sample rows of the report are content too; the reasons stay.
        report = read_json(refusal.folder / REPORT)
        for reason in report["reasons"]:
            reason["rows"] = []
            reason["observed"] = None
        write_json(refusal.folder / REPORT, {**report, "payload_destroyed": True})
        for name in (GATE_1, PAGE):
            (refusal.folder / name).unlink(missing_ok=True)
        shutil.rmtree(hidden, ignore_errors=True)
        if payload.exists():
            os.replace(payload, hidden)
            checkpoint("upkeep-refused-moved")
            shutil.rmtree(hidden)
        checkpoint("upkeep-refused-removed")
        write_json(path, {**read_json(path), "destroyed_at": format_moment(now)})


def _due(
    settings: Settings,
    contracts: Mapping[str, Contract],
    agreements: Mapping[str, Agreement],
    now: datetime,
) -> list[dict[str, Any]]:
    """The records to open: of all deliveries that may no longer be held."""
    found = []
    for record in read_ledger(settings):
        contract = contracts.get(record.source)
        cause = cause_of(contract, record, agreements, now.date()) if contract else None
        if cause is not None:
            found.append(_open_record(record, cause, now))
    return found


def _records(
    settings: Settings, due: Sequence[dict[str, Any]], begun: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records to work on, and those that a killed run opened for what may be held again.

    What is gone from ``raw/`` already is finished in any case.
    """
    keys = {(d["source"], d["delivery"]) for d in due}
    spared = [
        d
        for d in begun
        if (d["source"], d["delivery"]) not in keys and _raw_folder(settings, d).exists()
    ]
    kept = [d for d in begun if d not in spared]
    have = {(d["source"], d["delivery"]) for d in kept}
    return [*kept, *(d for d in due if (d["source"], d["delivery"]) not in have)], spared


def upkeep(settings: Settings, clock: Clock, say: Say, *, dry_run: bool = False) -> UpkeepReport:
    """Destroys what may no longer be held; safe to kill and to run again at any point.

    Args:
        dry_run: say what would be destroyed and change nothing.

    Raises:
        ConfigurationError: if a contract, an agreement or ``ZICHT_QUARANTINE_DAYS`` is wrong;
            then nothing is destroyed.
    """
    now, days = clock(), quarantine_days()
    contracts, agreements = load_contracts(settings.contracts), load_agreements(settings.agreements)
    held = {folder.name for folder in list_folders(settings.raw) if any(folder.glob("*=*/*"))}
    named = {source for agreement in agreements.values() for source in agreement.sources}
    uncovered = {s for s in held & set(contracts) if contracts[s].needs_agreement} - named
    withheld = withheld_themes(agreements, contracts, now.date())
    with contextlib.ExitStack() as stack:
        if not dry_run:
            stack.enter_context(locked(settings.locks / "upkeep.lock"))
        records, spared = _records(
            settings, _due(settings, contracts, agreements, now), _unfinished(settings)
        )
        refusals = _refusals_to_destroy(settings, contracts, agreements, now, days)
        if dry_run:
            gone = {(d["source"], d["delivery"]) for d in records}
            with locked(settings.locks / "warehouse.lock"):
                rows = [one for one in derived_rows(settings) if touched(one, gone, withheld)]
            n_rows = sum(one.n_rows for one in rows)
            for document in records:
                say(f"  would destroy {document['delivery']}: {document['why']['text']}")
        else:
            for document in spared:
                _record_path(settings, document).unlink()
            for document in records:
                if not document["files"]:
                    document["files"] = _files(_raw_folder(settings, document))
                    write_json(_record_path(settings, document), document)
                    checkpoint("upkeep-recorded")
            records, n_rows = _destroy(settings, records, withheld, now, say)
            for refusal, cause in refusals:
                _destroy_refusal(settings, refusal, cause, now)
    verb = "would destroy" if dry_run else "destroyed"
    for refusal, cause in refusals:
        say(f"  {verb} the content of the refused {refusal.delivery}: {cause.text}")
    for source in sorted(uncovered):
        say(f"  note: {source} is held and no agreement names it; nothing of it is destroyed")
    for source in sorted(held - set(contracts)):
        say(f"  note: {source} is held without a contract; its retention is not known")
    say(
        f"  {verb} {len(records)} deliveries, {n_rows} derived rows, "
        f"{len(refusals)} refused payloads"
    )
    return UpkeepReport(
        deliveries=tuple(records),
        refused=tuple(f"{refusal.source}/{refusal.folder.name}" for refusal, _ in refusals),
        n_derived_rows=n_rows,
        without_agreement=tuple(sorted(uncovered)),
        without_contract=tuple(sorted(held - set(contracts))),
    )
