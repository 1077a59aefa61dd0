"""What the tests ask inside Airflow's environment: ``python airflow_probe.py NAME [ARGUMENT…]``.

Prints one line of JSON. Runs in a process of its own, see ``service_support.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from zicht.settings import Settings


def wiring(*run_ids: str) -> dict[str, Any]:
    """All that can be asked without running anything, in one process."""
    found = _dags()  # first, so that it sees what only the DAG files import
    return {**found, "names": _run_names(run_ids), "errors": _errors(), "hops": _hops()}


def _dags() -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(Settings.from_environment().project / "dags"))
    heavy = ("great_expectations", "dbt", "duckdb", "pandas", "zicht.refresh")
    return {
        "import_errors": bag.import_errors,
        "heavy": [name for name in heavy if name in sys.modules],
        "dags": {dag_id: _dag(dag) for dag_id, dag in bag.dags.items()},
    }


def _dag(dag: Any) -> dict[str, Any]:
    condition = getattr(dag.timetable, "asset_condition", None)
    watched = getattr(condition, "objects", [condition] if condition else [])
    return {
        "tasks": [task.task_id for task in dag.topological_sort()],
        "pools": sorted({task.pool for task in dag.tasks}),
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
        "limits": [task.execution_timeout is not None for task in dag.tasks],
        "owners": sorted({task.owner for task in dag.tasks}),
        "runs": dag.max_active_runs,
        "paused": dag.is_paused_upon_creation,
        "doc": dag.doc_md or "",
        "tags": sorted(dag.tags),
        "assets": sorted(asset.name for asset in watched),
    }


def _run_names(ids: tuple[str, ...]) -> list[str]:
    from zicht.orchestration.tasks import run_name

    return [run_name(one) for one in ids]


def _hops() -> dict[str, list[str]]:
    from zicht import refresh
    from zicht.orchestration import tasks

    return {"dag": list(tasks.HOPS), "platform": list(refresh.HOPS)}


def _errors() -> dict[str, str]:
    """Per error what becomes of it in a task."""
    from airflow.sdk.exceptions import AirflowSkipException

    from zicht import errors
    from zicht.orchestration.tasks import ZichtOperator

    class Failing(ZichtOperator):
        def __init__(self, *, error: Exception, **kwargs: Any) -> None:
            super().__init__(task_id="failing", **kwargs)
            self.error = error

        def work(self, settings: Settings, context: Any) -> None:
            raise self.error

    found = {}
    kinds = (errors.GateError, errors.BusyError, errors.RemoteError, OSError, AirflowSkipException)
    for kind in kinds:
        try:
            Failing(error=kind("row 3")).execute({})  # type: ignore[typeddict-item]
        except Exception as error:
            found[kind.__name__] = f"{type(error).__name__}: {error}"
    return found


def rings(poll: str, repeat: str) -> dict[str, Any]:
    """What landing triggers do while scenarios are played, all at the same time.

    The variable ``SCENARIOS`` has per source its moves: ``[seconds, move, delivery]``.
    """
    scenarios = json.loads(os.environ["SCENARIOS"])

    async def play_all() -> list[list[float]]:
        plays = (
            _play(name, moves, float(poll), float(repeat)) for name, moves in scenarios.items()
        )
        return await asyncio.gather(*plays)

    return {
        "rung": dict(zip(scenarios, asyncio.run(play_all()), strict=True)),
        "again": _made_again(),
    }


async def _play(source: str, moves: list[Any], poll: float, repeat: float) -> list[float]:
    from zicht.orchestration.triggers import LandingTrigger

    landing = Settings.from_environment().landing / source
    landing.mkdir(parents=True)
    trigger = LandingTrigger(source, poll, repeat)
    clock = asyncio.get_running_loop().time
    began = clock()
    heard: list[float] = []

    async def listen() -> None:
        async for event in trigger.run():
            assert event.payload["source"] == source
            heard.append(round(clock() - began, 2))

    task = asyncio.create_task(listen())
    for at, what, name in moves:
        await asyncio.sleep(max(0.0, began + at - clock()))
        assert not task.done(), "the trigger stopped looking"
        _move(landing, what, name)
    task.cancel()
    return heard


def _move(landing: Path, what: str, name: str) -> None:
    from zicht.deliveries.package import DESCRIPTOR

    folder, elsewhere = landing / name, landing.with_name(f"{landing.name}.elsewhere")
    if what in ("drop", "half"):
        folder.mkdir()
    if what == "drop":
        (folder / DESCRIPTOR).touch()
    if what == "take":
        (folder / DESCRIPTOR).unlink()
        folder.rmdir()
    if what == "break":
        # A link to itself: every look at it raises an OSError.
        landing.rename(elsewhere)
        landing.symlink_to(landing)
    if what == "mend":
        landing.unlink()
        elsewhere.rename(landing)


def _made_again() -> list[Any]:
    """A trigger's serialised form, and that of the trigger which is made from it."""
    from airflow._shared.module_loading import import_string

    from zicht.orchestration.triggers import LandingTrigger

    path, arguments = LandingTrigger("cbs_crime", 3.0, 9.0).serialize()
    return [[path, arguments], list(import_string(path)(**arguments).serialize())]


def run(*dag_ids: str) -> list[dict[str, Any]]:
    """Runs DAGs one after the other here; per DAG its end, what it said, and the bells so far."""
    from zicht.errors import ZichtError
    from zicht.orchestration.local import run_dag_here

    ends = []
    for dag_id in dag_ids:
        said: list[str] = []
        try:
            outcome = run_dag_here(Settings.from_environment(), dag_id, say=said.append)
            end: dict[str, Any] = {"state": outcome.state, "tasks": dict(outcome.tasks)}
        except ZichtError as error:
            end = {"error": error.code, "message": str(error)}
        ends.append({**end, "said": said, "rung": _rung()})
    return ends


def _rung() -> list[str]:
    import sqlite3

    database = Path(os.environ["AIRFLOW_HOME"], "airflow.db")
    with sqlite3.connect(database) as connection:
        query = "select a.name from asset_event e join asset a on a.id = e.asset_id order by e.id"
        return [name for (name,) in connection.execute(query)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
