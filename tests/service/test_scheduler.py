"""The real scheduler: what is dropped into landing becomes a release with no further command."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from service_support import PATIENCE, until

from support import NOW, PROJECT, drop_sample, parquet_bytes, zicht
from zicht.errors import BusyError
from zicht.orchestration.environment import airflow_home
from zicht.orchestration.local import airflow_running, scheduler_is_alive
from zicht.settings import Settings


def _free_ports() -> int:
    """A free port whose two neighbours, where logs are served, are free as well."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
                three.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return port


class Installation:
    """An installation of which Airflow runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dropped: list[Path] = []

    def released(self) -> set[str]:
        """The deliveries in the current release."""
        document = self.settings.releases / "current" / "release.json"
        if not document.exists():
            return set()
        return {one["id"] for one in json.loads(document.read_text())["inputs"]}

    def await_release_of(self, dropped: list[Path]) -> None:
        wanted = {path.name for path in dropped}
        until(
            f"a release with {sorted(wanted)}",
            lambda: wanted <= self.released(),
            patience=PATIENCE,
            why=self.trouble,
        )
        assert not [path for path in dropped if path.exists()], "accepted deliveries leave landing"

    def runs(self, dag_id: str) -> list[str]:
        """States of the runs of a DAG, oldest first."""
        with self._database() as connection:
            query = "select state from dag_run where dag_id = ? order by id"
            return [state for (state,) in connection.execute(query, (dag_id,))]

    def _database(self) -> sqlite3.Connection:
        path = airflow_home(self.settings) / "airflow.db"
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def task(self, dag_id: str, task_id: str) -> str | None:
        """State of a task in the newest run that has it."""
        query = (
            "select state from task_instance where dag_id = ? and task_id = ?"
            " order by start_date desc limit 1"
        )
        with self._database() as connection:
            found = connection.execute(query, (dag_id, task_id)).fetchone()
        return found[0] if found else None

    def trouble(self) -> str:
        log = airflow_home(self.settings) / "logs" / "standalone.log"
        runs = {dag: self.runs(dag) for dag in ("sweep", "intake_cbs_crime", "refresh")}
        tail = log.read_text(errors="replace").splitlines()[-40:]
        return f"runs: {runs}; released: {sorted(self.released())}\n" + "\n".join(tail)


def _session(leader: int) -> list[psutil.Process]:
    """All that ``airflow standalone`` started, however deep."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture(scope="module")
def rhythm() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZICHT_POLL_SECONDS", "1")
        # Nothing here may be the sweep's doing, except its one run at the start.
        patch.setenv("ZICHT_SWEEP_SECONDS", "86400")
        # The platform's clock stands still, so that the result can be compared byte for byte.
        patch.setenv("ZICHT_CLOCK", NOW.isoformat())
        yield


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory, rhythm: None) -> Installation:
    """An installation where the power went in the middle of the first refresh."""
    installation = Installation(
        Settings(home=tmp_path_factory.mktemp("installation"), project=PROJECT)
    )
    installation.dropped = drop_sample(installation.settings, "cbs_measures", ["2024"])
    with airflow_running(installation.settings, _free_ports(), lambda _: None) as process:
        until(
            "the build of the first refresh",
            lambda: installation.task("refresh", "build") == "running",
            patience=PATIENCE,
            why=installation.trouble,
        )
        for victim in _session(process.pid):
            victim.kill()
    assert not installation.released()
    return installation


@pytest.fixture(scope="module")
def installation(cut_off: Installation) -> Iterator[Installation]:
    """The same installation after the next start."""
    # Dropped while it is down.
    cut_off.dropped += drop_sample(cut_off.settings, "cbs_suspects", ["2021"])
    with airflow_running(cut_off.settings, _free_ports(), lambda _: None) as process:
        yield cut_off
    assert _session(process.pid) == []


@pytest.mark.timeout(900)
class TestScheduler:
    """In this order, on one running Airflow."""

    def test_cut_off_in_a_refresh_and_dropped_while_it_was_down(
        self, installation: Installation
    ) -> None:
        installation.await_release_of(installation.dropped)

    def test_it_is_known_to_be_alive_and_alone(self, installation: Installation) -> None:
        assert scheduler_is_alive(installation.settings)
        with (
            pytest.raises(BusyError),
            airflow_running(installation.settings, _free_ports(), lambda _: None),
        ):
            pass

    def test_dropped_while_it_runs(self, installation: Installation) -> None:
        installation.await_release_of(drop_sample(installation.settings, "cbs_suspects", ["2022"]))

    def test_five_at_once_and_then_silence(self, installation: Installation) -> None:
        periods = ["2018", "2019", "2020", "2021", "2022"]
        dropped = drop_sample(installation.settings, "cbs_crime", periods)
        assert len(dropped) == 5
        installation.await_release_of(dropped)

    def test_nothing_failed_and_no_bell_rang_for_nothing(self, installation: Installation) -> None:
        assert set(installation.runs("sweep")) == {"success"}
        assert "failed" not in installation.runs("refresh")
        # One ring may come while an intake is at work; more of them would wake it for nothing.
        assert len(installation.runs("intake_cbs_crime")) <= 3
        assert len(installation.runs("refresh")) <= 9, "one refresh takes what several rings bring"

    def test_one_process_makes_the_same_release(
        self, installation: Installation, tmp_path: Path
    ) -> None:
        """What `make demo` does without a scheduler ends in the same figures, byte for byte."""
        alone = Settings(home=tmp_path / "alone", project=PROJECT)
        drop_sample(alone, "cbs_measures", ["2024"])
        drop_sample(alone, "cbs_suspects", ["2021", "2022"])
        drop_sample(alone, "cbs_crime", ["2018", "2019", "2020", "2021", "2022"])
        for command in (["intake"], ["refresh", "--here"]):
            done = zicht(*command, home=alone.home)
            assert done.returncode == 0, done.stdout + done.stderr
        by_scheduler, by_one = (
            json.loads((one.releases / "current" / "release.json").read_text())
            for one in (installation.settings, alone)
        )
        assert by_one["content_hash"] == by_scheduler["content_hash"]
        assert by_one["release_id"] == by_scheduler["release_id"]
        tables = ("observations.parquet", "indicators.parquet", "regions.parquet")
        files = [parquet_bytes(one.releases / "current") for one in (installation.settings, alone)]
        assert all(files[0][name] == files[1][name] for name in tables)
