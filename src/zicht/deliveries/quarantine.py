"""Quarantine: refused deliveries, each with a report of why and what to do.

A refused delivery is kept whole, but for one whose content may not be here at all: of that only
the descriptor, with its hashes, and the report remain.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from zicht.checkpoints import checkpoint
from zicht.clock import format_moment
from zicht.deliveries.ledger import GATE_1
from zicht.deliveries.package import DESCRIPTOR, Descriptor
from zicht.errors import DeliveryError
from zicht.files import (
    hidden_beside,
    move_folder,
    read_json,
    sync_folder,
    write_atomic,
    write_json,
)
from zicht.gates.model import CheckResult, GateResult, Severity
from zicht.gates.report import render_report
from zicht.settings import Settings

REPORT = "report.json"
PAGE = "report.html"
PAYLOAD = "payload"


@dataclass(frozen=True)
class Reason:
    """Why a delivery was refused.

    Attributes:
        code: stable error code, see the reference page on errors.
        file: the data file concerned; empty when it is the delivery as a whole.
        rule: name of the rule that does not hold.
        message: what is wrong.
        remedy: what the provider can do.
        n_rows: how many rows break the rule, where that can be said.
        rows: a sample of them: ``_row``, ``column``, ``value``.
        observed: what gate 1 saw, for a rule about the file as a whole.
    """

    code: str
    file: str
    rule: str
    message: str
    remedy: str
    n_rows: int | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    observed: Any = None

    @classmethod
    def from_error(cls, error: DeliveryError) -> Reason:
        """A reason from an error that was found before gate 1."""
        n_rows = len(error.rows) or None
        return cls(
            error.code, error.file, error.rule, error.message, error.remedy, n_rows, error.rows
        )

    def to_json(self) -> dict[str, Any]:
        """This reason as JSON-able values."""
        return {
            "code": self.code,
            "file": self.file,
            "rule": self.rule,
            "message": self.message,
            "remedy": self.remedy,
            "n_rows": self.n_rows,
            "rows": [dict(row) for row in self.rows],
            "observed": self.observed,
        }


@dataclass(frozen=True)
class Refusal:
    """One refused delivery, as its report tells it."""

    delivery: str
    source: str
    reference_period: str | None
    refused_at: str
    reasons: tuple[Mapping[str, Any], ...]
    folder: Path
    is_destroyed: bool = False


def _as_gate_result(name: str, reasons: Sequence[Reason], now: datetime) -> GateResult:
    """Faults that were found before gate 1 could look at the data, in the form of its results."""
    return GateResult(
        gate=1,
        subject=name,
        checked_at=now,
        results=tuple(
            CheckResult(
                suite="descriptor and files",
                relation=reason.file or "delivery",
                check=reason.code,
                description=reason.message,
                severity=Severity.FAIL,
                success=False,
                remedy=reason.remedy,
            )
            for reason in reasons
        ),
    )


def _free_name(base: Path, name: str) -> str:
    candidate, number = name, 2
    while (base / candidate).exists():
        candidate, number = f"{name}.{number}", number + 1
    return candidate


def refuse(
    settings: Settings,
    source: str,
    folder: Path,
    descriptor: Descriptor | None,
    reasons: Sequence[Reason],
    now: datetime,
    *,
    gate_1: GateResult | None = None,
    destroy: bool = False,
) -> Path:
    """Moves the delivery in ``folder`` into quarantine with its report, by renames only.

    Args:
        gate_1: what gate 1 found, when it was reached.
        destroy: the content may not be kept; only the descriptor stays.

    Returns:
        The folder in quarantine: ``report.json``, the same as a page in ``report.html``,
        ``gate_1.json``, and the delivery itself under ``payload/`` or its ``datapackage.json``.
    """
    base = settings.quarantine / source
    incoming = hidden_beside(base / folder.name, ".incoming-")
    incoming.mkdir(parents=True, exist_ok=True)
    write_json(
        incoming / REPORT,
        {
            "delivery": descriptor.id if descriptor else folder.name,
            "landing_name": folder.name,
            "source": source,
            "reference_period": str(descriptor.reference_period) if descriptor else None,
            "refused_at": format_moment(now),
            "payload_destroyed": destroy,
            "reasons": [reason.to_json() for reason in reasons],
        },
    )
    name = descriptor.id if descriptor else folder.name
    result = gate_1 or _as_gate_result(name, reasons, now)
    write_atomic(incoming / GATE_1, result.dumps())
    context = {"Source": source, "Delivery": name, "Refused at": format_moment(now)}
    write_atomic(incoming / PAGE, render_report(f"Refused delivery {name}", [result], context))
    checkpoint("quarantine-reported")
    os.replace(folder, incoming / PAYLOAD)
    sync_folder(incoming)
    checkpoint("quarantine-moved")
    return _settle(base, incoming)


def _settle(base: Path, incoming: Path) -> Path:
    """Gives a reported refusal its place, without the payload if that may not be kept."""
    payload = incoming / PAYLOAD
    if read_json(incoming / REPORT).get("payload_destroyed") and payload.exists():
        if (payload / DESCRIPTOR).is_file() and not (payload / DESCRIPTOR).is_symlink():
            os.replace(payload / DESCRIPTOR, incoming / DESCRIPTOR)
        shutil.rmtree(payload)
        checkpoint("quarantine-destroyed")
    target = base / _free_name(base, incoming.name.removeprefix(".incoming-"))
    move_folder(incoming, target)
    return target


def recover_quarantine(settings: Settings, source: str) -> None:
    """Completes moves that were cut short: with the payload inside, finish; without, forget."""
    base = settings.quarantine / source
    for leftover in base.glob(".removing-*"):
        shutil.rmtree(leftover)
    for incoming in sorted(base.glob(".incoming-*")):
        if (incoming / PAYLOAD).exists() or (incoming / DESCRIPTOR).exists():
            _settle(base, incoming)
        else:
            shutil.rmtree(incoming)


def read_quarantine(settings: Settings, source: str | None = None) -> list[Refusal]:
    """All refusals, or those of one source, oldest first."""
    refusals = []
    for path in settings.quarantine.glob(f"{source or '*'}/[!.]*/{REPORT}"):
        document = read_json(path)
        refusals.append(
            Refusal(
                delivery=document["delivery"],
                source=document["source"],
                reference_period=document["reference_period"],
                refused_at=document["refused_at"],
                reasons=tuple(document["reasons"]),
                folder=path.parent,
                is_destroyed=document.get("payload_destroyed", False),
            )
        )
    return sorted(refusals, key=lambda r: (r.refused_at, r.source, r.delivery))
