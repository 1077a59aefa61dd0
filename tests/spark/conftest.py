"""Tests that need Spark: ``make test-spark`` has it, ``make test`` has not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MARKER = "spark"
sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}: builds the microdata layer on Spark as well")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Only who asks for them with ``-m spark`` gets them."""
    return None if config.option.markexpr == MARKER else True
