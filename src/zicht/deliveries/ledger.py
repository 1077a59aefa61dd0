"""The ledger: the delivery records that lie in ``raw/``, and nothing else.

An accepted delivery is one folder ``raw/<source>/reference_period=<p>/delivery=<id>/`` with its
tables as Parquet and ``delivery.json``. It came there by one rename and is never edited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from zicht.clock import format_moment, parse_moment
from zicht.deliveries.package import ObservationStatus
from zicht.files import list_folders, read_json
from zicht.periods import Period
from zicht.settings import Settings

RECORD = "delivery.json"
PROFILE = "profile.json"
"""What was counted in an accepted delivery, for the comparison with the next one."""
GATE_1 = "gate_1.json"
"""What gate 1 found, beside the record of an accepted delivery and the report of a refused one."""


@dataclass(frozen=True)
class Record:
    """One accepted delivery.

    Attributes:
        id: unique within the source.
        source: the contract.
        reference_period: what it describes.
        observation_status: final or provisional.
        delivered_at: when the provider handed it over (UTC).
        accepted_at: when it entered the ledger (UTC).
        is_archive: whether it was brought in later from an archive.
        supersedes: id of the delivery that it corrects.
        content_hash: sha256 over the delivered files.
        contract_version: version of the contract under which it was accepted.
        rows: per table the number of rows.
        warnings: checks of gate 1 that warned.
        is_stock: whether the period is the state on its first day, from which the lag counts.
        agreement: id of the agreement under which it came in; None when it needs none.
    """

    id: str
    source: str
    reference_period: Period
    observation_status: ObservationStatus
    delivered_at: datetime
    accepted_at: datetime
    is_archive: bool
    supersedes: str | None
    content_hash: str
    contract_version: str
    rows: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    is_stock: bool = False
    agreement: str | None = None

    @property
    def known_at(self) -> datetime:
        """From when on the platform knew this: acceptance, or the original date of an archive."""
        return self.delivered_at if self.is_archive else self.accepted_at

    @property
    def lag_days(self) -> int:
        """Days from the end of the reference period, or the day of a stock, to the hand-over."""
        return self.reference_period.lag(self.delivered_at.date(), is_stock=self.is_stock)

    def to_json(self) -> dict[str, Any]:
        """The content of ``delivery.json``."""
        return {
            "id": self.id,
            "source": self.source,
            "reference_period": str(self.reference_period),
            "observation_status": self.observation_status.value,
            "delivered_at": format_moment(self.delivered_at),
            "accepted_at": format_moment(self.accepted_at),
            "known_at": format_moment(self.known_at),
            "lag_days": self.lag_days,
            "archive": self.is_archive,
            "supersedes": self.supersedes,
            "content_hash": self.content_hash,
            "contract_version": self.contract_version,
            "rows": dict(self.rows),
            "warnings": list(self.warnings),
            "stock": self.is_stock,
            "agreement": self.agreement,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """Reads what :meth:`to_json` wrote."""
        return cls(
            id=document["id"],
            source=document["source"],
            reference_period=Period.parse(document["reference_period"]),
            observation_status=ObservationStatus(document["observation_status"]),
            delivered_at=parse_moment(document["delivered_at"]),
            accepted_at=parse_moment(document["accepted_at"]),
            is_archive=document["archive"],
            supersedes=document["supersedes"],
            content_hash=document["content_hash"],
            contract_version=document["contract_version"],
            rows=document["rows"],
            warnings=tuple(document["warnings"]),
            is_stock=document.get("stock", False),
            agreement=document.get("agreement"),
        )


def delivery_folder(settings: Settings, source: str, period: object, delivery: str) -> Path:
    """Where an accepted delivery lies."""
    return settings.raw / source / f"reference_period={period}" / f"delivery={delivery}"


def read_ledger(settings: Settings, source: str | None = None) -> list[Record]:
    """All records, or those of one source, ordered by known_at, source and id."""
    sources = list_folders(settings.raw) if source is None else [settings.raw / source]
    records = [
        Record.from_json(read_json(delivery / RECORD))
        for base in sources
        for period in list_folders(base)
        if period.name.startswith("reference_period=")
        for delivery in list_folders(period)
        if (delivery / RECORD).exists()
    ]
    return sorted(records, key=lambda r: (r.known_at, r.source, r.id))


def ledger_digest(records: Iterable[Record]) -> str:
    """sha256 over the identities of the records: changes when a delivery was added."""
    digest = hashlib.sha256()
    for line in sorted(f"{r.source}\0{r.id}\0{r.content_hash}\n" for r in records):
        digest.update(line.encode())
    return digest.hexdigest()


def _standing(records: Iterable[Record], as_of: datetime) -> list[Record]:
    known = [record for record in records if record.known_at <= as_of]
    superseded = {(r.source, r.supersedes) for r in known if r.supersedes}
    return [r for r in known if (r.source, r.id) not in superseded]


def latest(
    records: Iterable[Record], as_of: datetime
) -> dict[tuple[str, Period, ObservationStatus], Record]:
    """Per source, period and status the delivery that counted at ``as_of``.

    What a later known delivery supersedes no longer counts; of what is left the last known one
    does, and of two known at the same moment the one handed over last.
    """
    chosen: dict[tuple[str, Period, ObservationStatus], Record] = {}
    for record in sorted(
        _standing(records, as_of), key=lambda r: (r.known_at, r.delivered_at, r.id)
    ):
        chosen[(record.source, record.reference_period, record.observation_status)] = record
    return chosen
