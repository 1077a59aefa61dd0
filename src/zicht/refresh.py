"""A refresh, hop by hop: plan, stage, gate 2, build, gate 3, protect, gate 4, publish.

Each hop takes the run's name, reads what the hops before it left under ``runs/<run>/``, and may be
repeated. Airflow only calls these functions in order; so does ``zicht refresh --here``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

import zicht
from zicht.catalogue import Catalogue, read_catalogue
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.deliveries.ledger import (
    GATE_1,
    Record,
    delivery_folder,
    ledger_digest,
    read_ledger,
)
from zicht.deliveries.quarantine import read_quarantine
from zicht.deliveries.reading import literal, quoted
from zicht.disclosure.policies import Kind, load_policies
from zicht.disclosure.wall import protect as through_the_wall
from zicht.disclosure.wall import require_public
from zicht.errors import BusyError, ConfigurationError, GateError, UsageError, ZichtError
from zicht.expected import all_statuses
from zicht.files import locked, read_json, write_atomic, write_json
from zicht.gates.engine import GateEngine
from zicht.gates.model import GateResult
from zicht.gates.report import render_report, render_text
from zicht.gates.suites import load_suites
from zicht.releases.candidate import (
    DATABASE,
    CandidateInput,
    build_candidate,
    content_hash,
)
from zicht.releases.schema import load_schema
from zicht.releases.store import (
    current_release,
    describe_files,
    list_releases,
)
from zicht.releases.store import publish as publish_candidate
from zicht.settings import Settings
from zicht.transform import build as dbt_build
from zicht.transform import project_digest, read_manifest, relations
from zicht.vintages import Pair, Plan, make_plan

Say = Callable[[str], None]

HOPS = ("stage", "gate_2", "build", "gate_3", "protect", "gate_4", "publish")
"""The hops after ``plan``, in order."""

_MOST_GATE_1 = 40
"""With more new deliveries than this, a report shows only those that gate 1 warned about."""

_CELLS = """
    indicator_id varchar, theme varchar, region_code varchar, region_level varchar,
    geo_year integer, reference_period varchar, vintage varchar, value double,
    is_provisional boolean, is_estimated boolean, is_missing boolean, known_at timestamptz,
    lag_days integer, is_suppressed boolean, explanation varchar
