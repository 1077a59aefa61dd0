"""The hops ``protect`` and ``publish``: through the wall, into a candidate, to a release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zicht
from zicht.catalogue import read_catalogue
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.quarantine import read_quarantine
from zicht.errors import GateError
from zicht.expected import all_statuses
from zicht.files import read_json, write_json
from zicht.gates.model import GateResult
from zicht.refresh.attacking import require_nothing_inferred
from zicht.refresh.checking import gate_results
from zicht.refresh.protecting import (
    PROTECTION,
    RATE_PARTS,
    export_regions,
    protect_marts,
    require_as_checked,
)
from zicht.refresh.run import (
    Say,
    ending,
    finish,
    holding_warehouse,
    read_candidate,
    read_state,
    run_folder,
)
from zicht.releases.candidate import CandidateInput, build_candidate, content_hash
from zicht.releases.errata import load_breaks, load_errata
from zicht.releases.register import enter
from zicht.releases.schema import load_schema
from zicht.releases.store import current_release, describe_files, list_releases
from zicht.releases.store import publish as publish_candidate
from zicht.releases.themes import theme_rows
from zicht.releases.writing import DATABASE
from zicht.settings import Settings
from zicht.transform import read_manifest


def _free_id(settings: Settings, wanted: str) -> str:
    """Figures that return to an earlier state are a release of their own, with its own moment."""
    found, number = wanted, 2
    while (settings.releases / found).exists():
        found, number = f"{wanted}-{number}", number + 1
    return found


def protect(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Sends all cells through the wall and builds the candidate from what came out.

    Raises:
        DisclosureError: if an indicator cannot be protected under its policy.
        GateError: Z-GATE-005 if gate 3 has not passed the marts.
        ReleaseError: Z-REL-007 if a mart changed after gate 3.
    """
    state = read_state(settings, run_id)
    folder = run_folder(settings, run_id)
    if state["as_of"]:
        finish(settings, run_id, "as_of", clock)
        say("  a look at the past is not released")
        return
    if not state["builds"]:
        return
    awaited = state["awaited"]
    with holding_warehouse(settings, run_id), ending(settings, run_id, "protect", clock):
        require_as_checked(settings, run_id)
        manifest = read_manifest(settings, say)
        catalogue = read_catalogue(manifest)
        protected = folder / "protected.parquet"
        files = protect_marts(settings, run_id, catalogue, state, protected, say)
        export_regions(settings, folder / "regions.parquet")
    checkpoint("refresh-protected")
    schema = load_schema(settings)
    marts = [mart for _, mart in sorted(catalogue.indicators.items())]
    more: dict[str, Any] = {
        "awaited": awaited,
        "signals": files.get("signals"),
        "profiles": files.get("feature_profiles"),
        "coverage": files["coverage"],
        "themes": theme_rows(manifest, settings),
        "errata": load_errata(settings),
        "breaks": load_breaks(settings),
    }
    content = content_hash(protected, marts, settings.geo_year, schema.version, **more)
    (folder / "candidate.json").unlink(missing_ok=True)
    current = current_release(settings)
    if current and current["content_hash"] == content:
        finish(settings, run_id, "nothing_new", clock, release_id=current["release_id"])
        say(f"  every figure equals that of the current release {current['release_id']}")
        return
    moment = parse_moment(state["planned_at"])
    release_id = _free_id(settings, f"{moment:%Y-%m-%d}-{content[:8]}")
    records = read_ledger(settings)
    contracts = load_contracts(settings.contracts)
    keep = ("release_id", "released_at", "as_of", "geo_year", "n_observations", "code_version")
    counts = build_candidate(
        settings.candidates / release_id,
        release_id,
        CandidateInput(
            protected=protected,
            regions=folder / "regions.parquet",
            marts=marts,
            statuses=all_statuses(settings, contracts, records, read_quarantine(settings), moment),
            earlier=[{key: row[key] for key in keep} for row in list_releases(settings)],
            released_at=moment,
            as_of=moment,
            geo_year=settings.geo_year,
            code_version=zicht.__version__,
            previous=settings.releases / current["release_id"] if current else None,
            vintages=settings.home / "vintages",
            **more,
        ),
        schema,
    )
    write_json(
        folder / "candidate.json",
        {
            "release_id": release_id,
            "previous": current["release_id"] if current else None,
            "content_hash": content,
            "n_observations": counts["observations"],
            "files": describe_files(settings.candidates / release_id),
        },
    )
    checkpoint("refresh-candidate")
    say(f"  candidate {release_id}: {counts['observations']} observations")


