"""The hops ``gate_2``, ``gate_3`` and ``gate_4``: run the suites, keep and render the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from zicht.catalogue import Catalogue, read_catalogue, source_of
from zicht.checkpoints import checkpoint
from zicht.clock import Clock
from zicht.deliveries.ledger import GATE_1, delivery_folder
from zicht.disclosure.policies import load_policies
from zicht.errors import GateError
from zicht.files import read_json, write_atomic, write_json
from zicht.gates.engine import GateEngine
from zicht.gates.model import JSON, CheckResult, GateResult
from zicht.gates.report import render_report, render_text
from zicht.gates.suites import load_suites
from zicht.refresh.attacking import FINDINGS, attack_candidate
from zicht.refresh.checked import note_passed
from zicht.refresh.contents import table_hashes
from zicht.refresh.coverage import expected_query
from zicht.refresh.forecasting import REMADE, make_again
from zicht.refresh.links import (
    LinkRate,
    compared,
    load_links,
    measure_links,
    note_rates,
    passed_rates,
    write_rates,
)
from zicht.refresh.run import (
    Say,
    computed_sources,
    finish,
    holding_warehouse,
    new_deliveries,
    read_candidate,
    read_state,
    run_folder,
    vintage_path,
)
from zicht.releases.schema import load_schema
from zicht.releases.store import current_release, require_files
from zicht.releases.writing import DATABASE
from zicht.settings import Settings
from zicht.transform import read_manifest, relations

_MOST_GATE_1 = 40
"""With more new deliveries than this, a report shows only those that gate 1 warned about."""

LINK_RATES = "link_rates.parquet"
"""In the folder of a run: what gate 2 measured of keys that registers share."""
_LINKS = "links.yaml"
_LINK_CHECK = "keys_are_found"


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


def gate_results(settings: Settings, run_id: str) -> list[GateResult]:
    folder = run_folder(settings, run_id)
    return [GateResult.loads(path.read_text()) for path in sorted(folder.glob("gate_*.json"))]


def _new_gate_1_results(settings: Settings, state: Mapping[str, Any]) -> list[GateResult]:
    """What gate 1 found in the deliveries that this run looks at; of many only the warned."""
    results = []
    for source, period, delivery in new_deliveries(state):
        folder = delivery_folder(settings, source, period, delivery)
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
    spared: Collection[str] = (),
    rates: Sequence[LinkRate] = (),
) -> GateResult:
    """Runs the suites of one gate, stores and renders the results, and stops when it fails.

    Args:
        spared: relations of which a failure is kept and said, and does not stop the flow.
        rates: link rates, to be shown with the results.

    Returns:
        The result as it was found.
    """
    suites = load_suites(
        settings.suites / f"gate_{gate}.yaml",
        relations=relation_names,
        parameters={**parameters, "columns": _columns(database), "geo_year": settings.geo_year},
    )
    with GateEngine() as engine:
        found = engine.run(database, suites, gate=gate, subject=run_id, checked_at=clock())
    found = replace(found, results=tuple(with_rates(one, rates) for one in found.results))
    result = found.sparing(spared)
    folder = run_folder(settings, run_id)
    write_atomic(folder / f"gate_{gate}.json", result.dumps())
    state = read_state(settings, run_id)
    results = [*_new_gate_1_results(settings, state), *gate_results(settings, run_id)]
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
        count = warning.n_unexpected
        rows = "does not keep" if count is None else f"{count} row(s) do not keep"
        say(f"  warning   {warning.relation}: {rows} the rule: {warning.description}")
    if not result.passed:
        finish(settings, run_id, f"refused_by_gate_{gate}", clock)
        raise GateError(
            f"gate {gate} refused run {run_id}; the last release stays.\n"
            f"{render_text([result])}\nReport: {report}",
            code=f"Z-GATE-00{gate}",
            remedy=result.failures[0].remedy,
        )
    return found


def with_rates(result: CheckResult, rates: Sequence[LinkRate]) -> CheckResult:
    """A check of links that holds, with the lowest rate of each link as what was observed."""
    if result.check != _LINK_CHECK or not result.success:
        return result
    lowest: dict[str, LinkRate] = {}
    for rate in rates:
        if rate.relation == result.relation:
            name = f"{rate.key} in {rate.register}"
            if name not in lowest or rate.link_pct < lowest[name].link_pct:
                lowest[name] = rate
    observed: dict[str, JSON] = {
        name: f"{one.link_pct}% ({one.reference_period})" for name, one in sorted(lowest.items())
    }
    return replace(result, observed=observed or result.observed)


def link_parameters(settings: Settings, rates: Path) -> dict[str, Any]:
    """What the suite on links needs: which views have links, what a fall is, and the rates."""
    links = load_links(settings.suites / _LINKS)
    return {
        "linked": sorted({link.relation for link in links.links}),
        "most_fall_pct": links.most_fall_pct,
        "accepted_falls": sorted(links.accepted_falls),
        "link_rates": str(rates),
    }


def _link_rates(settings: Settings, run_id: str, staging: Collection[str]) -> list[LinkRate]:
    """Measures the links, with what passed before beside them, and keeps that with the run."""
    links = load_links(settings.suites / _LINKS)
    there = {*staging} & {*relations(settings.warehouse)}
    measured = measure_links(settings.warehouse, links, there)
    passed = passed_rates(settings, {rate.source for rate in measured})
    rates = compared(measured, passed)
    write_rates(rates, run_folder(settings, run_id) / LINK_RATES)
    return rates


def gate_2(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Staging: is the accepted data plausible, complete and free of identifiers?

    What passed is kept, so that no later run looks at it again. A source that fails and on which no
    figure rests is held: it stops no other one, and the next run looks at it again. When no figure
    rests on what is new, the run ends here.

    Raises:
        GateError: Z-GATE-002 with the failing rows.
    """
    state = read_state(settings, run_id)
    computed = computed_sources(state)
    with holding_warehouse(settings, run_id):
        catalogue = read_catalogue(read_manifest(settings, say))
        rates = _link_rates(settings, run_id, catalogue.staging)
        found = _check(
            settings,
            run_id,
            clock,
            say,
            gate=2,
            database=settings.warehouse,
            relation_names=[*catalogue.staging, *catalogue.dimensions],
            parameters={
                "deliveries": state["new_deliveries"],
                **link_parameters(settings, run_folder(settings, run_id) / LINK_RATES),
            },
            rates=rates,
            spared=[view for view in catalogue.staging if source_of(view) not in computed],
        )
        held = {source_of(failure.relation) for failure in found.failures}
        for source in sorted(held):
            say(f"  held      {source}: it fails gate 2, and no figure rests on it; see the report")
        passed = [delivery for delivery in new_deliveries(state) if delivery[0] not in held]
        note_passed(settings, run_id, passed, clock())
        note_rates(settings, run_id, rates, passed, clock())
    checkpoint("refresh-gate-2")
    if not state["builds"]:
        current = current_release(settings)
        release_id = current["release_id"] if current else None
        finish(settings, run_id, "nothing_new", clock, release_id=release_id)
        say("  no figure rests on these deliveries yet: no new release")


