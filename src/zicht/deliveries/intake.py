"""Intake: takes every complete delivery of a source from landing into the ledger or quarantine.

Both ends are reached by one rename. Whatever moment the process is killed at, the delivery lies
whole in landing, in ``raw/`` or in quarantine (or, for a move that was cut short, in a hidden
folder that the next run completes), and running again ends in the same state.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment
from zicht.contracts import Contract
from zicht.deliveries.landing import (
    claimed_deliveries,
    claimed_folder,
    complete_deliveries,
)
from zicht.deliveries.ledger import (
    GATE_1,
    RECORD,
    Record,
    delivery_folder,
    latest,
    read_ledger,
)
from zicht.deliveries.package import (
    DESCRIPTOR,
    Descriptor,
    printable,
    read_descriptor,
    verify_files,
)
from zicht.deliveries.quarantine import Reason, recover_quarantine, refuse
from zicht.deliveries.reading import load_delivery, write_empty_parquet, write_parquet
from zicht.errors import DeliveryError, GateError, StorageError
from zicht.files import (
    locked,
    move_folder,
    remove_tree,
    sync_file,
    sync_folder,
    write_atomic,
    write_json,
)
from zicht.gates.contract import CODES, OWN_RULE_CODE, contract_suite
from zicht.gates.engine import GateEngine
from zicht.gates.model import GateResult, Suite
from zicht.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class IntakeReport:
    """What became of the deliveries of one source in one run, by delivery id or folder name."""

    source: str
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()

    def accepting(self, delivery: str) -> IntakeReport:
        """A copy with one more accepted delivery."""
        return replace(self, accepted=(*self.accepted, delivery))

    def refusing(self, delivery: str) -> IntakeReport:
        """A copy with one more refused delivery."""
        return replace(self, refused=(*self.refused, delivery))

    def noting(self, delivery: str) -> IntakeReport:
        """A copy with one more unchanged delivery."""
        return replace(self, unchanged=(*self.unchanged, delivery))


def ensure_source(settings: Settings, contract: Contract) -> None:
    """Makes the source's landing folder and its typed empty Parquet files, where they lack."""
    (settings.landing / contract.source).mkdir(parents=True, exist_ok=True)
    folder = delivery_folder(settings, contract.source, "none", "none")
    for table in contract.tables:
        target = folder / f"{table.name}.parquet"
        if not target.exists():
            partial = target.with_suffix(".partial")
            write_empty_parquet(table, partial)
            partial.replace(target)


_RULES = {
    "Z-DEL-007": "own_folder",
    "Z-DEL-008": "period_of_contract",
    "Z-DEL-009": "tables_of_contract",
    "Z-DEL-010": "never_edited",
    "Z-DEL-011": "supersedes_known",
    "Z-DEL-012": "delivered_in_the_past",
}
_CLOCKS_DIFFER = timedelta(days=1)
"""How far a provider's clock may be ahead of ours."""


def _refusal(code: str, message: str, remedy: str) -> DeliveryError:
    return DeliveryError(message, code=code, remedy=remedy, file=DESCRIPTOR, rule=_RULES[code])


