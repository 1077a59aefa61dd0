"""The hops ``protect`` and ``publish``: through the wall, into a candidate, to a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

import zicht
from zicht.catalogue import Catalogue, Mart, read_catalogue
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.quarantine import read_quarantine
from zicht.disclosure.policies import Kind, load_policies
from zicht.disclosure.wall import protect as through_the_wall
from zicht.disclosure.wall import require_public
from zicht.errors import ConfigurationError, GateError, ReleaseError
from zicht.expected import all_statuses
from zicht.files import read_json, write_json
from zicht.gates.model import GateResult
from zicht.refresh.checking import gate_results
from zicht.refresh.contents import table_hashes
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
from zicht.releases.schema import load_schema
from zicht.releases.store import current_release, describe_files, list_releases
from zicht.releases.store import publish as publish_candidate
from zicht.settings import Settings
from zicht.sql import literal, quoted
from zicht.transform import read_manifest

_CELLS = """
    indicator_id varchar, theme varchar, region_code varchar, region_level varchar,
    geo_year integer, reference_period varchar, vintage varchar, value double,
    is_provisional boolean, is_estimated boolean, is_missing boolean, known_at timestamptz,
    lag_days integer, is_suppressed boolean, explanation varchar
"""


def _cells(mart: Mart, awaited: Sequence[Mapping[str, Any]]) -> str:
    """A mart's cells as a query, and a missing one per region for what cannot be shown yet.

    These go through the wall as well: nothing is published that did not.
    """
    meta = mart.indicator
    queries = [
        f"""
        select {literal(meta["id"])} as indicator_id, {literal(meta["theme"])} as theme,
            region_code, region_level, geo_year, reference_period, vintage, value,
            is_provisional, is_estimated, is_missing, known_at, lag_days
        from w.main.{quoted(mart.name)}
        """
    ]
    pairs = {row["vintage"]: row for row in awaited if row["mart"] == mart.name}
    queries += [
        f"""
        select distinct {literal(meta["id"])} as indicator_id, {literal(meta["theme"])} as theme,
            region_code, region_level, geo_year,
            {literal(row["reference_period"])} as reference_period,
            {literal(vintage)} as vintage, cast(null as double) as value,
            false as is_provisional, false as is_estimated, true as is_missing,
            cast({literal(row["known_at"])} as timestamptz) as known_at,
            cast({int(row["lag_days"])} as integer) as lag_days
        from w.main.{quoted(mart.name)}
        """
        for vintage, row in sorted(pairs.items())
    ]
    return " union all ".join(queries)


def _protect_all(
    settings: Settings,
    catalogue: Catalogue,
    awaited: Sequence[Mapping[str, Any]],
    target: Path,
) -> None:
    """Sends every mart through the wall and writes what came out, in a fixed order."""
    policies = load_policies(settings.policies)
    kinds = {name: c.kind for name, c in load_contracts(settings.contracts).items()}
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(str(settings.warehouse))} as w (read_only)")
        connection.execute(f"create table protected ({_CELLS})")
        for _, mart in sorted(catalogue.marts.items()):
            meta = mart.indicator
            kind = Kind(meta["kind"])
            rests_on = {*meta["sources"], *mart.sources}
            require_public(meta["id"], kind, {s: kinds.get(s, "") for s in rests_on})
            if meta["policy"] not in policies:
                raise ConfigurationError(
                    f"indicator {meta['id']} has an unknown policy {meta['policy']!r}.",
                    code="Z-CFG-041",
                    remedy=f"Choose one of: {', '.join(policies)}.",
                )
            connection.execute(f"create or replace temp view cells as {_cells(mart, awaited)}")
            through_the_wall(connection, policies[meta["policy"]], kind, "cells", "protected")
        connection.execute(
            "copy (select * from protected order by indicator_id, region_code, reference_period) "
            f"to {literal(str(target))} (format parquet, compression zstd)"
        )


def _export_regions(settings: Settings, target: Path) -> None:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set threads = 1")
        connection.execute(
            f"copy (select * from dim_regions where geo_year = {settings.geo_year} "
            f"order by region_code) to {literal(str(target))} (format parquet)"
        )


def _free_id(settings: Settings, wanted: str) -> str:
    """Figures that return to an earlier state are a release of their own, with its own moment."""
    found, number = wanted, 2
    while (settings.releases / found).exists():
        found, number = f"{wanted}-{number}", number + 1
    return found


def _require_as_checked(settings: Settings, run_id: str) -> None:
    """The marts must be those that gate 3 looked at.

    Raises:
        GateError: Z-GATE-005 if gate 3 kept no record of them.
        ReleaseError: Z-REL-007 naming the marts that changed.
    """
    record = run_folder(settings, run_id) / "marts.json"
    if not record.exists():
        raise GateError(
            f"run {run_id} has no marts that gate 3 has passed.",
            code="Z-GATE-005",
            remedy="Run the gates; a task that was marked as a success has not passed them.",
        )
    checked = read_json(record)
    found = table_hashes(settings.warehouse, checked)
    changed = sorted(name for name in checked if found[name] != checked[name])
    if changed:
        raise ReleaseError(
            f"{', '.join(changed)} changed after gate 3 looked at it.",
            code="Z-REL-007",
            remedy="Run the refresh again, and find out who wrote in warehouse.duckdb.",
        )


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
        _require_as_checked(settings, run_id)
        catalogue = read_catalogue(read_manifest(settings, say))
        _protect_all(settings, catalogue, awaited, folder / "protected.parquet")
        _export_regions(settings, folder / "regions.parquet")
    checkpoint("refresh-protected")
    schema = load_schema(settings)
    marts = [mart for _, mart in sorted(catalogue.marts.items())]
    protected = folder / "protected.parquet"
    content = content_hash(protected, marts, settings.geo_year, schema.version, awaited)
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
            awaited=awaited,
            previous=settings.releases / current["release_id"] if current else None,
            vintages=settings.home / "vintages",
        ),
        schema,
    )
    write_json(
        folder / "candidate.json",
        {
            "release_id": release_id,
            "content_hash": content,
            "n_observations": counts["observations"],
            "files": describe_files(settings.candidates / release_id),
        },
    )
    checkpoint("refresh-candidate")
    say(f"  candidate {release_id}: {counts['observations']} observations")


def _gate_summary(result: GateResult) -> dict[str, Any]:
    """What a release tells of a gate: counts and rules, never rows."""
    return {
        "gate": result.gate,
        "checked_at": format_moment(result.checked_at),
        "passed": result.passed,
        "n_checks": len(result.results),
        "n_failures": len(result.failures),
        "n_warnings": len(result.warnings),
        "warnings": [
            {"relation": w.relation, "check": w.check, "n_unexpected": w.n_unexpected}
            for w in result.warnings
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
        "inputs": accepted,
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
    target = publish_candidate(settings, candidate["release_id"], document, cleared)
    finish(settings, run_id, "published", clock, release_id=candidate["release_id"])
    say(f"  released {candidate['release_id']}: {target}")
