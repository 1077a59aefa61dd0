"""One run of a refresh: its folder, its state, its end, and its hold on the warehouse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import zicht
from zicht.agreements import load_agreements
from zicht.clock import Clock, format_moment
from zicht.deliveries.ledger import ledger_digest, read_ledger
from zicht.errors import BusyError, UsageError, ZichtError
from zicht.files import locked, read_json, write_atomic, write_json
from zicht.settings import Settings
from zicht.transform import project_digest

Say = Callable[[str], None]


def run_folder(settings: Settings, run_id: str) -> Path:
    return settings.runs / run_id


def read_state(settings: Settings, run_id: str) -> dict[str, Any]:
    path = run_folder(settings, run_id) / "plan.json"
    if not path.exists():
        raise UsageError(
            f"run {run_id} has no plan.", code="Z-USE-003", remedy="Start with the hop plan."
        )
    return dict(read_json(path))


def vintage_path(settings: Settings, vintage: str) -> Path:
    """The file that says what a vintage was made of."""
    return settings.home / "vintages" / f"{vintage}.json"


def new_deliveries(state: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Source, reference period and id of every delivery that this run looks at, each once."""
    plan = state["variables"]["plan"]
    computed = [d for pairs in plan["cubes"].values() for pair in pairs for d in pair["deliveries"]]
    found = {
        (item["source"], item["reference_period"], item["id"])
        for item in (*computed, *plan["staging"])
    }
    return sorted(found)


def mark_warehouse(settings: Settings, run_id: str) -> None:
    write_atomic(settings.home / "warehouse.run", run_id + "\n")


@contextmanager
def holding_warehouse(settings: Settings, run_id: str) -> Iterator[None]:
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


def computed_sources(state: Mapping[str, Any]) -> set[str]:
    """The sources from which a run computes figures."""
    return {
        delivery["source"]
        for pairs in state["variables"]["plan"]["cubes"].values()
        for pair in pairs
        for delivery in pair["deliveries"]
    }


def code_digest(settings: Settings) -> str:
    """sha256 over all that decides what the same deliveries lead to: code, SQL, YAML."""
    digest = hashlib.sha256(project_digest(settings).encode())
    # A backfill asks for work; what deliveries lead to does not follow from it.
    requests = settings.project / "expectations" / "backfills"
    for folder in (settings.project / "expectations", Path(zicht.__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.parent == requests:
                continue
            if path.is_file() and path.suffix in (".yaml", ".py", ".html"):
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def agreements_digest(settings: Settings, at: datetime) -> str:
    """sha256 over the agreements in force at a moment: changes when one begins or ends."""
    found = load_agreements(settings.agreements)
    in_force = sorted(name for name, one in found.items() if one.in_force(at.date()))
    return hashlib.sha256("\0".join(in_force).encode()).hexdigest()


def finish(settings: Settings, run_id: str, state: str, clock: Clock, **more: Any) -> None:
    plan_document = read_state(settings, run_id)
    outcome = {"run_id": run_id, "state": state, "at": format_moment(clock()), **more}
    write_json(run_folder(settings, run_id) / "outcome.json", outcome)
    if plan_document["as_of"] is None:
        kept = ("ledger_digest", "code_digest", "agreements_digest")
        digests = {key: plan_document[key] for key in kept if key in plan_document}
        write_json(settings.runs / "last.json", {**outcome, **digests})


@contextmanager
def ending(settings: Settings, run_id: str, hop: str, clock: Clock) -> Iterator[None]:
    """Records that a run ended at a hop that no repetition cures, so that nobody rings for it."""
    try:
        yield
    except BusyError:
        raise
    except ZichtError as error:
        finish(settings, run_id, f"failed_at_{hop}", clock, code=error.code)
        raise


def pending(settings: Settings, now: datetime | None = None) -> bool:
    """Whether something was accepted, or the code changed, since the last refresh that ended.

    A refresh that a gate or a fault in the SQL stopped has ended: repeating it unchanged would
    stop there again.

    Args:
        now: when given, an agreement that began or ended since counts too.
    """
    records = read_ledger(settings)
    last = settings.runs / "last.json"
    if not last.exists():
        return bool(records)
    document = read_json(last)
    return bool(
        document["ledger_digest"] != ledger_digest(records)
        or document["code_digest"] != code_digest(settings)
        or (now and document.get("agreements_digest") != agreements_digest(settings, now))
    )


def read_candidate(settings: Settings, run_id: str) -> dict[str, Any] | None:
    """What this run would publish; None when it ended before that, with nothing to publish."""
    read_state(settings, run_id)
    folder = run_folder(settings, run_id)
    if (folder / "candidate.json").exists():
        return dict(read_json(folder / "candidate.json"))
    if (folder / "outcome.json").exists():
        return None
    raise UsageError(
        f"run {run_id} has no candidate: the hop protect has not run.",
        code="Z-USE-003",
        remedy="Run it; a task that was marked as a success has not done its work.",
    )