def _check_agreed(
    contract: Contract, descriptor: Descriptor, records: Sequence[Record], now: datetime
) -> None:
    if descriptor.source != contract.source:
        raise _refusal(
            "Z-DEL-007",
            f"the delivery lies under {contract.source} and says it is of {descriptor.source}.",
            "Drop it in the folder of its own source.",
        )
    period = descriptor.reference_period
    if period.cadence is not contract.cadence or period < contract.first_period:
        raise _refusal(
            "Z-DEL-008",
            f"reference period {period} is outside the contract, which covers "
            f"{contract.cadence.value} periods from {contract.first_period}.",
            "Deliver a period that the contract covers, or agree on a new version of it.",
        )
    if period.start > descriptor.delivered_at.date():
        raise _refusal(
            "Z-DEL-008",
            f"reference period {period} had not begun when the delivery was made "
            f"({format_moment(descriptor.delivered_at)}).",
            "Correct the period or the moment of delivery in the descriptor.",
        )
    if descriptor.delivered_at > now + (timedelta() if descriptor.is_archive else _CLOCKS_DIFFER):
        raise _refusal(
            "Z-DEL-012",
            f"delivered_at {format_moment(descriptor.delivered_at)} lies in the future.",
            "State the moment of delivery, in UTC or with its time zone.",
        )
    expected = {table.name for table in contract.tables}
    found = [resource.name for resource in descriptor.resources]
    if sorted(found) != sorted(expected):
        raise _refusal(
            "Z-DEL-009",
            f"the delivery holds {', '.join(sorted(found))} where the contract has "
            f"{', '.join(sorted(expected))}.",
            "Deliver each table of the contract once.",
        )
    for record in records:
        if record.id == descriptor.id and record.content_hash != descriptor.content_hash:
            raise _refusal(
                "Z-DEL-010",
                f"a delivery with the id {descriptor.id} and other content was accepted before.",
                "Deliveries are never edited: give a correction its own id, and say what it "
                "supersedes.",
            )
    if descriptor.supersedes and descriptor.supersedes not in {record.id for record in records}:
        raise _refusal(
            "Z-DEL-011",
            f"it supersedes {descriptor.supersedes}, which was never accepted.",
            "Correct or leave out 'supersedes'.",
        )
    for record in records:
        if record.id == descriptor.supersedes and record.reference_period != period:
            raise _refusal(
                "Z-DEL-011",
                f"it describes {period} and supersedes {record.id}, which describes "
                f"{record.reference_period}.",
                "A delivery supersedes one of its own period: correct or leave out 'supersedes'.",
            )


def _reasons(result: GateResult, table: str, file_name: str) -> list[Reason]:
    return [
        Reason(
            code=CODES.get(failure.check, OWN_RULE_CODE),
            file=file_name,
            rule=failure.check,
            message=failure.error or f"breaks the rule: {failure.description}",
            remedy=failure.remedy,
            n_rows=failure.n_unexpected,
            rows=failure.rows,
            observed=failure.observed,
        )
        for failure in result.failures
        if failure.relation in (table, f"text_{table}")
    ]


def _require_evaluated(result: GateResult) -> None:
    broken = [failure for failure in result.failures if failure.error]
    if broken:
        raise GateError(
            f"gate 1 could not look at {result.subject}: {broken[0].check}: {broken[0].error}",
            remedy="The delivery waits in landing. Free memory or disk, or correct the rule.",
        )


