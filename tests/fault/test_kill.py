"""Killed at any point and run again, every step ends where an undisturbed run ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import (
    NOW,
    PROJECT,
    SAMPLES,
    ObservationStatus,
    Period,
    drop_sample,
    drop_variant,
    parquet_bytes,
    sample_delivery,
    settings_at,
    take_in_all,
)
from zicht.clock import format_moment
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import sha256_of, write_delivery
from zicht.deliveries.quarantine import PAYLOAD, read_quarantine
from zicht.files import read_json, write_json
from zicht.releases.store import DOCUMENT, describe_files
from zicht.settings import Settings
from zicht.statline.replay import replay

KILLED = -signal.SIGKILL
SOURCES = ("cbs_crime", "cbs_measures", "cbs_suspects")

FETCH = ("delivery-written", "delivery-described")
ACCEPT = (
    "intake-claimed",
    "intake-loaded",
    "intake-written",
    "intake-recorded",
    "intake-committed",
    "intake-one-done",
)
REFUSE = ("quarantine-reported", "quarantine-moved")
DESTROY = (*REFUSE, "quarantine-destroyed")
HOPS = {
    "plan": ("refresh-planned",),
    "stage": ("refresh-staged",),
    "gate_2": ("refresh-gate-2",),
    "build": ("refresh-built",),
    "gate_3": ("refresh-gate-3",),
    "protect": ("refresh-protected", "refresh-candidate"),
    "forecast": ("refresh-forecast-made", "refresh-forecast-copied", "refresh-forecast"),
    "gate_4": ("refresh-gate-4",),
    "publish": (
        "publish-registered",
        "publish-documented",
        "publish-moved",
        "publish-pointed",
    ),
}


class Steps:
    """Runs steps in child processes; see ``step.py``."""

    def __init__(self, progress: Path) -> None:
        self.progress = progress
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("step.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _answer(self) -> dict[str, Any]:
        assert self.server.stdout is not None
        return dict(json.loads(self.server.stdout.readline()))

    def run(
        self,
        settings: Settings,
        step: str,
        argument: str,
        *,
        kill_at: str = "",
        meanwhile: Callable[[int], None] | None = None,
        **environment: str,
    ) -> int:
        """Exit code of one step; ``meanwhile`` is called with its process while it runs."""
        assert self.server.stdin is not None
        self.progress.write_text("")
        request = {
            "step": step,
            "argument": argument,
            "progress": str(self.progress),
            "environment": {
                "ZICHT_HOME": str(settings.home),
                "ZICHT_PROJECT": str(settings.project),
                "ZICHT_CLOCK": format_moment(NOW),
                "ZICHT_KILL_AT": kill_at,
                **environment,
            },
        }
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        process = int(self._answer()["process"])
        if meanwhile is not None:
            meanwhile(process)
        return int(self._answer()["code"])

    def said(self) -> str:
        """What the last step said."""
        return self.progress.read_text()

    def survives(self, settings: Settings, step: str, argument: str, *points: str) -> None:
        """Kills a step at each point and runs it again; it must end well every time."""
        for point in points:
            assert self.run(settings, step, argument, kill_at=point) == KILLED, (
                f"{step} did not reach {point}: {self.said()}"
            )
            assert self.run(settings, step, argument) == 0, self.said()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    made = Steps(tmp_path_factory.mktemp("steps") / "progress.txt")
    yield made
    assert made.server.stdin is not None
    made.server.stdin.close()
    assert made.server.wait(30) == 0


def leftovers(settings: Settings) -> list[str]:
    """Hidden and half-made things that a finished step may not leave."""
    return [
        str(path.relative_to(settings.home))
        for path in settings.home.rglob("*")
        if path.name.startswith((".", "recoded-")) or path.name.endswith(".partial")
    ]


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def accepted_content(settings: Settings) -> dict[str, bytes]:
    """All that is in the ledger; notes of unchanged deliveries are no part of it."""
    return {
        path: content
        for path, content in content_of(settings.raw).items()
        if "/unchanged/" not in path
    }


def assert_whole(settings: Settings) -> str:
    """What ``current`` points to is a release with all its files as its document lists them."""
    folder = settings.releases / "current"
    document = read_json(folder / DOCUMENT)
    assert describe_files(folder) == document["files"]
    with duckdb.connect(str(folder / "marts.duckdb"), read_only=True) as connection:
        rows = connection.execute("select count(*) from observations").fetchall()
    assert rows == [(document["n_observations"],)]
    return str(document["release_id"])


def test_every_checkpoint_in_the_source_is_killed_at_in_some_test() -> None:
    found = {
        name
        for path in (PROJECT / "src" / "zicht").rglob("*.py")
        for name in re.findall(r'checkpoint\("([^"]+)"\)', path.read_text())
    }
    used = {*FETCH, *ACCEPT, *REFUSE, *DESTROY}
    used |= {point for points in HOPS.values() for point in points}
    assert used <= found
    elsewhere = "".join(
        path.read_text() for path in (PROJECT / "tests").rglob("*.py") if path != Path(__file__)
    )
    assert {name for name in found - used if f'"{name}"' not in elsewhere} == set()


def test_fetch(steps: Steps, tmp_path: Path) -> None:
    """A killed fetch leaves whole deliveries and one without a descriptor, which it mends."""
    disturbed, whole = settings_at(tmp_path / "disturbed"), settings_at(tmp_path / "whole")
    with replay(SAMPLES) as url:
        landing = disturbed.landing / "cbs_crime"
        for n_complete, point in enumerate(FETCH):
            killed = steps.run(
                disturbed, "fetch", "cbs_crime", kill_at=point, ZICHT_STATLINE_URL=url
            )
            assert killed == KILLED, steps.said()
            assert len(list(landing.glob("*/datapackage.json"))) == n_complete
            (folder,) = landing.iterdir()
            assert any(folder.glob("*.csv"))
        assert steps.run(disturbed, "fetch", "cbs_crime", ZICHT_STATLINE_URL=url) == 0
        assert steps.run(whole, "fetch", "cbs_crime", ZICHT_STATLINE_URL=url) == 0
    assert content_of(disturbed.landing) == content_of(whole.landing)
    assert len(list(landing.iterdir())) == 12
    assert leftovers(disturbed) == []


def test_intake_of_good_deliveries(steps: Steps, tmp_path: Path) -> None:
    disturbed, whole = settings_at(tmp_path / "disturbed"), settings_at(tmp_path / "whole")
    for point in ACCEPT:
        # Each time one more delivery, and the earlier ones once again under their own name.
        drop_sample(disturbed, "cbs_crime", [str(2013 + ACCEPT.index(point)), "2024"])
        steps.survives(disturbed, "intake", "cbs_crime", point)
        assert leftovers(disturbed) == []
        assert list((disturbed.landing / "cbs_crime").iterdir()) == []
    drop_sample(whole, "cbs_crime", [*(str(2013 + i) for i in range(len(ACCEPT))), "2024"])
    take_in_all(whole, sources=["cbs_crime"])
    assert accepted_content(disturbed) == accepted_content(whole)
    ids = [record.id for record in read_ledger(disturbed)]
    assert len(ids) == len(set(ids)) == len(ACCEPT) + 1
    assert read_quarantine(disturbed) == []


def test_intake_of_refused_deliveries(steps: Steps, tmp_path: Path) -> None:
    disturbed, whole = settings_at(tmp_path / "disturbed"), settings_at(tmp_path / "whole")
    model = sample_delivery("cbs_crime", "2024")
    for point in REFUSE:
        for home in (disturbed, whole):
            drop_variant(
                home, model, name=f"bad-{point}", change=lambda c: c.replace(b"GM0363", b"GM9999")
            )
            drop_sample(home, "cbs_crime", [str(2013 + REFUSE.index(point))])
        steps.survives(disturbed, "intake", "cbs_crime", point)
        assert leftovers(disturbed) == []
        assert list((disturbed.landing / "cbs_crime").iterdir()) == []
    take_in_all(whole, sources=["cbs_crime"])
    assert content_of(disturbed.quarantine) == content_of(whole.quarantine)
    assert accepted_content(disturbed) == accepted_content(whole)
    refused = [refusal.folder.name for refusal in read_quarantine(disturbed)]
    assert sorted(refused) == sorted(f"bad-{point}" for point in REFUSE)
    for name in refused:
        payload = disturbed.quarantine / "cbs_crime" / name / PAYLOAD
        assert {path.name for path in payload.iterdir()} == {"crime.csv", "datapackage.json"}


OPEN_CASE = (
    "case_key;person_key;offence_group;offence_label;offence_municipality_code;municipality_code;"
    "recorded_on;investigation_status\r\n"
    "C000000001;P000000001;drugs;bezit;GM0363;GM0363;20240215;open\r\n"
)


def test_intake_of_deliveries_that_may_not_be_kept(steps: Steps, tmp_path: Path) -> None:
    """Whenever the process dies: at the end there is no trace of an open case."""
    settings = settings_at(tmp_path / "home")
    for point in DESTROY:
        write_delivery(
            settings.landing / "police_suspects",
            id=f"open-{point}",
            source="police_suspects",
            reference_period=Period.parse("2024-Q1"),
            observation_status=ObservationStatus.FINAL,
            delivered_at=NOW,
            tables={"suspects.csv": OPEN_CASE.encode("cp1252")},
        )
        steps.survives(settings, "intake", "police_suspects", point)
        assert leftovers(settings) == []
    refused = read_quarantine(settings, "police_suspects")
    assert [refusal.delivery for refusal in refused] == sorted(f"open-{p}" for p in DESTROY)
    assert all(refusal.is_destroyed for refusal in refused)
    for path in settings.home.rglob("*"):
        assert path.is_dir() or b"C000000001" not in path.read_bytes(), path
    for refusal in refused:
        names = {path.name for path in refusal.folder.iterdir()}
        assert names == {"report.json", "report.html", "gate_1.json", "datapackage.json"}


def test_publish_with_a_release_before_it(
    steps: Steps, tmp_path: Path, first_release: Settings
) -> None:
    """Whenever the process dies, ``current`` is the old release or the new one, whole."""
    released = (first_release.releases / "current").resolve()
    for number, point in enumerate(HOPS["publish"]):
        settings = settings_at(tmp_path / point)
        for name, folder in (("old", settings.releases), ("new", settings.candidates)):
            shutil.copytree(released, folder / name, copy_function=shutil.copyfile)
            (folder / name).chmod(0o755)
            document = {**read_json(folder / name / DOCUMENT), "release_id": name}
            write_json(folder / name / DOCUMENT, document)
            write_json(settings.candidates / f"{name}.json", document)
        (settings.candidates / "new" / DOCUMENT).unlink()
        (settings.releases / "current").symlink_to("old")
        assert steps.run(settings, "publish-only", "new", kill_at=point) == KILLED, steps.said()
        assert assert_whole(settings) == ("old", "old", "old", "new")[number]
        assert steps.run(settings, "publish-only", "new") == 0, steps.said()
        assert assert_whole(settings) == "new"
        assert leftovers(settings) == []
        assert not (settings.candidates / "new").exists()


def kill_dbt_when_a_cube_is_built(steps: Steps) -> Callable[[int], None]:
    """Kills the dbt process below the step, in the middle of its work."""

    def kill(process: int) -> None:
        _wait_for_a_cube(steps)
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        (dbt,) = (
            int(child)
            for child in children
            if b"zicht.dbt_child" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        os.kill(dbt, signal.SIGKILL)

    return kill


def kill_step_when_a_cube_is_built(steps: Steps) -> Callable[[int], None]:
    """Kills the step itself while its dbt process is at work."""

    def kill(process: int) -> None:
        _wait_for_a_cube(steps)
        os.kill(process, signal.SIGKILL)

    return kill


def _wait_for_a_cube(steps: Steps) -> None:
    until = time.monotonic() + 120
    while "model cube_" not in steps.said():
        assert time.monotonic() < until, steps.said()
        time.sleep(0.02)


def test_refresh(steps: Steps, tmp_path: Path, first_release: Settings) -> None:
    """The whole chain, killed at every checkpoint and in the middle of dbt."""
    settings = settings_at(tmp_path / "home")
    for source in SOURCES:
        drop_sample(settings, source)
        assert steps.run(settings, "intake", source) == 0, steps.said()
    # Saves the seconds in which dbt reads the project; the digest beside it still decides.
    shutil.copytree(first_release.dbt_target, settings.dbt_target)
    run_id = "killed"
    for hop, points in HOPS.items():
        if hop == "build":
            dbt_dies = kill_dbt_when_a_cube_is_built(steps)
            assert steps.run(settings, "build", run_id, meanwhile=dbt_dies) == 1
            assert "Z-DBT-002" in steps.said()
            step_dies = kill_step_when_a_cube_is_built(steps)
            assert steps.run(settings, "build", run_id, meanwhile=step_dies) == KILLED
        for point in points:
            assert steps.run(settings, hop, run_id, kill_at=point) == KILLED, steps.said()
            if (settings.releases / "current").exists():
                assert_whole(settings)
        assert steps.run(settings, hop, run_id) == 0, steps.said()
    assert accepted_content(settings) == accepted_content(first_release)
    expected = (first_release.releases / "current").resolve()
    actual = (settings.releases / "current").resolve()
    assert actual.name == expected.name
    assert_whole(settings)
    assert parquet_bytes(actual) == parquet_bytes(expected)
    for csv in expected.glob("*.csv"):
        assert sha256_of(actual / csv.name) == sha256_of(csv), csv.name
    mine, theirs = read_json(actual / DOCUMENT), read_json(expected / DOCUMENT)
    for document in (mine, theirs):
        # A DuckDB file is not the same byte for byte; it was compared by its tables above.
        document["files"] = [f for f in document["files"] if not f["path"].endswith(".duckdb")]
    assert mine == theirs
    assert leftovers(settings) == []
    assert list(settings.candidates.iterdir()) == []
