"""What is expected of each source and what came: the calendar against the ledger."""

from __future__ import annotations

import calendar
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from zicht.agreements import Agreement, agreement_for, covered_until, load_agreements
from zicht.contracts import Contract
from zicht.deliveries.landing import (
    claimed_deliveries,
    complete_deliveries,
    incomplete_deliveries,
)
from zicht.deliveries.ledger import Record
from zicht.deliveries.quarantine import Refusal
from zicht.periods import Period
from zicht.settings import Settings
from zicht.upkeep import read_destroyed

DUE_SOON_DAYS = 14
"""A delivery is due soon from this many days before it is due."""
ENDING_DAYS = 60
"""People are told from this many days before an agreement ends."""


class State(StrEnum):
    """How it stands with the delivery of one period."""

    RECEIVED = "received"
    EXPECTED = "expected"
    DUE_SOON = "due_soon"
    OVERDUE = "overdue"
    MISSING = "missing"
    NOT_COVERED = "not_covered"


@dataclass(frozen=True)
class Expectation:
    """One line of the calendar: the delivery of one period of a source.

    Attributes:
        source: identifier.
        period: the reference period.
        due: the day on which it is expected, by the contract's cadence and lag.
        state: received; not yet due (``expected``, or ``due_soon`` within 14 days); past its day
            (``overdue``, or ``missing`` when a later period did come); ``not_covered`` when no
            agreement is in force on the day that it could be taken in.
        days_overdue: days past ``due`` when overdue or missing; otherwise 0.
    """

    source: str
    period: Period
    due: date
    state: State
    days_overdue: int = 0


@dataclass(frozen=True)
class SourceStatus:
    """The state of one source at one moment.

    Attributes:
        source: identifier.
        contract: its contract.
        last: the newest accepted delivery of the newest period; None when there is none.
        next_period: the earliest period that is still to come and that no later one overtook
            after its day.
        next_due: when that is due, by the contract's lag.
        days_overdue: days past that; 0 when it is not overdue, or no agreement covers it.
        n_deliveries: accepted deliveries.
        n_refused: deliveries in quarantine.
        n_waiting: complete deliveries in landing.
        n_incomplete: folders in landing without a descriptor.
        missing: periods past their day that did not come while a later one did.
        covered_until: last day on which an agreement covers the source; None when none is in
            force, or none is needed.
        agreement: the same for people: ``not needed``, ``until 2028-12-31``, ``ends in 40 days``
            or ``none``.
    """

    source: str
    contract: Contract
    last: Record | None
    next_period: Period
    next_due: date
    days_overdue: int
    n_deliveries: int
    n_refused: int
    n_waiting: int
    n_incomplete: int
    missing: tuple[Period, ...] = ()
    covered_until: date | None = None
    agreement: str = "not needed"


