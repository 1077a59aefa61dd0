"""Fixtures that all tests may use."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# What Hypothesis remembers is no part of the project.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "zicht-hypothesis"))
)
sys.path.insert(0, str(Path(__file__).parent))

from support import drop_sample, run_refresh, settings_at, take_in_all
from zicht.settings import Settings


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who works on what: long ones first, and nothing that takes a minute to build twice.

    A file is one worker's, and so are all tests on the figures of all themes. The tests with a real
    scheduler wait most of their time, so they begin while there is other work to do beside them.
    """
    items.sort(key=lambda item: "service" not in item.path.parts)
    for item in items:
        builds_themes = "themes" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("themes" if builds_themes else str(item.path)))


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Tasks and commands set the mask of their process; here that is the test run's."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty installation."""
    return settings_at(tmp_path / "home")


@pytest.fixture(scope="session")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with the whole sample taken in and released; read it, do not change it."""
    installation = settings_at(tmp_path_factory.mktemp("first") / "home")
    for source in ("cbs_crime", "cbs_measures", "cbs_suspects"):
        drop_sample(installation, source)
    take_in_all(installation)
    run_refresh(installation, "first")
    return installation
