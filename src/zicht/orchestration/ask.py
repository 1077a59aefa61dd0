"""Asks a running scheduler for a refresh, and follows it to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from zicht.clock import Clock
from zicht.errors import BusyError
from zicht.files import read_json
from zicht.orchestration.environment import OrchestrationError, airflow_environment
from zicht.orchestration.health import database_address
from zicht.orchestration.local import run_dag_here, scheduler_is_alive
from zicht.refresh import HOPS
from zicht.settings import Settings

Say = Callable[[str], None]

_POLL_SECONDS = 2.0


def _task_states(settings: Settings, run_id: str) -> tuple[str | None, dict[str, str | None]]:
    from sqlalchemy import create_engine, text

    address = database_address(settings)
    if address is None:
        return None, {}
    engine = create_engine(address)
    where = "where dag_id = 'refresh' and run_id = :run"
    try:
        with engine.connect() as connection:
            state = connection.execute(
                text(f"select state from dag_run {where}"), {"run": run_id}
            ).scalar()
            tasks = connection.execute(
                text(f"select task_id, state from task_instance {where}"), {"run": run_id}
            ).all()
    finally:
        engine.dispose()
    return state, {row[0]: row[1] for row in tasks}


def refresh_now(
    settings: Settings,
    clock: Clock,
    say: Say,
    *,
    kind: str,
    as_of: str | None = None,
    here: bool = False,
    patience: float = 3600,
) -> None:
    """Runs a refresh to its end: by the scheduler where one is alive, else the same DAG here.

    Args:
        kind: begins the name of the run that the scheduler is asked for.
        here: in this process, whatever else runs.

    Raises:
        ZichtError: as :func:`refresh_by_scheduler`, or what the DAG raised here.
    """
    if not here and scheduler_is_alive(settings):
        run_id = f"{kind}-{clock():%Y%m%dT%H%M%S}"
        refresh_by_scheduler(settings, run_id, clock, say, as_of, patience)
    else:
        run_dag_here(settings, "refresh", {"as_of": as_of}, say)


def refresh_by_scheduler(
    settings: Settings, run_id: str, clock: Clock, say: Say, as_of: str | None, patience: float
) -> None:
    """Triggers the DAG ``refresh`` and reports its hops until it has ended.

    Args:
        run_id: Airflow's id for the run; also the name of its folder below ``runs/``.
        patience: seconds to wait.

    Raises:
        OrchestrationError: Z-ORC-010 if it could not be triggered, Z-ORC-011 if it failed.
        BusyError: Z-BUSY-003 if it has not ended in time; it goes on without us.
    """
    command = [sys.executable, "-m", "airflow", "dags", "trigger", "refresh"]
    command += ["--run-id", run_id, "--conf", json.dumps({"as_of": as_of})]
    environment = {**os.environ, **airflow_environment(settings)}
    asked = subprocess.run(command, env=environment, capture_output=True, text=True)
    if asked.returncode:
        raise OrchestrationError(
            f"Airflow did not take the refresh: {asked.stderr.strip().splitlines()[-1:]}.",
            code="Z-ORC-010",
            remedy="Read $ZICHT_HOME/airflow/logs, or run zicht refresh --here.",
        )
    say(f"asked the scheduler for run {run_id}")
    deadline = time.monotonic() + patience
    told: dict[str, str] = {}
    while time.monotonic() < deadline:
        state, tasks = _task_states(settings, run_id)
        for task in ("plan", *HOPS):
            now = tasks.get(task)
            if now in ("success", "failed", "skipped") and told.get(task) != now:
                told[task] = now
                say(f"  {task:8} {now}")
        if state == "failed":
            failed = [task for task, now in tasks.items() if now == "failed"]
            raise OrchestrationError(
                f"the refresh {run_id} failed at {', '.join(failed) or 'an unknown task'}.",
                code="Z-ORC-011",
                remedy="zicht gates shows a gate's findings; the task's log in Airflow the rest.",
            )
        if state == "success":
            outcome = settings.runs / run_id / "outcome.json"
            if outcome.exists():
                say(f"  {read_json(outcome)['state']}")
            return
        time.sleep(_POLL_SECONDS)
    raise BusyError(
        f"the refresh {run_id} had not ended after {patience:.0f} s.",
        code="Z-BUSY-003",
        remedy="It goes on; look at it in Airflow, or raise --patience.",
    )
