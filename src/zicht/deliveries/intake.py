"""Intake: takes every complete delivery of a source from landing into the ledger or quarantine.

Both ends are reached by one rename. Whatever moment the process is killed at, the delivery lies
whole in landing, in ``raw/`` or in quarantine (or, for a move that was cut short, in a hidden
folder that the next run completes), and running again ends in the same state.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import duckdb

from zicht.agreements import Agreement, agreement_for, check_agreements, load_agreements
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.landing import (
    claimed_deliveries,
    claimed_folder,
    complete_deliveries,
)
from zicht.deliveries.ledger import (
    GATE_1,
    PROFILE,
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
from zicht.deliveries.reading import (
    Doubt,
    Loaded,
    Usual,
    loaded_delivery,
    write_empty_parquet,
    write_parquet,
)
from zicht.errors import DeliveryError, GateError, StorageError
from zicht.files import (
    locked,
    move_folder,
    read_json,
    remove_tree,
    sync_file,
    sync_folder,
    write_atomic,
    write_json,
)
from zicht.gates.contract import (
    CODES,
    MAY_NOT_BE_HERE,
    OWN_RULE_CODE,
    content_suite,
    contract_suite,
    row_marks,
)
from zicht.gates.engine import GateEngine
from zicht.gates.model import GateResult, Suite
from zicht.keys import key_of
from zicht.periods import Period
from zicht.settings import Settings
from zicht.upkeep import destroyed

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
    "Z-DEL-013": "agreement_in_force",
    "Z-DEL-014": "never_returns",
}
_DESTROYED = MAY_NOT_BE_HERE | {"Z-DEL-013", "Z-DEL-014"}
"""Codes of faults for which nothing of the content is kept."""
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
        if failure.relation in (table, f"delivered_{table}")
    ]


def _require_evaluated(result: GateResult) -> None:
    broken = [failure for failure in result.failures if failure.error]
    if broken:
        raise GateError(
            f"gate 1 could not look at {result.subject}: {broken[0].check}: {broken[0].error}",
            remedy="The delivery waits in landing. Free memory or disk, or correct the rule.",
        )


def _nearest(records: Sequence[Record], period: Period) -> Record | None:
    """The delivery to compare with: of this period, else of the nearest one, earlier first."""

    def distance(record: Record) -> tuple[int, int]:
        days = (record.reference_period.start - period.start).days
        return abs(days), days

    return min(records, key=distance, default=None)


_Stamp = tuple[str, int, int]


def _stamps(folder: Path) -> tuple[_Stamp, ...]:
    found = ((path, path.stat()) for path in sorted(folder.glob("*.yaml")))
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)


@lru_cache(maxsize=2)
def _agreed(
    agreements: Path, contracts: Path, stamps: tuple[_Stamp, ...]
) -> Mapping[str, Agreement]:
    """The agreements, seen to fit the contracts: once a process for as long as no file changes."""
    found = load_agreements(agreements)
    check_agreements(found, load_contracts(contracts))
    return found


class _Intake:
    """One run over one source; holds the gate engine, which is costly to start."""

    def __init__(
        self, settings: Settings, contract: Contract, clock: Clock, say: Say, engine: GateEngine
    ) -> None:
        self.settings, self.contract, self.clock, self.say = settings, contract, clock, say
        self.engine = engine
        self.agreements = _agreed(
            settings.agreements,
            settings.contracts,
            (*_stamps(settings.agreements), *_stamps(settings.contracts)),
        )
        # Only this process adds to this source's part of the ledger while it holds the lock.
        self.records = read_ledger(settings, contract.source)

    def agreement(self) -> Agreement | None:
        """The agreement under which the source delivers today; None when it needs none.

        Raises:
            DeliveryError: Z-DEL-013 if it needs one and none is in force.
        """
        if not self.contract.needs_agreement:
            return None
        today = self.clock().date()
        found = agreement_for(self.agreements, self.contract.source, today)
        if found is None:
            raise _refusal(
                "Z-DEL-013",
                f"no agreement that covers {self.contract.source} is in force on {today}.",
                "The parties have to agree first; the data was destroyed here. Deliver again when "
                f"{self.settings.agreements.name}/ holds an agreement that is in force.",
            )
        return found

    def require_not_destroyed(self, descriptor: Descriptor) -> None:
        """What may no longer be held does not come back."""
        if descriptor.id in destroyed(self.settings, self.contract.source):
            raise _refusal(
                "Z-DEL-014",
                f"the delivery {descriptor.id} was destroyed here when its time was over.",
                "Nothing: it may no longer be held. A new delivery has a name of its own.",
            )

    @contextmanager
    def loaded(
        self, folder: Path, descriptor: Descriptor, agreement: Agreement | None, *, sound: bool
    ) -> Iterator[Loaded]:
        """The tables of a delivery, ready for gate 1."""
        contract, period = self.contract, descriptor.reference_period
        hashes = any(c.is_pseudonymised for table in contract.tables for c in table.columns)
        before = _nearest(list(latest(self.records, self.clock()).values()), period)
        usual: Usual = {}
        if before is not None:
            accepted = delivery_folder(
                self.settings, contract.source, before.reference_period, before.id
            )
            usual = read_json(accepted / PROFILE) if (accepted / PROFILE).exists() else {}
        with loaded_delivery(
            self.settings,
            contract,
            folder,
            descriptor,
            faults={table.name: row_marks(contract, table, period) for table in contract.tables},
            usual=usual,
            usual_since=(before.reference_period if before else period).start,
            key=key_of(agreement.id) if hashes and agreement else None,
            sound=sound,
        ) as loaded:
            checkpoint("intake-loaded")
            yield loaded

    def looked_at(
        self,
        stack: ExitStack,
        folder: Path,
        descriptor: Descriptor,
        agreement: Agreement | None,
    ) -> tuple[Loaded, Callable[[], Path], GateResult]:
        """The tables, the folder that they are written to, and what gate 1 says of them.

        Taken to be sound first, which most are; one that is not is looked at row by row.
        """
        with contextlib.suppress(Doubt), ExitStack() as trial:
            loaded = trial.enter_context(self.loaded(folder, descriptor, agreement, sound=True))
            result = self.gate_1(loaded, descriptor)
            if all(check.success for check in result.results):
                loaded.written()
                stack.push(trial.pop_all())
                return loaded, loaded.written, result
        loaded = stack.enter_context(self.loaded(folder, descriptor, agreement, sound=False))
        written = stack.enter_context(self.writing(loaded))
        return loaded, written.result, self.gate_1(loaded, descriptor)

    def gate_1(self, loaded: Loaded, descriptor: Descriptor) -> GateResult:
        shapes, others = [], []
        for table in self.contract.tables:
            shape, rest = contract_suite(
                self.contract,
                table,
                descriptor.reference_period,
                sound=loaded.is_taken_as_sound,
            )
            shapes.append(shape)
            others.append(rest)
        if loaded.is_taken_as_sound:
            return self.check(loaded, descriptor, [*shapes, *others])
        result = self.check(loaded, descriptor, shapes)
        if result.passed:
            # Without the right columns every other rule fails too, and says nothing more.
            values = self.check(loaded, descriptor, others)
            return replace(result, results=(*result.results, *values.results))
        if not self.contract.needs_agreement:
            return result
        # Not what was agreed: what is in it may all the same not be kept.
        period = descriptor.reference_period
        contents = [
            content_suite(self.contract, table, period, loaded.delivered[table.name])
            for table in self.contract.tables
        ]
        found = self.check(loaded, descriptor, [suite for suite in contents if suite.checks])
        hits = [hit for hit in found.results if not hit.success]
        return replace(result, results=(*result.results, *hits))

    def check(self, loaded: Loaded, descriptor: Descriptor, suites: Sequence[Suite]) -> GateResult:
        return self.engine.run(
            loaded.name, suites, gate=1, subject=descriptor.id, checked_at=self.clock()
        )

    @contextmanager
    def writing(self, loaded: Loaded) -> Iterator[Future[Path]]:
        """Writes the tables as Parquet while gate 1 looks at them; a folder in scratch."""
        folder = self.settings.scratch / f"intake-{self.contract.source}" / "parquet"

        def write() -> Path:
            folder.mkdir(parents=True)
            with loaded.connection.cursor() as cursor:
                for table in self.contract.tables:
                    write_parquet(cursor, table, folder / f"{table.name}.parquet")
            return folder

        with ThreadPoolExecutor(max_workers=1) as executor:
            yield executor.submit(write)

    def commit(
        self, folder: Path, record: Record, result: GateResult, loaded: Loaded, written: Path
    ) -> None:
        source = self.contract.source
        target = delivery_folder(self.settings, source, record.reference_period, record.id)
        incoming = self.settings.raw / source / f".incoming-{record.id}"
        remove_tree(incoming)
        incoming.mkdir(parents=True)
        # What was counted comes from the files where they lie now.
        profile = loaded.profile(self.contract)
        for table in self.contract.tables:
            path = incoming / f"{table.name}.parquet"
            shutil.move(written / path.name, path)
            sync_file(path)
        checkpoint("intake-written")
        write_atomic(incoming / GATE_1, result.dumps())
        if profile:
            write_json(incoming / PROFILE, profile)
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
        with ExitStack() as stack:
            try:
                descriptor = read_descriptor(folder)
                agreement = self.agreement()
                self.require_not_destroyed(descriptor)
                _check_agreed(self.contract, descriptor, self.records, self.clock())
                verify_files(folder, descriptor)
                if self.is_known(descriptor):
                    return self.note_unchanged(folder, descriptor, report)
                loaded, written, result = self.looked_at(stack, folder, descriptor, agreement)
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
                return self.refuse(name, folder, descriptor, reasons, result, report)
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
                rows=loaded.rows,
                warnings=tuple(warning.check for warning in result.warnings),
                is_stock=self.contract.is_stock,
                agreement=agreement.id if agreement else None,
            )
            self.commit(folder, record, result, loaded, written())
        self.records.append(record)
        self.say(f"  accepted  {name} ({sum(record.rows.values())} rows)")
        return report.accepting(name)

    def refuse(
        self,
        name: str,
        folder: Path,
        descriptor: Descriptor | None,
        reasons: Sequence[Reason],
        result: GateResult | None,
        report: IntakeReport,
    ) -> IntakeReport:
        """Moves a delivery to quarantine, without its content where that may not be kept."""
        destroy = any(reason.code in _DESTROYED for reason in reasons)
        refuse(
            self.settings,
            self.contract.source,
            folder,
            descriptor,
            reasons,
            self.clock(),
            gate_1=result,
            destroy=destroy,
        )
        first = reasons[0]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        gone = " (its content was destroyed)" if destroy else ""
        self.say(f"  refused   {name}: {first.code} {first.message}{more}{gone}")
        return report.refusing(name)

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
    # A file that was unpacked or recoded may hold what the next look destroys.
    for leftover in settings.scratch.glob(f"*intake-{source}"):
        shutil.rmtree(leftover, ignore_errors=True)
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

    def place(folder: Path) -> tuple[str, bool, str]:
        try:
            descriptor = read_descriptor(folder)
        except (DeliveryError, OSError):
            return "", False, folder.name
        corrects = descriptor.supersedes is not None
        return format_moment(descriptor.delivered_at), corrects, folder.name

    return sorted(folders, key=place)


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