class _Intake:
    """One run over one source; holds the gate engine, which is costly to start."""

    def __init__(
        self, settings: Settings, contract: Contract, clock: Clock, say: Say, engine: GateEngine
    ) -> None:
        self.settings, self.contract, self.clock, self.say = settings, contract, clock, say
        self.engine = engine
        # Only this process adds to this source's part of the ledger while it holds the lock.
        self.records = read_ledger(settings, contract.source)
        self.scratch = settings.scratch / f"intake-{contract.source}.duckdb"

    def gate_1(self, folder: Path, descriptor: Descriptor) -> tuple[GateResult, dict[str, int]]:
        rows = load_delivery(self.settings, self.contract, folder, descriptor, self.scratch)
        checkpoint("intake-loaded")
        shapes: list[Suite] = []
        others: list[Suite] = []
        for table in self.contract.tables:
            shape, *rest = contract_suite(self.contract, table, descriptor.reference_period)
            shapes.append(shape)
            others += rest
        result = self.check(descriptor, shapes)
        if not any(failure.check == "columns" for failure in result.failures):
            # Without the right columns every other rule fails too, and says nothing more.
            values = self.check(descriptor, [suite for suite in others if suite.checks])
            result = replace(result, results=(*result.results, *values.results))
        return result, dict(rows)

    def check(self, descriptor: Descriptor, suites: Sequence[Suite]) -> GateResult:
        """Runs suites of gate 1 over the delivery that was loaded last."""
        return self.engine.run(
            self.scratch, suites, gate=1, subject=descriptor.id, checked_at=self.clock()
        )

    def commit(
        self, folder: Path, descriptor: Descriptor, record: Record, result: GateResult
    ) -> None:
        source, period = self.contract.source, descriptor.reference_period
        target = delivery_folder(self.settings, source, period, descriptor.id)
        incoming = self.settings.raw / source / f".incoming-{descriptor.id}"
        remove_tree(incoming)
        incoming.mkdir(parents=True)
        for table in self.contract.tables:
            write_parquet(self.scratch, table, incoming / f"{table.name}.parquet")
            sync_file(incoming / f"{table.name}.parquet")
        checkpoint("intake-written")
        write_atomic(incoming / GATE_1, result.dumps())
        write_json(incoming / RECORD, record.to_json())
        sync_folder(incoming)
        checkpoint("intake-recorded")
        move_folder(incoming, target)
        checkpoint("intake-committed")
        remove_tree(folder)

    def claim(self, folder: Path) -> Path | None:
        """Moves a delivery out of the provider's reach; None when the provider took it away."""
        claimed = claimed_folder(self.settings, self.contract.source) / folder.name
        claimed.parent.mkdir(exist_ok=True)
        try:
            move_folder(folder, claimed)
        except FileNotFoundError:
            return None
        checkpoint("intake-claimed")
        return claimed

    def take(self, folder: Path, report: IntakeReport) -> IntakeReport:
        """Deals with one claimed delivery and says what became of it.

        Raises:
            GateError: Z-GATE-001 if a rule could not be evaluated: not the delivery's fault.
            OSError: if the disk fails.
        """
        descriptor: Descriptor | None = None
        result: GateResult | None = None
        try:
            descriptor = read_descriptor(folder)
            _check_agreed(self.contract, descriptor, self.records, self.clock())
            verify_files(folder, descriptor)
            if self.is_known(descriptor):
                return self.note_unchanged(folder, descriptor, report)
            result, rows = self.gate_1(folder, descriptor)
            _require_evaluated(result)
            reasons = [
                reason
                for resource in descriptor.resources
                for reason in _reasons(result, resource.name, resource.path)
            ]
        except DeliveryError as error:
            reasons = [Reason.from_error(error)]
        name = descriptor.id if descriptor else printable(folder.name)
        if reasons:
            refuse(
                self.settings,
                self.contract.source,
                folder,
                descriptor,
                reasons,
                self.clock(),
                gate_1=result,
            )
            first = reasons[0]
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            self.say(f"  refused   {name}: {first.code} {first.message}{more}")
            return report.refusing(name)
        assert descriptor is not None
        assert result is not None
        record = Record(
            id=descriptor.id,
            source=descriptor.source,
            reference_period=descriptor.reference_period,
            observation_status=descriptor.observation_status,
            delivered_at=descriptor.delivered_at,
            accepted_at=self.clock(),
            is_archive=descriptor.is_archive,
            supersedes=descriptor.supersedes,
            content_hash=descriptor.content_hash,
            contract_version=self.contract.version,
            rows=rows,
            warnings=tuple(warning.check for warning in result.warnings),
        )
        self.commit(folder, descriptor, record, result)
        self.records.append(record)
        self.say(f"  accepted  {name} ({sum(rows.values())} rows)")
        return report.accepting(name)

    def is_known(self, descriptor: Descriptor) -> bool:
        """Whether this content is the last accepted one for its period and status.

        Raises:
            DeliveryError: Z-DEL-010 if this very delivery was accepted and replaced since.
        """
        key = (self.contract.source, descriptor.reference_period, descriptor.observation_status)
        last = latest(self.records, self.clock()).get(key)
        if last is not None and last.content_hash == descriptor.content_hash:
            return True
        if any(record.id == descriptor.id for record in self.records):
            raise _refusal(
                "Z-DEL-010",
                f"the delivery {descriptor.id} was accepted before and "
                f"{last.id if last else 'another'} has replaced it since.",
                "To return to these figures, deliver them under a new id.",
            )
        return False

    def note_unchanged(
        self, folder: Path, descriptor: Descriptor, report: IntakeReport
    ) -> IntakeReport:
        """Notes that a delivery brought nothing new, and takes it out of landing."""
        note = self.settings.raw / self.contract.source / "unchanged" / f"{descriptor.id}.json"
        in_ledger = any(record.id == descriptor.id for record in self.records)
        if not in_ledger and not note.exists():
            write_json(note, {**descriptor.to_json(), "noted_at": format_moment(self.clock())})
        remove_tree(folder)
        self.say(f"  unchanged {descriptor.id}")
        return report.noting(descriptor.id)


