"""Backfills: what is refused before anything is forgotten, and what would be computed again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from support import PROJECT, settings_at, silent
from zicht import refresh
from zicht.backfill import BackfillError, find_scope, load_backfill, run_backfill
from zicht.cli.backfill import backfill as command
from zicht.clock import fixed_clock
from zicht.contracts import load_contracts
from zicht.files import read_json
from zicht.refresh.checked import forget_passed, note_passed, passed_gate_2
from zicht.settings import Settings

TODAY = date(2025, 5, 1)
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
CONTRACTS = load_contracts(PROJECT / "expectations" / "contracts")
GOOD: dict[str, Any] = {
    "id": "again",
    "sources": ["cbs_crime"],
    "periods": {"from": "2023", "to": "2024"},
    "reason": "A disk had faults.",
    "requester": "A. Asker",
    "reviewer": "R. Reviewer",
    "reviewed_on": date(2025, 4, 30),
}


def write(folder: Path, **fields: Any) -> Path:
    path = folder / "again.yaml"
    content = {**GOOD, **fields}
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def test_the_example_can_be_read() -> None:
    path = PROJECT / "expectations" / "backfills" / "example.yaml"
    assert load_backfill(path, CONTRACTS, date(2026, 1, 1)).sources == ("cbs_crime",)


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"reason": None}, "Z-BCK-001", "reason"),
        ({"reason": "  "}, "Z-BCK-001", "reason is empty"),
        ({"watchers": "x"}, "Z-BCK-001", "watchers"),
        ({"id": "other"}, "Z-BCK-001", "'other'"),
        ({"sources": "cbs_crime"}, "Z-BCK-001", "sources"),
        ({"sources": ["cbs_crime", "cbs_crime"]}, "Z-BCK-001", "each once"),
        ({"reviewer": "a.  ASKER"}, "Z-BCK-002", "asked for it and reviewed it"),
        ({"reviewer": "A. Asker "}, "Z-BCK-002", "asked for it and reviewed it"),
        ({"reviewed_on": date(2025, 5, 2)}, "Z-BCK-002", "past day"),
        ({"reviewed_on": "soon"}, "Z-BCK-002", "past day"),
        ({"sources": ["cbs_crimes"]}, "Z-BCK-003", "cbs_crimes"),
        ({"periods": {"from": "2024"}}, "Z-BCK-004", "to"),
        ({"periods": "2024"}, "Z-BCK-004", "2024"),
        ({"periods": {"from": "2024-13", "to": "2025"}}, "Z-BCK-004", "2024-13"),
        ({"periods": {"from": "2024-Q2", "to": "2023"}}, "Z-BCK-004", "lies after"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, fields: dict[str, Any], code: str, says: str
) -> None:
    with pytest.raises(BackfillError) as caught:
        load_backfill(write(tmp_path, **fields), CONTRACTS, TODAY)
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"a: [", b"- a", b"\xff"])
def test_what_is_no_request_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "again.yaml"
    path.write_bytes(content)
    with pytest.raises(BackfillError, match=r"again\.yaml"):
        load_backfill(path, CONTRACTS, TODAY)
    with pytest.raises(BackfillError, match="cannot be read"):
        load_backfill(tmp_path / "none.yaml", CONTRACTS, TODAY)


def test_without_deliveries_there_is_nothing_to_do(settings: Settings, tmp_path: Path) -> None:
    request = load_backfill(write(tmp_path), CONTRACTS, TODAY)
    with pytest.raises(BackfillError) as caught:
        find_scope(settings, request)
    assert caught.value.code == "Z-BCK-005"


def test_a_refused_request_forgets_nothing(settings: Settings, tmp_path: Path) -> None:
    def never() -> None:
        raise AssertionError("no refresh")

    path = write(tmp_path, reviewer="A. Asker")
    clock = fixed_clock(NOON)
    with pytest.raises(BackfillError):
        run_backfill(settings, path, clock, silent, never)
    assert not (settings.home / "backfills").exists()


def test_a_dry_run_shows_and_changes_nothing(
    first_release: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(first_release.home))
    monkeypatch.setenv("ZICHT_CLOCK", "2025-05-02T09:00:00Z")
    app = typer.Typer()
    app.command()(command)
    path = write(tmp_path)
    before = passed_gate_2(first_release, "cbs_crime")
    shown = CliRunner().invoke(app, [str(path), "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "2 cube vintages" in shown.output
    answer = json.loads(CliRunner().invoke(app, [str(path), "--dry-run", "--json"]).output)
    assert [row["period"] for row in answer["rows"]] == ["2023", "2024"]
    assert len(answer["deliveries"]) == 2
    assert passed_gate_2(first_release, "cbs_crime") == before
    assert len(before) == 12
    assert not (first_release.home / "backfills").exists()
    assert not refresh.pending(first_release)


def test_what_passed_gate_2_is_kept_once(settings: Settings) -> None:
    one = ("cbs_crime", "2024", "d.1")
    assert passed_gate_2(settings, "cbs_crime") == frozenset()
    note_passed(settings, "r", [one], NOON)
    path = settings.home / "checked" / "gate_2" / "cbs_crime" / "d.1.json"
    first = path.read_bytes()
    note_passed(settings, "s", [one], NOON)
    assert path.read_bytes() == first
    assert passed_gate_2(settings, "cbs_crime") == {"d.1"}
    assert forget_passed(settings, [("cbs_crime", "d.1"), ("cbs_crime", "x")]) == ["d.1"]
    assert passed_gate_2(settings_at(settings.home), "cbs_crime") == frozenset()


def test_killed_half_way_the_next_refresh_computes_what_was_forgotten(
    tmp_path: Path, first_release: Settings
) -> None:
    settings = settings_at(tmp_path / "home")
    for folder in ("dbt", "raw", "checked", "vintages", "releases"):
        shutil.copytree(first_release.home / folder, settings.home / folder, symlinks=True)
    shutil.copy(first_release.warehouse, settings.warehouse)
    request = write(tmp_path)
    process = os.fork()
    if process == 0:
        os.environ["ZICHT_KILL_AT"] = "backfill-forgotten"
        run_backfill(settings, request, fixed_clock(NOON), silent, lambda: None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    (kept,) = (settings.home / "backfills").iterdir()
    record = read_json(kept)
    assert record["state"] == "started"
    assert {row["reference_period"] for row in record["rows"]} == {"2023", "2024"}
    assert refresh.plan(settings, "next", fixed_clock(NOON), silent)
    plan = read_json(settings.runs / "next" / "plan.json")
    cubes = plan["variables"]["plan"]["cubes"]
    assert {
        (cube, pair["reference_period"], pair["vintage"])
        for cube, pairs in cubes.items()
        for pair in pairs
    } == {(row["cube"], row["reference_period"], row["vintage"]) for row in record["rows"]}
    assert plan["builds"] is True
