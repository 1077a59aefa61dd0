"""What the command line and the tasks ask for, above the parts that do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zicht.clock import Clock
from zicht.contracts import Contract, contract_of
from zicht.deliveries.ledger import Record, latest, read_ledger
from zicht.deliveries.package import ObservationStatus
from zicht.deliveries.quarantine import PAYLOAD, read_quarantine
from zicht.errors import RemoteError, UsageError
from zicht.files import move_folder, remove_tree
from zicht.periods import Period
from zicht.settings import Settings
from zicht.statline.client import StatLineClient, client_from_environment
from zicht.statline.fetch import FetchResult, StatLineSource, fetch_table

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Known:
    """What the ledger knows about a source, for the fetch."""

    standing: Mapping[tuple[str, Period, ObservationStatus], Record]

    def content_hash(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        record = self.standing.get((source, period, status))
        return record.content_hash if record else None

    def delivery_id(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        record = self.standing.get((source, period, status))
        return record.id if record else None


def _filters(contract: Contract, client: StatLineClient) -> dict[str, str]:
    """Per filtered dimension the code of the contract that the service knows."""
    binding = contract.statline
    assert binding is not None
    chosen: dict[str, str] = {}
    for dimension, wanted in binding.filters.items():
        present = {code.strip() for code in client.codes(binding.table, dimension)}
        found = [code for code in wanted if code in present]
        if not found:
            raise RemoteError(
                f"dimension {dimension} of {binding.table} has none of the codes "
                f"{', '.join(wanted)} that {contract.path.name} names.",
                code="Z-NET-003",
                remedy="The service recoded the dimension: bring the contract in line with it.",
            )
        chosen[dimension] = found[0]
    return chosen


def fetch_source(settings: Settings, source: str, clock: Clock, say: Say) -> FetchResult:
    """Fetches the StatLine table of one contract and drops what is new into landing.

    Raises:
        UsageError: Z-USE-002 for an unknown source, Z-USE-005 for one that is not from StatLine.
        RemoteError: if the service does not answer as it should; nothing is written then.
    """
    contract = contract_of(settings.contracts, source)
    binding = contract.statline
    if binding is None:
        raise UsageError(
            f"{source} is not fetched from StatLine: its provider drops deliveries into landing.",
            code="Z-USE-005",
            remedy="Choose a source whose contract has the customProperty statline.",
        )
    table = contract.tables[0]
    known = _Known(latest(read_ledger(settings, source), clock()))
    with client_from_environment() as client:
        statline_source = StatLineSource(
            source=source,
            table=binding.table,
            table_name=table.name,
            columns=tuple(column.name for column in table.columns),
            period_column=binding.period_column,
            region_column=binding.region_column,
            first_period=contract.first_period,
            contract_version=contract.version,
            status_column=binding.status_column,
            filters=_filters(contract, client),
        )
        return fetch_table(statline_source, client, settings, clock, known, say)


def source_of_table(contracts: Mapping[str, Contract], name: str) -> str:
    """The source that a StatLine table number or a source name stands for.

    Raises:
        UsageError: Z-USE-002 if no contract has it.
    """
    for source, contract in contracts.items():
        table = contract.statline.table if contract.statline else ""
        if name.lower() in (source, table.lower()):
            return source
    tables = [f"{c.statline.table} ({s})" for s, c in contracts.items() if c.statline]
    raise UsageError(
        f"no contract is bound to the StatLine table {name!r}.",
        code="Z-USE-002",
        remedy=f"Choose one of: {', '.join(tables)}.",
    )


def requeue(settings: Settings, delivery: str) -> Path:
    """Moves a refused delivery from quarantine back into landing, to be judged again.

    For when the fault was ours: a municipality missing from the seeds, a contract that was wrong.

    Returns:
        The folder in landing.

    Raises:
        UsageError: Z-USE-006 if there is none of that name, or one already waits in landing.
    """
    found = [
        refusal
        for refusal in read_quarantine(settings)
        # Without its payload it is what a requeue left that was killed half-way.
        if delivery in (refusal.delivery, refusal.folder.name)
        and (refusal.folder / PAYLOAD).exists()
    ]
    if not found:
        raise UsageError(
            f"no delivery {delivery!r} lies in quarantine with its content.",
            code="Z-USE-006",
            remedy="zicht deliveries --refused lists what is there. What was destroyed has to be "
            "delivered again.",
        )
    refusal = found[-1]
    target = settings.landing / refusal.source / refusal.folder.name
    if target.exists():
        raise UsageError(
            f"{target} is there already.",
            code="Z-USE-006",
            remedy="Wait until intake has dealt with it.",
        )
    move_folder(refusal.folder / PAYLOAD, target)
    remove_tree(refusal.folder)
    return target


def human_path(path: Path) -> str:
    """A path as short as it can be: relative to the working directory where that is inside."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)