"""


def _run_folder(settings: Settings, run_id: str) -> Path:
    return settings.runs / run_id


def _state(settings: Settings, run_id: str) -> dict[str, Any]:
    path = _run_folder(settings, run_id) / "plan.json"
    if not path.exists():
        raise UsageError(
            f"run {run_id} has no plan.", code="Z-USE-003", remedy="Start with the hop plan."
        )
    return dict(read_json(path))


def _mark_warehouse(settings: Settings, run_id: str) -> None:
    write_atomic(settings.home / "warehouse.run", run_id + "\n")


@contextmanager
def _warehouse(settings: Settings, run_id: str) -> Iterator[None]:
    """Holds the warehouse, and makes sure that no other run built its marts in between."""
    with locked(settings.locks / "warehouse.lock"):
        mark = settings.home / "warehouse.run"
        owner = mark.read_text().strip() if mark.exists() else ""
        if owner != run_id:
            raise BusyError(
                f"the warehouse holds the marts of run {owner or '(none)'}, not of {run_id}.",
                code="Z-BUSY-002",
                remedy="Another refresh came in between: start this one again from the plan.",
            )
        yield


def _built(settings: Settings, catalogue: Catalogue) -> dict[str, set[tuple[str, str]]]:
    """Per cube the pairs that the warehouse holds; the rows themselves are the only record."""
    if not settings.warehouse.exists():
        return {}
    present = set(relations(settings.warehouse)) & set(catalogue.cubes)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return {
            cube: set(
                connection.execute(
                    f"select distinct reference_period, vintage from {cube}"
                ).fetchall()
            )
            for cube in sorted(present)
        }


def code_digest(settings: Settings) -> str:
    """sha256 over all that decides what the same deliveries lead to: code, SQL, YAML."""
    digest = hashlib.sha256(project_digest(settings).encode())
    for folder in (settings.project / "expectations", Path(zicht.__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".yaml", ".py", ".html"):
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _finish(settings: Settings, run_id: str, state: str, clock: Clock, **more: Any) -> None:
    plan_document = _state(settings, run_id)
    outcome = {"run_id": run_id, "state": state, "at": format_moment(clock()), **more}
    write_json(_run_folder(settings, run_id) / "outcome.json", outcome)
    if plan_document["as_of"] is None:
        digests = {key: plan_document[key] for key in ("ledger_digest", "code_digest")}
        write_json(settings.runs / "last.json", {**outcome, **digests})


@contextmanager
def _ending(settings: Settings, run_id: str, hop: str, clock: Clock) -> Iterator[None]:
    """Records that a run ended at a hop that no repetition cures, so that nobody rings for it."""
    try:
        yield
    except BusyError:
        raise
    except ZichtError as error:
        _finish(settings, run_id, f"failed_at_{hop}", clock, code=error.code)
        raise


def pending(settings: Settings) -> bool:
    """Whether something was accepted, or the code changed, since the last refresh that ended.

    A refresh that a gate or a fault in the SQL stopped has ended: repeating it unchanged would
    stop there again.
    """
    records = read_ledger(settings)
    last = settings.runs / "last.json"
    if not last.exists():
        return bool(records)
    document = read_json(last)
    return bool(
        document["ledger_digest"] != ledger_digest(records)
        or document["code_digest"] != code_digest(settings)
    )


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "model": pair.model,
        "reference_period": str(pair.reference_period),
        "vintage": pair.vintage,
        "inputs": dict(pair.inputs),
    }


def _write_plan(
    settings: Settings, run_id: str, plan_: Plan, records: list[Record], at: datetime
) -> None:
    used = {(r.source, r.id) for pair in plan_.marts for r in pair.deliveries}
    for pair in (*plan_.cubes, *plan_.marts):
        path = settings.home / "vintages" / f"{pair.vintage}.json"
        if not path.exists():
            write_json(path, _pair_json(pair))
    write_json(
        _run_folder(settings, run_id) / "plan.json",
        {
            "run_id": run_id,
            "planned_at": format_moment(at),
            "as_of": format_moment(plan_.as_of) if plan_.as_of else None,
            "geo_year": plan_.geo_year,
            "plan_digest": plan_.digest,
            "ledger_digest": ledger_digest(records),
            "code_digest": code_digest(settings),
            "variables": plan_.variables(),
            "new_deliveries": sorted({r.id for pair in plan_.missing for r in pair.deliveries}),
            "inputs": [r.to_json() for r in records if (r.source, r.id) in used],
        },
    )


def plan(settings: Settings, run_id: str, clock: Clock, say: Say, as_of: str | None = None) -> bool:
    """Works out which (period, vintage) pairs are needed and which of them are missing.

    Args:
        as_of: show what was known at this moment; the marts are then exported for the platform
            team and nothing is released.

    Returns:
        False when there is nothing to do: the current release shows this very plan.

    Raises:
        UsageError: Z-USE-004 if ``as_of`` is not a moment.
    """
    now = clock()
    try:
        moment = parse_moment(as_of) if as_of else None
    except ValueError as error:
        raise UsageError(
            f"as_of {as_of!r} is not a date or moment: {error}.",
            code="Z-USE-004",
            remedy="Write 2024-06-30 or 2024-06-30T12:00:00Z.",
        ) from error
    contracts = load_contracts(settings.contracts)
    for contract in contracts.values():
        ensure_source(settings, contract)
    records = read_ledger(settings)
    with locked(settings.locks / "warehouse.lock"):
        catalogue = read_catalogue(read_manifest(settings, say))
        made = make_plan(
            catalogue,
            contracts,
            records,
            now=now,
            as_of=moment,
            geo_year=settings.geo_year,
            built=_built(settings, catalogue),
        )
        _write_plan(settings, run_id, made, records, now)
        _mark_warehouse(settings, run_id)
    checkpoint("refresh-planned")
    say(
        f"  {len(made.marts)} indicator-periods from {len(made.cubes)} cube vintages, "
        f"{len(made.missing)} of them to compute"
    )
    if not made.marts:
        say("  no accepted deliveries yet: nothing to do")
        return False
    current = current_release(settings)
    if moment is None and current and _shows(current, _state(settings, run_id)):
        say(f"  the current release {current['release_id']} shows this already: nothing to do")
        _finish(settings, run_id, "nothing_new", clock, release_id=current["release_id"])
        return False
    return True


def _shows(release: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    return bool(
        release["plan_digest"] == state["plan_digest"]
        and release["code_digest"] == state["code_digest"]
    )


def stage(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Builds seeds, dimensions and staging views.

    Raises:
        TransformError: if dbt fails; the release stays as it was.
    """
    variables = _state(settings, run_id)["variables"]
    with _warehouse(settings, run_id), _ending(settings, run_id, "stage", clock):
        select = ["resource_type:seed", "path:models/staging", "path:models/dimensions"]
        dbt_build(settings, select, variables, say, all_tests=False)
    checkpoint("refresh-staged")


