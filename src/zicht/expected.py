"""What is expected of each source and what came: the calendar against the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

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


@dataclass(frozen=True)
class SourceStatus:
    """The state of one source at one moment.

    Attributes:
        source: identifier.
        contract: its contract.
        last: the newest accepted delivery of the newest period; None when there is none.
        next_period: the next period expected.
        next_due: when that is due, by the contract's lag.
        days_overdue: days past that; 0 when it is not overdue.
        n_deliveries: accepted deliveries.
        n_refused: deliveries in quarantine.
        n_waiting: complete deliveries in landing.
        n_incomplete: folders in landing without a descriptor.
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


def source_status(
    settings: Settings,
    contract: Contract,
    records: Sequence[Record],
    refusals: Sequence[Refusal],
    now: datetime,
) -> SourceStatus:
    """The state of one source from all records and refusals."""
    own = [r for r in records if r.source == contract.source and r.known_at <= now]
    last = max(own, key=lambda r: (r.reference_period, r.known_at, r.delivered_at), default=None)
    next_period = last.reference_period.next() if last else contract.first_period
    due = next_period.due(contract.lag_days)
    return SourceStatus(
        source=contract.source,
        contract=contract,
        last=last,
        next_period=next_period,
        next_due=due,
        days_overdue=max(0, (now.date() - due).days),
        n_deliveries=len(own),
        n_refused=sum(1 for refusal in refusals if refusal.source == contract.source),
        n_waiting=len(complete_deliveries(settings, contract.source))
        + len(claimed_deliveries(settings, contract.source)),
        n_incomplete=len(incomplete_deliveries(settings, contract.source)),
    )


def all_statuses(
    settings: Settings,
    contracts: Mapping[str, Contract],
    records: Sequence[Record],
    refusals: Sequence[Refusal],
    now: datetime,
) -> list[SourceStatus]:
    """The state of every source with a contract, in order of name."""
    return [
        source_status(settings, contract, records, refusals, now)
        for _, contract in sorted(contracts.items())
    ]
