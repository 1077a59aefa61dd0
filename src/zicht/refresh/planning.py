"""The hop ``plan``: which (period, vintage) pairs are shown, and which are still to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import duckdb

from zicht.agreements import load_agreements
from zicht.catalogue import Catalogue, read_catalogue
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.deliveries.ledger import Record, ledger_digest, read_ledger
from zicht.errors import UsageError
from zicht.files import locked, write_json
from zicht.refresh.checked import passed_gate_2
from zicht.refresh.geography import seed_digest
from zicht.refresh.run import (
    Say,
    agreements_digest,
    code_digest,
    finish,
    mark_warehouse,
    run_folder,
    vintage_path,
)
from zicht.releases.store import current_release
from zicht.settings import Settings
from zicht.transform import read_manifest, relations
from zicht.upkeep import read_destroyed
from zicht.vintages import Pair, Plan, Withheld, make_plan

_MOST_SAID = 5
"""Awaited deliveries that the progress names one by one."""


def built_pairs(settings: Settings, catalogue: Catalogue) -> dict[str, set[tuple[str, str]]]:
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


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "model": pair.model,
        "reference_period": str(pair.reference_period),
        "vintage": pair.vintage,
        "inputs": dict(pair.inputs),
    }


def _forget(settings: Settings, run_id: str) -> None:
    """A run that is planned anew has passed no gate and has no candidate."""
    folder = run_folder(settings, run_id)
    kept = ("gate_*.json", "marts.json", "cleared.json", "candidate.json", "outcome.json")
    for pattern in kept:
        for path in folder.glob(pattern):
            path.unlink()


def _awaited_json(catalogue: Catalogue, pair: Pair) -> list[dict[str, Any]]:
    """What a release says of a figure that is not there yet: one row per awaited delivery."""
    if pair.model not in catalogue.indicators:
        return []
    indicator = catalogue.indicators[pair.model].indicator
    return [
        {
            "mart": pair.model,
            "indicator_id": indicator["id"],
            "theme": indicator["theme"],
            "reference_period": str(pair.reference_period),
            "vintage": pair.vintage,
            "known_at": format_moment(pair.known_at),
            "lag_days": pair.lag_days,
            "source": awaited.source,
            "awaited_period": str(awaited.period),
            "expected_on": awaited.expected_on.isoformat(),
        }
        for awaited in pair.awaits
    ]


def _rests_on(plan_: Plan) -> dict[str, dict[str, list[list[str]]]]:
    """Per mart and period shown the source and period of every delivery behind it."""
    found: dict[str, dict[str, list[list[str]]]] = {}
    for pair in plan_.marts:
        behind = {(r.source, str(r.reference_period)) for r in pair.deliveries}
        own = found.setdefault(pair.model, {})
        own[str(pair.reference_period)] = [list(one) for one in sorted(behind)]
    return found


def _withheld_json(withheld: Withheld) -> dict[str, Any]:
    return {
        "source": withheld.source,
        "theme": withheld.theme,
        "reason": withheld.reason.value,
        "since": withheld.since.isoformat() if withheld.since else None,
    }


def _note_vintages(settings: Settings, plan_: Plan) -> None:
    for pair in (*plan_.cubes, *plan_.marts, *plan_.awaited):
        path = vintage_path(settings, pair.vintage)
        if not path.exists():
            write_json(path, _pair_json(pair))


def _plan_json(
    settings: Settings,
    run_id: str,
    catalogue: Catalogue,
    plan_: Plan,
    records: list[Record],
    at: datetime,
) -> dict[str, Any]:
    used = {(r.source, r.id) for pair in plan_.marts for r in pair.deliveries}
    return {
        "run_id": run_id,
        "planned_at": format_moment(at),
        "as_of": format_moment(plan_.as_of) if plan_.as_of else None,
        "geo_year": plan_.geo_year,
        "plan_digest": plan_.digest,
        "ledger_digest": ledger_digest(records),
        "code_digest": code_digest(settings),
        "agreements_digest": agreements_digest(settings, at),
        "variables": plan_.variables(),
        "awaited": [row for pair in plan_.awaited for row in _awaited_json(catalogue, pair)],
        "rests_on": _rests_on(plan_),
        "withheld": [_withheld_json(withheld) for withheld in plan_.withheld],
        "new_deliveries": [r.id for r in plan_.new_deliveries],
        "inputs": [r.to_json() for r in records if (r.source, r.id) in used],
    }


def planned_catalogue(settings: Settings, say: Say) -> Catalogue:
    """The catalogue, with geography hashed as it looks from the geography year."""

    @cache
    def digest(path: str) -> str:
        # Nearly every model rests on the same few seeds.
        return seed_digest(settings.dbt_project / path, settings.geo_year)

    return read_catalogue(
        read_manifest(settings, say), lambda seed: digest(seed["original_file_path"])
    )


def _tell(made: Plan, say: Say) -> None:
    say(
        f"  {len(made.marts)} indicator-periods from {len(made.cubes)} cube vintages, "
        f"{len(made.missing)} of them to compute"
    )
    if made.staging:
        say(f"  {len(made.staging)} deliveries to look at that no figure rests on yet")
    if made.awaited:
        awaited = {(a.source, str(a.period)) for pair in made.awaited for a in pair.awaits}
        what = ", ".join(f"{source} {period}" for source, period in sorted(awaited)[:_MOST_SAID])
        more = f" and {len(awaited) - _MOST_SAID} more" if len(awaited) > _MOST_SAID else ""
        say(f"  {len(made.awaited)} indicator-periods await {what}{more}")
    for withheld in made.withheld:
        say(f"  withheld: {withheld}")


def _shows(release: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    return bool(
        release["plan_digest"] == state["plan_digest"]
        and release["code_digest"] == state["code_digest"]
    )


def plan(settings: Settings, run_id: str, clock: Clock, say: Say, as_of: str | None = None) -> bool:
    """Works out which (period, vintage) pairs are needed and which of them are missing.

    Args:
        as_of: show what was known at this moment; the marts are then exported for the platform
            team and nothing is released.

    Returns:
        False when there is nothing to do: the current release shows this very plan, the warehouse
        holds what it rests on, and no delivery waits to be looked at.

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
    if moment is not None and moment > now:
        raise UsageError(
            f"as_of {as_of} lies in the future.",
            code="Z-USE-004",
            remedy="Name a past moment, or leave it out for what is known now.",
        )
    _forget(settings, run_id)
    contracts = load_contracts(settings.contracts)
    for contract in contracts.values():
        ensure_source(settings, contract)
    records = read_ledger(settings)
    with locked(settings.locks / "warehouse.lock"):
        catalogue = planned_catalogue(settings, say)
        made = make_plan(
            catalogue,
            contracts,
            records,
            now=now,
            as_of=moment,
            geo_year=settings.geo_year,
            built=built_pairs(settings, catalogue),
            agreements=load_agreements(settings.agreements),
            checked={source: passed_gate_2(settings, source) for source in contracts},
            destroyed={
                (source, gone.reference_period)
                for source in contracts
                for gone in read_destroyed(settings, source)
            },
        )
        _note_vintages(settings, made)
        state = _plan_json(settings, run_id, catalogue, made, records, now)
        current = current_release(settings)
        is_shown = moment is None and current is not None and _shows(current, state)
        # A warehouse that lacks rows behind the current release is filled again.
        builds = bool(made.marts) and bool(made.missing or not is_shown)
        write_json(run_folder(settings, run_id) / "plan.json", {**state, "builds": builds})
        if builds or made.staging:
            # A run that has something to do takes the warehouse; one that has not leaves it to
            # the run that is at work.
            mark_warehouse(settings, run_id)
    checkpoint("refresh-planned")
    _tell(made, say)
    if builds or made.staging:
        return True
    if not made.marts:
        known = f" before {format_moment(records[0].known_at)}" if records else " yet"
        say(f"  no delivery that may be shown was known{known}: nothing to do")
    elif current:
        say(f"  the current release {current['release_id']} shows this already: nothing to do")
    release_id = current["release_id"] if current else None
    finish(settings, run_id, "nothing_new", clock, release_id=release_id)
    return False