def build(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Computes the missing cube vintages and the marts.

    Raises:
        TransformError: if dbt fails; the release stays as it was.
    """
    state = _state(settings, run_id)
    with _warehouse(settings, run_id), _ending(settings, run_id, "build", clock):
        select = ["path:models/cubes", "path:models/marts"]
        dbt_build(settings, select, state["variables"], say, all_tests=True)
        if state["as_of"]:
            _export_as_of(settings, state, say)
    checkpoint("refresh-built")


def _export_as_of(settings: Settings, state: Mapping[str, Any], say: Say) -> None:
    """Writes the confidential marts as they were known at a past moment, as Parquet."""
    catalogue = read_catalogue(read_manifest(settings, say))
    folder = settings.home / "as_of" / state["as_of"].replace(":", "")
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set threads = 1")
        for mart in sorted(catalogue.marts):
            connection.execute(
                f"copy (select * from {mart} order by reference_period, region_code) to "
                f"{literal(str(folder / f'{mart}.parquet'))} (format parquet, compression zstd)"
            )
    say(f"  marts as known at {state['as_of']}: {folder}")


def _columns(database: Path) -> dict[str, list[str]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'main' order by table_name, ordinal_position"
        ).fetchall()
    columns: dict[str, list[str]] = {}
    for table, column in rows:
        columns.setdefault(table, []).append(column)
    return columns


def _gate_results(settings: Settings, run_id: str) -> list[GateResult]:
    folder = _run_folder(settings, run_id)
    return [GateResult.loads(path.read_text()) for path in sorted(folder.glob("gate_*.json"))]


def _new_gate_1_results(settings: Settings, state: Mapping[str, Any]) -> list[GateResult]:
    """What gate 1 found in the deliveries that this run computes from; of many only the warned."""
    new = [item for item in state["inputs"] if item["id"] in set(state["new_deliveries"])]
    results = []
    for item in new:
        folder = delivery_folder(settings, item["source"], item["reference_period"], item["id"])
        if (folder / GATE_1).exists():
            results.append(GateResult.loads((folder / GATE_1).read_text(encoding="utf-8")))
    return results if len(results) <= _MOST_GATE_1 else [r for r in results if r.warnings]


def _check(
    settings: Settings,
    run_id: str,
    clock: Clock,
    say: Say,
    *,
    gate: int,
    database: Path,
    relation_names: list[str],
    parameters: Mapping[str, Any],
) -> GateResult:
    """Runs the suites of one gate, stores and renders the results, and stops when it fails."""
    suites = load_suites(
        settings.suites / f"gate_{gate}.yaml",
        relations=relation_names,
        parameters={**parameters, "columns": _columns(database), "geo_year": settings.geo_year},
    )
    with GateEngine() as engine:
        result = engine.run(database, suites, gate=gate, subject=run_id, checked_at=clock())
    folder = _run_folder(settings, run_id)
    write_atomic(folder / f"gate_{gate}.json", result.dumps())
    state = _state(settings, run_id)
    results = [*_new_gate_1_results(settings, state), *_gate_results(settings, run_id)]
    context = {
        "Run": run_id,
        "Planned": state["planned_at"],
        "Deliveries": str(len(state["inputs"])),
        "Geography year": str(state["geo_year"]),
    }
    report = folder / "report.html"
    write_atomic(report, render_report(f"Refresh {run_id}", results, context))
    say(
        f"  {len(result.results)} checks: {len(result.failures)} failed, "
        f"{len(result.warnings)} warned"
    )
    for warning in result.warnings:
        say(f"  warning   {warning.relation}: {warning.description} ({warning.n_unexpected} rows)")
    if not result.passed:
        _finish(settings, run_id, f"refused_by_gate_{gate}", clock)
        raise GateError(
            f"gate {gate} refused run {run_id}; the last release stays.\n"
            f"{render_text([result])}\nReport: {report}",
            code=f"Z-GATE-00{gate}",
            remedy=result.failures[0].remedy,
        )
    return result


def gate_2(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Staging: is the accepted data plausible, complete and free of identifiers?

    Raises:
        GateError: Z-GATE-002 with the failing rows.
    """
    state = _state(settings, run_id)
    with _warehouse(settings, run_id):
        catalogue = read_catalogue(read_manifest(settings, say))
        _check(
            settings,
            run_id,
            clock,
            say,
            gate=2,
            database=settings.warehouse,
            relation_names=[*catalogue.staging, *catalogue.dimensions],
            parameters={"deliveries": state["new_deliveries"]},
        )
    checkpoint("refresh-gate-2")


def _cube_parameters(
    settings: Settings, run_id: str, catalogue: Catalogue
) -> dict[str, dict[str, Any]]:
    """Per cube its staging view, and the vintages and final deliveries that this run computed."""
    computed = _state(settings, run_id)["variables"]["plan"]["cubes"]
    found: dict[str, dict[str, Any]] = {}
    for name, cube in catalogue.cubes.items():
        prefix = f"stg_{cube.inputs[0].source}__"
        pairs = computed.get(name, [])
        found[name] = {
            "staging": next(model for model in catalogue.staging if model.startswith(prefix)),
            "vintages": [pair["vintage"] for pair in pairs],
            "final": [
                delivery["id"]
                for pair in pairs
                for delivery in pair["deliveries"]
                if delivery["status"] == "final"
            ],
        }
    return found


def gate_3(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Cubes and marts: are the figures plausible and conserved, contributors counted?

    Raises:
        GateError: Z-GATE-003 with the failing rows.
    """
    _state(settings, run_id)
    with _warehouse(settings, run_id):
        catalogue = read_catalogue(read_manifest(settings, say))
        _check(
            settings,
            run_id,
            clock,
            say,
            gate=3,
            database=settings.warehouse,
            relation_names=[*catalogue.cubes, *catalogue.marts],
            parameters={
                "indicators": {name: dict(m.indicator) for name, m in catalogue.marts.items()},
                "cubes": _cube_parameters(settings, run_id, catalogue),
            },
        )
    checkpoint("refresh-gate-3")


def _protect_all(settings: Settings, catalogue: Catalogue, target: Path) -> None:
    """Sends every mart through the wall and writes what came out, in a fixed order."""
    policies = load_policies(settings.policies)
    kinds = {name: c.kind for name, c in load_contracts(settings.contracts).items()}
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(str(settings.warehouse))} as w (read_only)")
        connection.execute(f"create table protected ({_CELLS})")
        for name, mart in sorted(catalogue.marts.items()):
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
            connection.execute(
                "create or replace temp view cells as "
                f"select {literal(meta['id'])} as indicator_id, "
                f"{literal(meta['theme'])} as theme, region_code, region_level, geo_year, "
                "reference_period, vintage, value, is_provisional, is_estimated, is_missing, "
                f"known_at, lag_days from w.main.{quoted(name)}"
            )
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


def protect(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Sends all cells through the wall and builds the candidate from what came out.

    Raises:
        DisclosureError: if an indicator cannot be protected under its policy.
    """
    state = _state(settings, run_id)
    folder = _run_folder(settings, run_id)
    if state["as_of"]:
        _finish(settings, run_id, "as_of", clock)
        say("  a look at the past is not released")
        return
    with _warehouse(settings, run_id), _ending(settings, run_id, "protect", clock):
        catalogue = read_catalogue(read_manifest(settings, say))
        _protect_all(settings, catalogue, folder / "protected.parquet")
        _export_regions(settings, folder / "regions.parquet")
    checkpoint("refresh-protected")
    schema = load_schema(settings)
    marts = [mart for _, mart in sorted(catalogue.marts.items())]
    content = content_hash(folder / "protected.parquet", marts, settings.geo_year, schema.version)
    (folder / "candidate.json").unlink(missing_ok=True)
    current = current_release(settings)
    if current and current["content_hash"] == content:
        _finish(settings, run_id, "nothing_new", clock, release_id=current["release_id"])
        say(f"  every figure equals that of the current release {current['release_id']}")
        return
    moment = parse_moment(state["planned_at"])
    release_id = f"{moment:%Y-%m-%d}-{content[:8]}"
    records = read_ledger(settings)
    contracts = load_contracts(settings.contracts)
    keep = ("release_id", "released_at", "as_of", "geo_year", "n_observations", "code_version")
    counts = build_candidate(
        settings.candidates / release_id,
        release_id,
        CandidateInput(
            protected=folder / "protected.parquet",
            regions=folder / "regions.parquet",
            marts=marts,
            statuses=all_statuses(settings, contracts, records, read_quarantine(settings), moment),
            earlier=[{key: row[key] for key in keep} for row in list_releases(settings)],
            released_at=moment,
            as_of=moment,
            geo_year=settings.geo_year,
            code_version=zicht.__version__,
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


def _candidate(settings: Settings, run_id: str) -> dict[str, Any] | None:
    """What this run would publish; None when it ended before that, with nothing to publish."""
    _state(settings, run_id)
    folder = _run_folder(settings, run_id)
    if (folder / "candidate.json").exists():
        return dict(read_json(folder / "candidate.json"))
    if (folder / "outcome.json").exists():
        return None
    raise UsageError(
        f"run {run_id} has no candidate: the hop protect has not run.",
        code="Z-USE-003",
        remedy="Run it; a task that was marked as a success has not done its work.",
    )


def gate_4(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """The candidate: may these very files be published?

    Raises:
        GateError: Z-GATE-004 with the failing rows.
    """
    candidate = _candidate(settings, run_id)
    if candidate is None:
        return
    release_id = candidate["release_id"]
    folder = settings.candidates / release_id
    if not folder.exists() and (settings.releases / release_id).exists():
        folder = settings.releases / release_id
    database = folder / DATABASE
    policies = load_policies(settings.policies)
    _check(
        settings,
        run_id,
        clock,
        say,
        gate=4,
        database=database,
        relation_names=relations(database),
        parameters={
            "policies": {name: policy.to_parameters() for name, policy in policies.items()},
            "schema": load_schema(settings).column_names(),
        },
    )
    write_json(_run_folder(settings, run_id) / "cleared.json", describe_files(folder))
    checkpoint("refresh-gate-4")


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
    candidate = _candidate(settings, run_id)
    if candidate is None:
        return
    folder = _run_folder(settings, run_id)
    results = _gate_results(settings, run_id)
    passed = {result.gate for result in results if result.passed}
    if not {2, 3, 4} <= passed or not (folder / "cleared.json").exists():
        raise GateError(
            f"run {run_id} has no passed result of gates {sorted({2, 3, 4} - passed)}.",
            code="Z-GATE-005",
            remedy="Run the gates; a task that was marked as a success has not passed them.",
        )
    state = _state(settings, run_id)
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
    _finish(settings, run_id, "published", clock, release_id=candidate["release_id"])
    say(f"  released {candidate['release_id']}: {target}")


def refresh_here(
    settings: Settings, run_id: str, clock: Clock, say: Say, as_of: str | None = None
) -> bool:
    """Runs all hops in this process. Returns False when there was nothing to do."""
    say("plan")
    if not plan(settings, run_id, clock, say, as_of):
        return False
    for hop in HOPS:
        say(hop)
        globals()[hop](settings, run_id, clock, say)
    return True