def months_later(day: date, months: int) -> date:
    """The same day of the month some months later, or the last day of a month without it."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _periods_from(first: Period) -> Iterator[Period]:
    period = first
    while True:
        yield period
        period = period.next()


def _first_expected(contract: Contract, received: Collection[Period], today: date) -> Period:
    """Where the calendar of a source begins.

    A young installation does not miss all that its contracts cover: it begins with the first
    period that came, and while none did with the newest one that should have.
    """
    if received:
        return max(min(received), contract.first_period)
    newest = contract.first_period
    for period in _periods_from(contract.first_period):
        if contract.due(period) >= today:
            return newest
        newest = period
    raise AssertionError("periods do not end")


def _state(
    contract: Contract,
    period: Period,
    received: Collection[Period],
    agreements: Mapping[str, Agreement],
    today: date,
) -> State:
    if period in received:
        return State.RECEIVED
    due = contract.due(period)
    if contract.needs_agreement:
        # What is late can be taken in today at the earliest.
        on = max(due, today)
        if agreement_for(agreements, contract.source, on) is None:
            return State.NOT_COVERED
    if due < today:
        return State.MISSING if max(received, default=period) > period else State.OVERDUE
    return State.DUE_SOON if (due - today).days <= DUE_SOON_DAYS else State.EXPECTED


def expectations(
    contract: Contract,
    received: Collection[Period],
    agreements: Mapping[str, Agreement],
    today: date,
    until: date,
) -> list[Expectation]:
    """The calendar of one source, in order of period.

    Args:
        received: the periods of which a delivery was ever accepted, destroyed ones included.
        until: last day on which something is due; the calendar goes further where it must to
            hold all that was received and the next one to come.
    """
    own = {period for period in received if period.cadence is contract.cadence}
    last = max(own, default=None)
    lines: list[Expectation] = []
    is_next_known = False
    for period in _periods_from(_first_expected(contract, own, today)):
        due = contract.due(period)
        if due > until and is_next_known and (last is None or period > last):
            break
        state = _state(contract, period, own, agreements, today)
        late = state in (State.OVERDUE, State.MISSING)
        days = (today - due).days if late else 0
        lines.append(Expectation(contract.source, period, due, state, days))
        is_next_known |= state not in (State.RECEIVED, State.MISSING)
    return lines


def received_periods(
    settings: Settings, source: str, records: Sequence[Record], now: datetime
) -> set[Period]:
    """The periods of which a delivery was accepted by ``now``, also if it was destroyed since."""
    accepted = {r.reference_period for r in records if r.source == source and r.known_at <= now}
    gone = {d.reference_period for d in read_destroyed(settings, source) if d.known_at <= now}
    return accepted | gone


def expected_deliveries(
    settings: Settings,
    contracts: Mapping[str, Contract],
    records: Sequence[Record],
    now: datetime,
    until: date,
) -> list[Expectation]:
    """All that has not come yet and is due by ``until``, in order of due date and source."""
    agreements = load_agreements(settings.agreements)
    lines = [
        line
        for source, contract in contracts.items()
        for line in expectations(
            contract,
            received_periods(settings, source, records, now),
            agreements,
            now.date(),
            until,
        )
        if line.state is not State.RECEIVED and line.due <= until
    ]
    return sorted(lines, key=lambda line: (line.due, line.source, line.period))


def agreement_state(contract: Contract, last_day: date | None, today: date) -> str:
    """What is to be said about the agreement of a source, given its last day."""
    if not contract.needs_agreement:
        return "not needed"
    if last_day is None:
        return "none"
    days = (last_day - today).days
    if days > ENDING_DAYS:
        return f"until {last_day.isoformat()}"
    return f"ends in {days} day{'' if days == 1 else 's'}" if days else "ends today"


def source_status(
    settings: Settings,
    contract: Contract,
    records: Sequence[Record],
    refusals: Sequence[Refusal],
    now: datetime,
    agreements: Mapping[str, Agreement],
) -> SourceStatus:
    """The state of one source from all records, refusals and agreements."""
    source, today = contract.source, now.date()
    own = [r for r in records if r.source == source and r.known_at <= now]
    received = received_periods(settings, source, own, now)
    lines = expectations(contract, received, agreements, today, today)
    awaited = next(x for x in lines if x.state not in (State.RECEIVED, State.MISSING))
    last_day = covered_until(agreements, source, today) if contract.needs_agreement else None
    return SourceStatus(
        source=source,
        contract=contract,
        last=max(own, key=lambda r: (r.reference_period, r.known_at, r.delivered_at), default=None),
        next_period=awaited.period,
        next_due=awaited.due,
        days_overdue=awaited.days_overdue,
        n_deliveries=len(own),
        n_refused=sum(1 for refusal in refusals if refusal.source == source),
        n_waiting=len(complete_deliveries(settings, source))
        + len(claimed_deliveries(settings, source)),
        n_incomplete=len(incomplete_deliveries(settings, source)),
        missing=tuple(line.period for line in lines if line.state is State.MISSING),
        covered_until=last_day,
        agreement=agreement_state(contract, last_day, today),
    )


def all_statuses(
    settings: Settings,
    contracts: Mapping[str, Contract],
    records: Sequence[Record],
    refusals: Sequence[Refusal],
    now: datetime,
) -> list[SourceStatus]:
    """The state of every source with a contract, in order of name."""
    agreements = load_agreements(settings.agreements)
    return [
        source_status(settings, contract, records, refusals, now, agreements)
        for _, contract in sorted(contracts.items())
    ]
