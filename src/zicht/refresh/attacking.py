"""The attacker on a candidate, beside everything that was ever published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from zicht.attacker.attacking import attack
from zicht.attacker.findings import Finding, Severity
from zicht.attacker.published import PublishedTable, tables_of_release
from zicht.disclosure.policies import Kind, load_policies
from zicht.errors import GateError
from zicht.files import write_json
from zicht.refresh.geography import successors
from zicht.refresh.protecting import RATE_PARTS
from zicht.refresh.run import run_folder
from zicht.releases.register import Entry, entries
from zicht.settings import Settings
from zicht.sql import literal

Say = Callable[[str], None]
REPORT = "attack.json"
FINDINGS = "attack.parquet"
_COLUMNS = ["kind", "severity", "layer", "indicator_id", "reference_period", "cell", "inference"]
_MOST_SAID = 5


def _policies(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """What the public may know of each policy: its thresholds and rules."""
    return {
        name: policy.for_tables(Kind.COUNTS)
        for name, policy in load_policies(settings.policies).items()
        if policy.kinds & {Kind.COUNTS, Kind.MAGNITUDES}
    }


def _tables(
    settings: Settings, files: Sequence[Path], register: Sequence[Entry], release_id: str
) -> list[list[PublishedTable]]:
    """Per indicator and period what the candidate says, before what earlier releases said.

    Rates count as what they are made of, which tells more than they do.
    """
    policies = _policies(settings)
    moves: list[tuple[str, str]] = []
    years = {entry.geo_year for entry in register} - {settings.geo_year}
    if years:
        with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
            moves = successors(connection, "dim_recast", years, settings.geo_year)
    earlier = [e.database for e in reversed(register) if e.release_id != release_id]
    tables = [
        table
        for path in (*files, *earlier)
        for table in tables_of_release(path, policies, successors=moves)
    ]

    def subject(table: PublishedTable) -> tuple[str, str]:
        return table.subject, table.period

    return [list(group) for _, group in groupby(sorted(tables, key=subject), key=subject)]


def _row(finding: Finding) -> list[Any]:
    cell = ", ".join(f"{name}={code}" for name, code in finding.key.items())
    return [
        finding.kind.value,
        finding.severity.value,
        Path(finding.table.removesuffix(f" {finding.subject} {finding.period}")).parent.name,
        finding.subject,
        finding.period,
        cell,
        finding.message,
    ]


def attack_candidate(
    settings: Settings, run_id: str, database: Path, release_id: str, say: Say
) -> pd.DataFrame:
    """Attacks a candidate together with everything in the register, and keeps what was found.

    Writes ``attack.json`` (everything) and ``attack.parquet`` (one row per finding) to the folder
    of the run.

    Args:
        database: the DuckDB file of the candidate.
        release_id: of the candidate, so that its own entry is not taken for an earlier release.

    Returns:
        One row per finding: kind, severity (fail, warn, info), layer (whose file), indicator_id,
        reference_period, cell, inference.
    """
    folder = run_folder(settings, run_id)
    files = [path for path in (database, folder / RATE_PARTS) if path.exists()]
    groups = _tables(settings, files, entries(settings), release_id)
    reports = [attack(group) for group in groups]
    write_json(folder / REPORT, {"attacks": [report.to_json() for report in reports]})
    rows = [_row(finding) for report in reports for finding in report.findings]
    found = pd.DataFrame(rows, columns=_COLUMNS, dtype="str")
    with duckdb.connect() as connection:
        connection.register("found", found)
        connection.execute(
            f"copy (select * from found) to {literal(str(folder / FINDINGS))} (format parquet)"
        )
    grave = int((found["severity"] == Severity.FAIL.value).sum())
    say(f"  attacked {len(reports)} tables with all that was published before: {grave} leaks")
    return found


def require_nothing_inferred(
    settings: Settings, run_id: str, database: Path, release_id: str, say: Say
) -> None:
    """The attack at the moment of publication, while no other release can come in between.

    Raises:
        GateError: Z-GATE-004 naming cells that could be inferred.
    """
    found = attack_candidate(settings, run_id, database, release_id, say)
    grave = found[found["severity"] == Severity.FAIL.value]
    if grave.empty:
        return
    cells = [
        f"{row.indicator_id} {row.reference_period}: {row.cell}: {row.inference}"
        for row in grave.head(_MOST_SAID).itertuples()
    ]
    more = f"\n  and {len(grave) - _MOST_SAID} more" if len(grave) > _MOST_SAID else ""
    raise GateError(
        f"candidate {release_id} is not published: {len(grave)} figures could be inferred, "
        "from it or from it beside an earlier release.\n  " + "\n  ".join(cells) + more,
        code="Z-GATE-004",
        remedy=f"Run the refresh again; {REPORT} in the folder of the run says what follows "
        "from what. See docs/runbooks/the-attacker-found-something.md.",
    )
