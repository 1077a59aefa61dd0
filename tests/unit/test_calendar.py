"""``zicht calendar`` and ``zicht upkeep`` as a person at a terminal and a program see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from zicht.cli.calendar import calendar
from zicht.cli.upkeep import upkeep
from zicht.settings import Settings

RUNNER = CliRunner()


@pytest.fixture
def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of a person at this installation, at a terminal of 80 columns."""
    variables = {"ZICHT_CLOCK": "2025-05-01T09:00:00Z", "COLUMNS": "80"}
    variables |= {"ZICHT_HOME": str(settings.home), "ZICHT_PROJECT": str(settings.project)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return settings


def call(command: Callable[..., None], *arguments: str) -> Any:
    app = typer.Typer()
    app.command()(command)
    return RUNNER.invoke(app, list(arguments))


def test_the_calendar_is_in_order_and_fits_a_terminal(here: Settings) -> None:
    found = call(calendar)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    days = [line.split()[0] for line in lines if line[:1].isdigit()]
    assert days == sorted(days)
    assert days[-1] <= "2026-05-01"
    crime = [line for line in lines if "cbs_crime" in line]
    assert "overdue, 31 days late" in crime[0]
    assert crime[1].split() == ["2026-03-31", "cbs_crime", "2025"]


def test_the_calendar_as_json(here: Settings) -> None:
    found = json.loads(call(calendar, "--source", "kadaster", "--months", "6", "--json").stdout)
    assert found == [
        {
            "source": "kadaster",
            "reference_period": period,
            "due": due,
            "state": state,
            "days_overdue": days,
        }
        for period, due, state, days in (
            ("2024-Q4", "2025-02-14", "overdue", 76),
            ("2025-Q1", "2025-05-15", "due_soon", 0),
            ("2025-Q2", "2025-08-14", "expected", 0),
        )
    ]


def test_an_unknown_source_is_named(here: Settings) -> None:
    assert "'nothing'" in str(call(calendar, "--source", "nothing").exception)


def test_upkeep_with_nothing_to_do_says_so(here: Settings) -> None:
    assert call(upkeep).stdout.strip() == (
        "destroyed 0 deliveries, 0 derived rows, 0 refused payloads"
    )
    document = json.loads(call(upkeep, "--dry-run", "--json").stdout)
    assert document == {
        "dry_run": True,
        "deliveries": [],
        "refused": [],
        "n_derived_rows": 0,
        "without_agreement": [],
        "without_contract": [],
    }


@pytest.mark.parametrize("command", [calendar, upkeep])
def test_help_has_an_example(command: Callable[..., None]) -> None:
    assert "Example: zicht" in call(command, "--help").stdout
