"""The hop ``plan``: which (period, vintage) pairs are shown, and which are still to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb

from zicht.catalogue import Catalogue, read_catalogue
from zicht.checkpoints import checkpoint
from zicht.clock import Clock, format_moment, parse_moment
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.deliveries.ledger import Record, ledger_digest, read_ledger
from zicht.errors import UsageError
from zicht.files import locked, write_json
from zicht.refresh.run import Say, code_digest, finish, mark_warehouse, read_state, run_folder
from zicht.releases.store import current_release
from zicht.settings import Settings
from zicht.transform import read_manifest, relations
from zicht.vintages import Pair, Plan, make_plan


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
    for pattern in ("gate_*.json", "cleared.json", "candidate.json", "outcome.json"):
        for path in folder.glob(pattern):
            path.unlink()


def _write_plan(
    settings: Settings, run_id: str, plan_: Plan, records: list[Record], at: datetime
) -> None:
    used = {(r.source, r.id) for pair in plan_.marts for r in pair.deliveries}
    for pair in (*plan_.cubes, *plan_.marts):
        path = settings.home / "vintages" / f"{pair.vintage}.json"
        if not path.exists():
            write_json(path, _pair_json(pair))
    write_json(
        run_folder(settings, run_id) / "plan.json",
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
        mark_warehouse(settings, run_id)
    checkpoint("refresh-planned")
    say(
        f"  {len(made.marts)} indicator-periods from {len(made.cubes)} cube vintages, "
        f"{len(made.missing)} of them to compute"
    )
    if not made.marts:
        known = f" before {format_moment(records[0].known_at)}" if records else " yet"
        say(f"  no delivery was known{known}: nothing to do")
        return False
    current = current_release(settings)
    if moment is None and current and _shows(current, read_state(settings, run_id)):
        say(f"  the current release {current['release_id']} shows this already: nothing to do")
        finish(settings, run_id, "nothing_new", clock, release_id=current["release_id"])
        return False
    return True
