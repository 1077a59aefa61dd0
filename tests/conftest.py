"""Fixtures that all tests may use."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# What Hypothesis remembers is no part of the project.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "zicht-hypothesis"))
)
sys.path.insert(0, str(Path(__file__).parent))

from support import drop_sample, run_refresh, settings_at, take_in_all
from zicht.settings import Settings

ALL_THEMES = (
    "test_coverage_marts.py",
    *(f"test_theme_{name}.py" for name in ("armoede", "drugs", "rechtspersonen", "vastgoed")),
)
"""Files of which the tests rest on the figures of all themes, which take a minute to build."""


class _ByFile(LoadFileScheduling):
    """A file is one worker's, and so are all files that rest on the same figures."""

    def _split_scope(self, nodeid: str) -> str:
        scope = super()._split_scope(nodeid)
        return "themes" if Path(scope).name in ALL_THEMES else scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """Who works on what."""
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a real scheduler wait most of their time: they begin while there is other work."""
    items.sort(key=lambda item: "service" not in item.path.parts)


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
