"""What several tests need: installations, sample deliveries, and the main job in one call."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import duckdb

from zicht import refresh
from zicht.clock import Clock, fixed_clock
from zicht.commands import fetch_source
from zicht.contracts import load_contracts
from zicht.deliveries.intake import IntakeReport, take_in
from zicht.deliveries.package import (
    ObservationStatus,
    read_descriptor,
    write_delivery,
)
from zicht.periods import Period
from zicht.settings import Settings
from zicht.statline.replay import replay
from zicht.transform import parse_key, read_manifest

PROJECT = Path(__file__).resolve().parents[1]
SAMPLES = PROJECT / "samples" / "statline"
SHARED = PROJECT.parent / "shared" / "data"
NOW = datetime(2025, 5, 1, 9, 0, tzinfo=UTC)
STILL: Clock = fixed_clock(NOW)
"""A clock that stands at :data:`NOW`."""


def silent(_: str) -> None:
    """Says nothing."""


def settings_at(home: Path, project: Path = PROJECT) -> Settings:
    """An installation of this project with all state under ``home``."""
    return Settings(home=home, project=project)


@contextmanager
def statline_at(folder: Path, **options: Any) -> Iterator[None]:
    """Points the fetch at a local service that answers from the snapshots in ``folder``."""
    before = os.environ.get("ZICHT_STATLINE_URL")
    with replay(folder, **options) as url:
        os.environ["ZICHT_STATLINE_URL"] = url
        try:
            yield
        finally:
            if before is None:
                del os.environ["ZICHT_STATLINE_URL"]
            else:
                os.environ["ZICHT_STATLINE_URL"] = before


def fetch_all(settings: Settings, folder: Path = SAMPLES, **options: Any) -> None:
    """Fetches every StatLine source from the snapshots in ``folder`` into landing."""
    with statline_at(folder, **options):
        for source, contract in load_contracts(settings.contracts).items():
            if contract.statline is None:
                continue
            fetch_source(settings, source, fixed_clock(NOW), silent)


def _until_the_end(prefix: str) -> Path:
    """A folder that this process removes when it ends."""
    home = Path(mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@cache
def _sample_landing() -> Path:
    """The deliveries of the whole sample, fetched once per test session."""
    home = _until_the_end("zicht-sample-")
    fetch_all(settings_at(home))
    return home / "landing"


def sample_delivery(source: str, period: str, status: str | None = None) -> Path:
    """The folder of one delivery of the sample; copy it, never change it."""
    pattern = f"{source}-{period}-{status or '*'}-*"
    return min((_sample_landing() / source).glob(pattern))


def drop_sample(
    settings: Settings, source: str, periods: Sequence[str] | None = None
) -> list[Path]:
    """Drops deliveries of the sample into landing, descriptor last, as a provider would.

    Args:
        source: the contract.
        periods: only these reference periods; all when omitted.

    Returns:
        The folders in landing.
    """
    dropped = []
    for folder in sorted((_sample_landing() / source).iterdir()):
        descriptor = read_descriptor(folder)
        if periods is not None and str(descriptor.reference_period) not in periods:
            continue
        dropped.append(drop_variant(settings, folder))
    return dropped


def drop_variant(
    settings: Settings,
    model: Path,
    *,
    name: str | None = None,
    change: Callable[[bytes], bytes] | None = None,
    **fields: Any,
) -> Path:
    """Drops a delivery like ``model`` with other content or other fields in its descriptor.

    Args:
        name: id and folder of the new delivery; that of the model when omitted.
        change: makes the new content of the data file from the old one.
        fields: arguments of ``write_delivery`` that differ.
    """
    descriptor = read_descriptor(model)
    resource = descriptor.resources[0]
    content = (model / resource.path).read_bytes()
    arguments: dict[str, Any] = {
        "id": name or descriptor.id,
        "source": descriptor.source,
        "reference_period": descriptor.reference_period,
        "observation_status": descriptor.observation_status,
        "delivered_at": descriptor.delivered_at,
        "tables": {resource.path: change(content) if change else content},
        "dialect": resource.dialect,
        "supersedes": descriptor.supersedes,
        "contract_version": descriptor.contract_version,
        **fields,
    }
    return write_delivery(settings.landing / descriptor.source, **arguments)


def take_in_all(
    settings: Settings, clock: Clock = STILL, sources: Sequence[str] | None = None
) -> dict[str, IntakeReport]:
    """Runs the intake of all sources, or of some."""
    contracts = load_contracts(settings.contracts)
    return {
        source: take_in(settings, contract, clock, silent)
        for source, contract in contracts.items()
        if sources is None or source in sources
    }


@cache
def _parsed() -> tuple[str, Path]:
    """This project as dbt parsed it, once per session: its key, and the folder with the files."""
    home = settings_at(_until_the_end("zicht-manifest-"))
    read_manifest(home, silent)
    return parse_key(home), home.dbt_target


def parsed_project() -> Path:
    """This project as dbt parsed it, in the form that dbt reads."""
    (path,) = _parsed()[1].glob("parsed-*.msgpack")
    return path


def share_manifest(settings: Settings) -> None:
    """Spares an installation the parsing of a dbt project that another one has parsed already."""
    key, folder = _parsed()
    target = settings.dbt_target
    if parse_key(settings) == key and not (target / "manifest.json").exists():
        target.mkdir(parents=True, exist_ok=True)
        for pattern in ("parsed-*.msgpack", "manifest.json", "manifest.key"):
            for path in folder.glob(pattern):
                shutil.copyfile(path, target / path.name)


def run_refresh(
    settings: Settings,
    run_id: str,
    clock: Clock = STILL,
    as_of: str | None = None,
) -> list[str]:
    """Runs a refresh hop by hop in this process; returns what it said."""
    said: list[str] = []
    share_manifest(settings)
    refresh.refresh_here(settings, run_id, clock, said.append, as_of)
    return said


def released(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the current release's DuckDB file."""
    database = settings.releases / "current" / "marts.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


def parquet_bytes(folder: Path) -> dict[str, bytes]:
    """The bytes of every Parquet file below ``folder``, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.parquet"))
    }


def copy_project(target: Path) -> Path:
    """A copy of what a theme or source is made of, to add to or take from."""
    for name in ("dags", "dbt_project", "expectations"):
        shutil.copytree(PROJECT / name, target / name)
    return target


def zicht(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "zicht.cli", *arguments],
        env={**os.environ, "ZICHT_HOME": str(home), "COLUMNS": "100", **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


__all__ = [
    "NOW",
    "PROJECT",
    "SAMPLES",
    "SHARED",
    "ObservationStatus",
    "Period",
    "copy_project",
    "drop_sample",
    "drop_variant",
    "fetch_all",
    "parquet_bytes",
    "parsed_project",
    "released",
    "run_refresh",
    "sample_delivery",
    "settings_at",
    "share_manifest",
    "silent",
    "statline_at",
    "take_in_all",
    "zicht",
]
