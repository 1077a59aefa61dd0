"""The how-to that adds a source, followed to the letter in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import PROJECT, copy_project, run_refresh, settings_at, take_in_all, zicht
from zicht.contracts import load_contracts
from zicht.deliveries.intake import IntakeReport
from zicht.settings import Settings

PAGE = (PROJECT / "docs" / "how-to" / "add-a-source.md").read_text(encoding="utf-8")
SOURCE = "cbs_bankruptcies"
MODEL = f"stg_{SOURCE}__bankruptcies"


def code(language: str) -> str:
    """The one block of a language that is no file."""
    pattern = rf"^<!-- not run[^\n]*-->\n```{language}\n(.*?)^```$"
    (block,) = re.findall(pattern, PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


@dataclass(frozen=True)
class Followed:
    """What a reader has after the last step."""

    settings: Settings
    files: tuple[str, ...]
    taken: IntakeReport
    said: tuple[str, ...]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    base = tmp_path_factory.mktemp("source")
    project = copy_project(base / "project")
    files = re.findall(r"^File: `([^`]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for path, content in files:
        assert not (project / path).exists()
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(content, encoding="utf-8")
    settings = settings_at(base / "home", project)
    subprocess.run(
        [sys.executable, "-c", code("python")],
        env={"ZICHT_HOME": str(settings.home), "PYTHONPATH": str(PROJECT / "src")},
        check=True,
    )
    taken = take_in_all(settings, sources=[SOURCE])[SOURCE]
    said = run_refresh(settings, "added")
    return Followed(settings, tuple(path for path, _ in files), taken, tuple(said))


def asked(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        return warehouse.execute(query).fetchall()


def shown_table() -> list[tuple[str, int | None]]:
    rows = re.findall(r"^\| (GM\d{4}) \| (\d*) ?\|$", PAGE, re.MULTILINE)
    return [(region, int(number) if number else None) for region, number in rows]


def test_a_source_is_a_contract_a_model_and_its_yaml(followed: Followed) -> None:
    assert followed.files == (
        f"expectations/contracts/{SOURCE}.yaml",
        f"dbt_project/models/staging/{SOURCE}/{MODEL}.sql",
        f"dbt_project/models/staging/{SOURCE}/{MODEL}.yml",
    )
    assert SOURCE in load_contracts(followed.settings.contracts)


def test_the_delivery_is_taken_in_and_stands_in_staging(followed: Followed) -> None:
    assert followed.taken.accepted == (f"{SOURCE}-2024-Q1-a",)
    rows = asked(followed.settings, code("sql"))
    assert len(rows) == 3
    assert rows == shown_table()


def test_the_refresh_looked_at_it_and_released_nothing(followed: Followed) -> None:
    run = followed.settings.runs / "added"
    gate = json.loads((run / "gate_2.json").read_text(encoding="utf-8"))
    looked_at = {result["relation"] for result in gate["results"]}
    assert MODEL in looked_at
    assert not any(followed.settings.releases.glob("*/marts.duckdb"))


def test_status_shows_its_lag_and_when_the_next_is_due(followed: Followed) -> None:
    project = str(followed.settings.project)
    shown = zicht("status", "--json", home=followed.settings.home, ZICHT_PROJECT=project)
    assert shown.returncode == 0, shown.stderr
    rows: dict[str, Mapping[str, Any]] = {
        row["source"]: row for row in json.loads(shown.stdout)["sources"]
    }
    row = rows[SOURCE]
    assert (row["last_period"], row["lag_days"], row["n_accepted"]) == ("2024-Q1", 42, 1)
    assert f"a lag of {row['lag_days']} days" in PAGE


def test_its_unit_test_runs_and_passes(followed: Followed) -> None:
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            "--no-use-colors",
            "test",
            "--select",
            f"{MODEL},test_type:unit",
            *("--project-dir", str(followed.settings.dbt_project)),
            *("--profiles-dir", str(followed.settings.dbt_project)),
            *("--target-path", str(followed.settings.home / "unit")),
            *("--log-path", str(followed.settings.home / "unit" / "logs")),
        ],
        env=os.environ | {"ZICHT_HOME": str(followed.settings.home)},
        cwd=followed.settings.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "PASS=1 " in run.stdout
