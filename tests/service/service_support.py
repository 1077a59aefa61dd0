"""What the service tests share: waiting, and asking inside Airflow's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zicht.orchestration.environment import airflow_environment
from zicht.settings import Settings

PATIENCE = 600
"""Seconds after which what was awaited will not come."""


def until(what: str, condition: Callable[[], Any], patience: float, why: Callable[[], str]) -> Any:
    """Polls until ``condition`` gives something true, and returns it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {patience:.0f} s.\n{why()}")


def probe(settings: Settings, name: str, *arguments: str, **variables: str) -> Any:
    """Runs a function of ``airflow_probe.py`` in a process of its own and returns its answer.

    Airflow reads its configuration while it is imported; the test process must stay free of it.
    """
    answer = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("airflow_probe.py")), name, *arguments],
        env={**os.environ, **airflow_environment(settings), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return json.loads(answer.stdout.splitlines()[-1])