def _cube_parameters(
    settings: Settings, run_id: str, catalogue: Catalogue
) -> dict[str, dict[str, Any]]:
    """Per cube its staging view, and the vintages and final deliveries that this run computed."""
    computed = read_state(settings, run_id)["variables"]["plan"]["cubes"]
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


def _standing(
    settings: Settings, vintage: str, periods: Mapping[tuple[str, str], str]
) -> list[tuple[bool, bool]]:
    """Per source and period behind a cube's vintage: whether a final, a provisional one is there.

    Args:
        periods: per source and id of a delivery its reference period.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for source, delivery, status, _ in read_json(vintage_path(settings, vintage))["inputs"][
        "deliveries"
    ]:
        found.setdefault((source, periods.get((source, delivery), "")), set()).add(status)
    return [("final" in statuses, "provisional" in statuses) for statuses in found.values()]


def provisional_periods(
    settings: Settings, state: Mapping[str, Any]
) -> dict[str, dict[str, list[str]]]:
    """Per mart the periods of which a source has nothing final, and those of which all is."""
    periods = {(one["source"], one["id"]): one["reference_period"] for one in state["inputs"]}
    found: dict[str, dict[str, list[str]]] = {}
    for mart, pairs in state["variables"]["plan"]["marts"].items():
        own = found.setdefault(mart, {"nothing_final": [], "all_final": []})
        for pair in pairs:
            standing = [
                one
                for vintage in pair["cubes"].values()
                for one in _standing(settings, vintage, periods)
            ]
            if any(not final for final, _ in standing):
                own["nothing_final"].append(pair["reference_period"])
            elif not any(provisional for _, provisional in standing):
                own["all_final"].append(pair["reference_period"])
    return found


def _expected_queries(settings: Settings, catalogue: Catalogue) -> dict[str, str]:
    """Per coverage mart the query on what its frame expects."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return {
            name: expected_query(connection, catalogue, str(mart.indicator["frame"]))
            for name, mart in catalogue.coverage.items()
        }


def gate_3(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Cubes and marts: are the figures plausible and conserved, contributors counted?

    Raises:
        GateError: Z-GATE-003 with the failing rows.
    """
    if not read_state(settings, run_id)["builds"]:
        return
    with holding_warehouse(settings, run_id):
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
                "provisional": provisional_periods(settings, read_state(settings, run_id)),
                "expected": _expected_queries(settings, catalogue),
            },
        )
        # What goes through the wall must be what was looked at here.
        built = sorted({*catalogue.marts} & {*relations(settings.warehouse)})
        hashes = table_hashes(settings.warehouse, built)
        write_json(run_folder(settings, run_id) / "marts.json", hashes)
    checkpoint("refresh-gate-3")


def gate_4(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """The candidate: may these very files be published, beside everything that ever was?

    The attacker goes first, and forecasts are made again; what came of that is one of the things
    that the suites look at. They look at the database; the other files are made of it.

    Raises:
        GateError: Z-GATE-004 with the failing rows.
    """
    candidate = read_candidate(settings, run_id)
    if candidate is None:
        return
    release_id = candidate["release_id"]
    folder = settings.candidates / release_id
    if not folder.exists() and (settings.releases / release_id).exists():
        folder = settings.releases / release_id
    require_files(folder, candidate["files"])
    database = folder / DATABASE
    policies = load_policies(settings.policies)
    attack_candidate(settings, run_id, database, release_id, say)
    make_again(settings, run_id, database, candidate, say)
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
            "findings": str(run_folder(settings, run_id) / FINDINGS),
            "remade": str(run_folder(settings, run_id) / REMADE),
        },
    )
    require_files(folder, candidate["files"])
    write_json(run_folder(settings, run_id) / "cleared.json", candidate["files"])
    checkpoint("refresh-gate-4")
