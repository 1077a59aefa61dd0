"""Brings a StatLine table into landing: one delivery per period and status.

CBS hands over the whole table at once, every time. What did not change since the last accepted
delivery of the same period and status is not delivered again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from zicht.clock import Clock
from zicht.deliveries.package import (
    DESCRIPTOR,
    Descriptor,
    ObservationStatus,
    Resource,
    write_delivery,
)
from zicht.errors import RemoteError
from zicht.periods import Period
from zicht.settings import Settings
from zicht.statline.client import DataProperty, StatLineClient, TableInfo
from zicht.statline.cut import DELIMITER, Cut, StatLineSource, cut_table

__all__ = [
    "Cut",
    "FetchResult",
    "KnownContent",
    "NothingKnown",
    "StatLineSource",
    "fetch_table",
]


class KnownContent(Protocol):
    """What was accepted before, per source, period and status."""

    def content_hash(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        """``Descriptor.content_hash`` of the last accepted delivery, if there is one."""
        ...

    def delivery_id(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        """Id of that delivery."""
        ...


class NothingKnown:
    """A ledger without deliveries: everything is new."""

    def content_hash(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        """Nothing was accepted."""
        return None

    def delivery_id(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        """Nothing was accepted."""
        return None


@dataclass(frozen=True)
class FetchResult:
    """What a fetch did.

    Attributes:
        table: the table with its title and the moment that CBS replaced it.
        looked_at: when this was looked at (UTC).
        written: folders of the deliveries that now wait in landing.
        unchanged: ids of deliveries whose content was accepted before or waits in landing already.
        empty: periods and statuses in which no row has a single figure yet.
        n_rows: rows read from the service.
    """

    table: TableInfo
    looked_at: datetime
    written: tuple[Path, ...]
    unchanged: tuple[str, ...]
    empty: tuple[Cut, ...]
    n_rows: int


def fetch_table(
    contract: StatLineSource,
    client: StatLineClient,
    settings: Settings,
    clock: Clock,
    known: KnownContent,
    progress: Callable[[str], None],
) -> FetchResult:
    """Reads a table and writes what is new into ``landing/<source>``.

    Nothing is written before the whole table was read. A delivery appears at once, when its
    descriptor is written; what a killed fetch left half-done is thrown away and written again.

    Args:
        contract: what to read and how to deliver it.
        client: where to read it.
        settings: where landing is.
        clock: for :attr:`FetchResult.looked_at` only; ``delivered_at`` is the moment at which CBS
            replaced the table.
        known: what was accepted before.
        progress: is told, in a sentence, what is going on.

    Raises:
        RemoteError: Z-NET-001 to 003 as the client, Z-NET-003 also for a column or code that is
            not there; Z-NET-004 if CBS replaced the table while it was read.
    """
    before = client.table_info(contract.table)
    progress(f"{contract.table}: {before.title}, replaced at {before.modified:%Y-%m-%d %H:%M} UTC")
    measures = _measures(contract, client.properties(contract.table))
    statuses: dict[str, str | None] = {}
    if contract.status_column is None:
        periods = client.periods(contract.table, contract.period_column)
        statuses = {period.key: period.status for period in periods}
    filters = _stored_codes(contract, client)
    rows = client.rows(contract.table, select=contract.columns, filters=filters)
    table = cut_table(contract, rows, measures, statuses)
    if table.n_rows == 0:
        raise RemoteError(
            f"TypedDataSet of {contract.table} has no rows for {dict(contract.filters)}.",
            code="Z-NET-003",
            remedy="Look at the table in a browser; CBS may have emptied or recoded it.",
        )
    if client.table_info(contract.table).modified != before.modified:
        raise RemoteError(
            f"{contract.table} was replaced while it was read: its rows may be of two versions.",
            code="Z-NET-004",
            remedy="Fetch again; nothing was written.",
        )
    progress(
        f"{contract.table}: {table.n_rows} rows read, {table.n_left_out} of them of periods "
        f"before {contract.first_period} or of another length"
    )
    written: list[Path] = []
    unchanged: list[str] = []
    empty: list[Cut] = []
    for cut, make in table.contents.items():
        content = make()
        if not content.has_figures:
            progress(f"{contract.table} {cut}: no figures yet")
            empty.append(cut)
            continue
        delivery, is_new = _deliver(contract, cut, content.payload, before, settings, known)
        if is_new:
            progress(f"{contract.table} {cut}: {content.n_rows} rows, delivered as {delivery.name}")
            written.append(delivery)
        else:
            progress(f"{contract.table} {cut}: unchanged")
            unchanged.append(delivery.name)
    return FetchResult(
        table=before,
        looked_at=clock(),
        written=tuple(written),
        unchanged=tuple(unchanged),
        empty=tuple(empty),
        n_rows=table.n_rows,
    )


def _measures(contract: StatLineSource, properties: tuple[DataProperty, ...]) -> frozenset[str]:
    """The columns of the contract that hold figures; all its columns must exist."""
    kinds = {p.key: p for p in properties}
    absent = [c for c in (*contract.columns, *contract.filters) if c not in kinds and c != "ID"]
    if absent:
        raise RemoteError(
            f"{contract.table} has no column {', '.join(absent)}; it has {', '.join(kinds)}.",
            code="Z-NET-003",
            remedy="CBS changed the table: bring the contract in line with it.",
        )
    return frozenset(c for c in contract.columns if c in kinds and kinds[c].is_measure)


def _stored_codes(contract: StatLineSource, client: StatLineClient) -> dict[str, str]:
    """The filter codes as the service stores them: it compares them with their padding."""
    stored: dict[str, str] = {}
    for column, code in contract.filters.items():
        matches = [c for c in client.codes(contract.table, column) if c.strip() == code.strip()]
        if not matches:
            raise RemoteError(
                f"Dimension {column} of {contract.table} has no code {code!r}.",
                code="Z-NET-003",
                remedy="CBS recoded the dimension: bring the contract in line with it.",
            )
        stored[column] = matches[0]
    return stored


def _content_hash(
    contract: StatLineSource, cut: Cut, payload: bytes, delivered_at: datetime
) -> str:
    """The hash that the descriptor will have, known before anything is written."""
    resource = Resource(
        name=contract.table_name,
        path=f"{contract.table_name}.csv",
        size=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
    )
    return Descriptor(
        id="",
        source=contract.source,
        reference_period=cut.period,
        observation_status=cut.status,
        delivered_at=delivered_at,
        resources=(resource,),
    ).content_hash


def _tag(content_hash: str, last_id: str | None) -> str:
    """Ten hexadecimal digits that tell deliveries of one period apart.

    Figures that return to an earlier state are a new delivery, so what they follow counts as well.
    """
    if last_id is None:
        return content_hash[:10]
    return hashlib.sha256(f"{content_hash} after {last_id}".encode()).hexdigest()[:10]


def _deliver(
    contract: StatLineSource,
    cut: Cut,
    payload: bytes,
    info: TableInfo,
    settings: Settings,
    known: KnownContent,
) -> tuple[Path, bool]:
    """Writes one delivery unless its content is known; gives its folder and whether it is new."""
    content_hash = _content_hash(contract, cut, payload, info.modified)
    last_id = known.delivery_id(contract.source, cut.period, cut.status)
    identifier = f"{contract.source}-{cut.period}-{cut.status.value}-{_tag(content_hash, last_id)}"
    landing = settings.landing / contract.source
    folder = landing / identifier
    if known.content_hash(contract.source, cut.period, cut.status) == content_hash:
        return landing / (last_id or identifier), False
    if (folder / DESCRIPTOR).exists():
        return folder, False
    if folder.exists():
        # Without a descriptor nobody reads it: a fetch that was killed left it behind.
        shutil.rmtree(folder)
    write_delivery(
        landing,
        id=identifier,
        source=contract.source,
        reference_period=cut.period,
        observation_status=cut.status,
        delivered_at=info.modified,
        tables={f"{contract.table_name}.csv": payload},
        dialect={"delimiter": DELIMITER},
        supersedes=last_id,
        contract_version=contract.contract_version,
    )
    return folder, True