_TOLD_OF_INPUTS = (
    "id",
    "source",
    "reference_period",
    "observation_status",
    "delivered_at",
    "accepted_at",
    "known_at",
    "lag_days",
    "archive",
    "stock",
    "supersedes",
    "contract_version",
    "agreement",
)
"""What a release tells of a delivery. How many rows it has is a count that no wall has seen, and
its hash would confirm a guess at its content."""


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in _TOLD_OF_INPUTS if key in record}


def _gate_summary(result: GateResult) -> dict[str, Any]:
    """What a release tells of a gate: rules, never rows or how many of them.

    The rows that break a rule of gates 2 and 3 are of confidential tables.
    """
    return {
        "gate": result.gate,
        "checked_at": format_moment(result.checked_at),
        "passed": result.passed,
        "n_checks": len(result.results),
        "n_failures": len(result.failures),
        "n_warnings": len(result.warnings),
        "warnings": [
            {"relation": warning.relation, "check": warning.check} for warning in result.warnings
        ],
    }


def publish(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Publishes the candidate of this run, if gates 2, 3 and 4 passed it and it did not change.

    Trusts no task state: it reads the recorded results and compares the files.

    Raises:
        ReleaseError: if the candidate is gone or changed after gate 4.
        GateError: Z-GATE-005 if a recorded result is missing or did not pass.
    """
    candidate = read_candidate(settings, run_id)
    if candidate is None:
        return
    folder = run_folder(settings, run_id)
    results = gate_results(settings, run_id)
    passed = {result.gate for result in results if result.passed}
    if not {2, 3, 4} <= passed or not (folder / "cleared.json").exists():
        raise GateError(
            f"run {run_id} has no passed result of gates {sorted({2, 3, 4} - passed)}.",
            code="Z-GATE-005",
            remedy="Run the gates; a task that was marked as a success has not passed them.",
        )
    state = read_state(settings, run_id)
    accepted = state["inputs"]
    document = {
        "release_id": candidate["release_id"],
        "released_at": state["planned_at"],
        "as_of": state["planned_at"],
        "geo_year": state["geo_year"],
        "schema_version": load_schema(settings).version,
        "code_version": zicht.__version__,
        "code_digest": state["code_digest"],
        "plan_digest": state["plan_digest"],
        "content_hash": candidate["content_hash"],
        "n_observations": candidate["n_observations"],
        "inputs": [_told(record) for record in accepted],
        "gates": [
            {
                "gate": 1,
                "passed": True,
                "n_deliveries": len(accepted),
                "n_warnings": sum(len(r["warnings"]) for r in accepted),
            },
            *(_gate_summary(result) for result in results),
        ],
        "files": candidate["files"],
    }
    cleared = read_json(folder / "cleared.json")

    def last_look(candidate_folder: Path) -> None:
        """Two candidates that are each safe may leak together: so look again, and remember."""
        database = candidate_folder / DATABASE
        require_nothing_inferred(settings, run_id, database, candidate["release_id"], say)
        enter(
            settings,
            database,
            release_id=candidate["release_id"],
            released_at=state["planned_at"],
            geo_year=state["geo_year"],
            protection=read_json(folder / PROTECTION),
            parts=folder / RATE_PARTS,
        )
        checkpoint("publish-registered")

    target = publish_candidate(settings, candidate["release_id"], document, cleared, last_look)
    finish(settings, run_id, "published", clock, release_id=candidate["release_id"])
    say(f"  released {candidate['release_id']}: {target}")
