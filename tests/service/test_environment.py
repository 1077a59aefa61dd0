"""Airflow's environment: secrets are made once and kept, operators can override, nothing leaks."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zicht.errors import ConfigurationError
from zicht.orchestration.environment import (
    OrchestrationError,
    Rhythm,
    airflow_environment,
    airflow_home,
    password_file,
)
from zicht.orchestration.health import is_alive
from zicht.orchestration.health import main as health
from zicht.settings import Settings

SECRETS = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)


def test_secrets_are_kept_and_differ_between_installations(tmp_path: Path) -> None:
    one, other = (Settings(tmp_path / name, tmp_path) for name in ("one", "other"))
    first, again, elsewhere = map(airflow_environment, (one, one, other))
    assert [first[name] for name in SECRETS] == [again[name] for name in SECRETS]
    assert not {first[name] for name in SECRETS} & {elsewhere[name] for name in SECRETS}
    assert password_file(one).read_text() != password_file(other).read_text()


def test_only_the_owner_reads_secrets(settings: Settings) -> None:
    airflow_environment(settings)
    for path in (airflow_home(settings) / "secrets.json", password_file(settings)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert sorted(path.name for path in airflow_home(settings).iterdir()) == [
        "passwords.json",
        "secrets.json",
    ]


def test_an_unusable_secrets_file_is_named(settings: Settings) -> None:
    airflow_home(settings).mkdir(parents=True)
    (airflow_home(settings) / "secrets.json").write_text("{}")
    with pytest.raises(OrchestrationError, match=r"Z-ORC-003.*secrets\.json"):
        airflow_environment(settings)


def test_the_operator_overrides(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "17")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    chosen = airflow_environment(settings, port=9000)
    assert chosen["AIRFLOW__CORE__PARALLELISM"] == "17"
    assert chosen["AIRFLOW_HOME"] == str(settings.home / "airflow")
    assert chosen["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:9000/execution/"
    assert chosen["AIRFLOW__API__HOST"] == "127.0.0.1"


@pytest.mark.parametrize("text", ["0", "-1", "often", "inf", "nan"])
def test_a_rhythm_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_SWEEP_SECONDS", text)
    with pytest.raises(ConfigurationError, match="Z-ORC-002: ZICHT_SWEEP_SECONDS"):
        Rhythm.from_environment()


def test_the_rhythm_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_POLL_SECONDS", "2.5")
    monkeypatch.delenv("ZICHT_SWEEP_SECONDS", raising=False)
    assert Rhythm.from_environment() == Rhythm(poll=2.5)


def test_health_without_a_database_is_no_health(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(settings.home))
    assert not is_alive("scheduler", None)
    assert not is_alive("scheduler", f"sqlite:///{settings.home}/nothing.db")
    assert health(["triggerer"]) == 1
    assert health(["coffee-machine"]) == 2


def test_the_cheap_modules_do_not_import_airflow() -> None:
    code = (
        "import sys, zicht.orchestration.environment, zicht.orchestration.health, "
        "zicht.orchestration.local; print('airflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
