"""Drives dbt: one invocation per hop, each in a process of its own."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

from zicht.errors import TransformError
from zicht.files import locked, read_json, sync_file, write_atomic, write_json
from zicht.settings import Settings

Say = Callable[[str], None]
_SOURCES = (".sql", ".yml", ".yaml", ".csv", ".md")
_DBT = ("dbt-core", "dbt-duckdb")


class DbtServer:
    """A child that has imported dbt and forks for every invocation; see ``zicht.dbt_child``.

    It starts at the first invocation and lives as long as the process that uses it, so that a
    refresh in one process imports dbt once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner = os.getpid()
        # A file, not a pipe: a pipe that nobody reads meanwhile fills up, and the child waits for
        # ever.
        self._stderr = TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zicht.dbt_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            # What forks should have one thread only.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        atexit.register(self.stop)

    @property
    def serves(self) -> bool:
        """Whether this process can ask it something; not when a fork inherited it."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(
        self, request: Mapping[str, Any], on_node: Callable[[Mapping[str, Any]], None]
    ) -> dict[str, Any]:
        """Has one invocation run.

        Args:
            request: see ``zicht.dbt_child``; the surroundings are those of this process unless
                it names them.
            on_node: is given every node as it ends.

        Returns:
            ``success``, ``failures`` and ``error`` when dbt came to its end, and as ``noise`` the
            lines that it printed, or the last words of a server that died.
        """
        # Nothing that another thread creates meanwhile may be open to more people than before.
        mask = os.umask(0o077)
        os.umask(mask)
        here = {"environment": dict(os.environ), "directory": os.getcwd(), "umask": mask}
        with self._lock:
            try:
                return self._ask({**here, **request}, on_node)
            except BaseException:
                # Whoever stops this process must not leave a dbt behind that holds the warehouse.
                self.stop()
                raise

    def _ask(
        self, request: Mapping[str, Any], on_node: Callable[[Mapping[str, Any]], None]
    ) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A server that died says more on standard error than a pipe that broke.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        end: dict[str, Any] = {}
        for line in self._process.stdout:
            document = json.loads(line)
            event = document.pop("event")
            if event == "node":
                on_node(document)
                continue
            end.update(document)
            if event == "end":
                return end
        self.stop()
        self._stderr.seek(0)
        return {**end, "noise": self._stderr.read().splitlines()}

    def stop(self) -> None:
        """Ends the server and what it forked; returns when both are gone."""
        if self._owner != os.getpid():
            return
        atexit.unregister(self.stop)
        self._process.terminate()
        with suppress(BrokenPipeError):
            self._process.communicate()


@cache
def _servers() -> dict[str, DbtServer]:
    """Holds the server: like the child that it stands for, it belongs to the whole process."""
    return {}


def dbt_server() -> DbtServer:
    """The server of this process, started when there is none yet."""
    servers = _servers()
    if "dbt" not in servers or not servers["dbt"].serves:
        servers["dbt"] = DbtServer()
    return servers["dbt"]


def _invoke(
    settings: Settings,
    command: Sequence[str],
    variables: Mapping[str, Any],
    say: Say,
    *,
    manifest: Path | None = None,
    keep: Path | None = None,
) -> None:
    """Runs dbt.

    Args:
        manifest: the parsed project; without it dbt parses.
        keep: where to put the parsed project.
    """
    target = settings.dbt_target
    target.mkdir(parents=True, exist_ok=True)
    request = {
        "command": list(command),
        "options": [
            *("--project-dir", str(settings.dbt_project)),
            *("--profiles-dir", str(settings.dbt_project)),
            *("--target-path", str(target / "target")),
            *("--log-path", str(target / "logs")),
            *("--log-level", "none"),  # of standard output; the log file has it all
            *("--log-level-file", "debug"),
            "--no-use-colors",
        ],
        "vars": dict(variables),
        "database": str(settings.warehouse),
        "manifest": str(manifest) if manifest else None,
        "keep": str(keep) if keep else None,
        "environment": {
            **os.environ,
            "ZICHT_HOME": str(settings.home),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        },
    }

    def on_node(node: Mapping[str, Any]) -> None:
        if node["kind"] != "test":
            say(f"  {node['kind']:5} {node['name']} {node['seconds']:.1f} s")

    end = dbt_server().ask(request, on_node)
    if not end.get("success"):
        raise _failure(command, end, end["noise"])


def _failure(
    command: Sequence[str], end: Mapping[str, Any], noise: Sequence[str]
) -> TransformError:
    failures = end.get("failures") or []
    if not failures:
        tail = "; ".join(line for line in noise[-5:] if line)
        return TransformError(
            f"dbt {command[0]} did not run: {end.get('error') or tail or 'no reason given'}",
            code="Z-DBT-002",
            remedy="Read the log below $ZICHT_HOME/dbt/logs.",
        )
    lines = []
    for failure in failures:
        lines.append(f"{failure['node']} ({failure['file']}): {failure['message']}")
        lines += [f"    row: {json.dumps(row, default=str)}" for row in failure.get("rows") or ()]
    return TransformError(
        f"dbt {command[0]}: {len(failures)} node(s) failed:\n  " + "\n  ".join(lines),
        remedy="Correct the SQL or the data that it rests on, and run the refresh again.",
    )


def project_digest(settings: Settings) -> str:
    """sha256 over the dbt project: changes when any SQL, YAML or seed does."""
    digest = hashlib.sha256()
    for path in sorted(settings.dbt_project.rglob("*")):
        if path.is_file() and path.suffix in _SOURCES:
            digest.update(f"{path.relative_to(settings.dbt_project)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def parse_key(settings: Settings) -> str:
    """What the parsed project follows from: its files and place, the geography year, dbt."""
    parts = [project_digest(settings), str(settings.dbt_project), str(settings.geo_year)]
    parts += [version(package) for package in _DBT]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _parsed(settings: Settings, say: Say) -> Path:
    """The parsed project as dbt reads it, with ``manifest.json`` beside it; parses when needed.

    The plan is no part of it: dbt parses with the empty plan of ``dbt_project.yml`` and gets the
    run's own when it compiles, so one parse serves until the project changes.
    """
    key = parse_key(settings)
    folder = settings.dbt_target
    stored, mark = folder / f"parsed-{key[:16]}.msgpack", folder / "manifest.key"
    with locked(settings.locks / "manifest.lock"):
        if stored.exists() and mark.exists() and mark.read_text() == key:
            return stored
        say("  reading the dbt project")
        partial = folder / ".parsed.partial"
        _invoke(settings, ["parse"], {"geo_year": settings.geo_year}, say, keep=partial)
        write_json(folder / "manifest.json", read_json(folder / "target" / "manifest.json"))
        for old in folder.glob("parsed-*.msgpack"):
            old.unlink()
        sync_file(partial)
        os.replace(partial, stored)
        write_atomic(mark, key)
    return stored


def read_manifest(settings: Settings, say: Say) -> Mapping[str, Any]:
    """dbt's manifest of the project as it stands; parses only when the project changed.

    Raises:
        TransformError: if dbt cannot parse the project.
    """
    _parsed(settings, say)
    return dict(read_json(settings.dbt_target / "manifest.json"))


def build(
    settings: Settings,
    select: Sequence[str],
    variables: Mapping[str, Any],
    say: Say,
    *,
    all_tests: bool,
    exclude: Sequence[str] = (),
) -> None:
    """Builds and tests the selected models and seeds in the warehouse.

    dbt's unit tests are left out: they are about the SQL, which does not change between refreshes.

    Args:
        select: dbt selectors, for example ``["path:models/staging"]``.
        all_tests: whether to run tests that also look at what the selection is made from.
        variables: ``geo_year`` and ``plan``, see ``docs/reference/dbt-variables.md``.
        exclude: dbt selectors of what is left out of that.

    Raises:
        TransformError: Z-DBT-001 with the failing nodes and rows, Z-DBT-002 if dbt did not run.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    tests = ["--indirect-selection", "buildable" if all_tests else "cautious"]
    leave_out = ["--exclude-resource-type", "unit_test"]
    if exclude:
        leave_out += ["--exclude", *exclude]
    command = ["build", "--no-write-json", *tests, *leave_out, "--select", *select]
    _invoke(settings, command, variables, say, manifest=_parsed(settings, say))


def relations(database: Path) -> list[str]:
    """Names of the tables and views in the main schema of a DuckDB file, in order."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'main' "
            "order by 1"
        ).fetchall()
    return [row[0] for row in rows]