def _recover(settings: Settings, source: str) -> None:
    for leftover in (settings.raw / source).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    claimed = claimed_folder(settings, source)
    for base in (settings.landing / source, claimed):
        for leftover in base.glob(".removing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    recover_quarantine(settings, source)
    for folder in claimed_deliveries(settings, source):
        give_back(settings, source, folder)


def give_back(settings: Settings, source: str, folder: Path) -> Path:
    """Moves a claimed delivery back to where it lay, or beside what lies there now."""
    target, number = settings.landing / source / folder.name, 2
    while target.exists():
        target, number = target.with_name(f"{folder.name}.{number}"), number + 1
    move_folder(folder, target)
    return target


def _in_order(folders: Sequence[Path]) -> list[Path]:
    """By moment of hand-over, so that a correction comes after what it supersedes."""

    def moment(folder: Path) -> str:
        try:
            return format_moment(read_descriptor(folder).delivered_at)
        except (DeliveryError, OSError):
            return ""

    return sorted(folders, key=lambda folder: (moment(folder), folder.name))


def take_in(settings: Settings, contract: Contract, clock: Clock, say: Say) -> IntakeReport:
    """Takes in all complete deliveries of one source, and looks again until none is left.

    A delivery that is not what was agreed goes to quarantine and is in ``refused``; that is a
    result, not an error. Safe to kill and to run again at any point.

    Raises:
        ConfigurationError: if the contract cannot be turned into a suite.
        StorageError: Z-IO-003 after all others were dealt with, if a delivery could not be looked
            at for a reason that is not its own (disk, memory, rights); it lies in landing again.
    """
    report = IntakeReport(contract.source)
    stuck: dict[str, Exception] = {}
    with locked(settings.locks / f"intake-{contract.source}.lock"), ExitStack() as stack:
        ensure_source(settings, contract)
        _recover(settings, contract.source)
        intake: _Intake | None = None
        while folders := [
            folder
            for folder in complete_deliveries(settings, contract.source)
            if folder.name not in stuck
        ]:
            if intake is None:
                engine = stack.enter_context(GateEngine())
                intake = _Intake(settings, contract, clock, say, engine)
                stack.callback(intake.scratch.unlink, missing_ok=True)
            for folder in _in_order(folders):
                try:
                    claimed = intake.claim(folder)
                    report = intake.take(claimed, report) if claimed else report
                except (OSError, UnicodeError, GateError, duckdb.Error) as error:
                    # One delivery that cannot be looked at does not keep the others waiting.
                    stuck[folder.name] = error
                    say(f"  waits     {printable(folder.name)}: {error}")
                    for left in claimed_deliveries(settings, contract.source):
                        stuck[give_back(settings, contract.source, left).name] = error
                checkpoint("intake-one-done")
        with contextlib.suppress(OSError):
            claimed_folder(settings, contract.source).rmdir()
    if stuck:
        names = ", ".join(sorted({printable(name) for name in stuck}))
        first = next(iter(stuck.values()))
        raise StorageError(
            f"{len(stuck)} delivery(ies) of {contract.source} could not be looked at and still lie "
            f"in landing: {names}: {first}",
            code="Z-IO-003",
            remedy="Cure the cause (disk, memory, rights, the name of the folder) and run again.",
        ) from first
    return report
