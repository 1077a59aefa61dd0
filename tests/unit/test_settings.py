"""Where things are, from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import PROJECT
from zicht.errors import ConfigurationError
from zicht.settings import GEO_YEAR, Settings

VARIABLES = ("ZICHT_HOME", "ZICHT_PROJECT", "ZICHT_GEO_YEAR")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_variables_it_is_this_checkout() -> None:
    settings = Settings.from_environment()
    assert settings.project == PROJECT
    assert settings.home == PROJECT / "var"
    assert settings.geo_year == GEO_YEAR


def test_variables_decide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "project" / "expectations" / "contracts").mkdir(parents=True)
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path / "somewhere" / ".." / "state"))
    monkeypatch.setenv("ZICHT_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("ZICHT_GEO_YEAR", "2024")
    settings = Settings.from_environment()
    assert settings == Settings(tmp_path / "state", tmp_path / "project", 2024)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ZICHT_PROJECT", "/nowhere/at/all", "Z-CFG-003"),
        ("ZICHT_GEO_YEAR", "next year", "Z-CFG-004"),
        ("ZICHT_GEO_YEAR", "²", "Z-CFG-004"),
        ("ZICHT_GEO_YEAR", "-1", "Z-CFG-004"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=value) as caught:
        Settings.from_environment()
    assert (caught.value.code, caught.value.exit_status) == (code, 3)
    assert name in f"{caught.value.message} {caught.value.remedy}"


def test_state_lies_in_home_and_declarations_in_the_project(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home", tmp_path / "project")
    paths = {
        name: getattr(settings, name)
        for name, value in vars(Settings).items()
        if isinstance(value, property)
    }
    in_project = {name for name, path in paths.items() if path.is_relative_to(settings.project)}
    assert in_project == {"agreements", "contracts", "suites", "policies", "dbt_project"}
    assert all(
        path.is_relative_to(settings.home) for name, path in paths.items() if name not in in_project
    )
    assert len(set(paths.values())) == len(paths)
