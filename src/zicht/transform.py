"""Drives dbt: one invocation per hop, each in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from zicht.errors import TransformError
from zicht.files import read_json, write_json
from zicht.settings import Settings

Say = Callable[[str], None]
_SOURCES = (".sql", ".yml", ".yaml", ".csv", ".md")


def _invoke(
    settings: Settings, command: Sequence[str], variables: Mapping[str, Any], say: Say
) -> None:
    target = settings.dbt_target
    target.mkdir(parents=True, exist_ok=True)
    request = {
        "arguments": [
            *command,
            *("--project-dir", str(settings.dbt_project)),
            *("--profiles-dir", str(settings.dbt_project)),
            *("--target-path", str(target / "target")),
            *("--log-path", str(target / "logs")),
            "--no-use-colors",
            "--quiet",
        ],
        "vars": dict(variables),
        "database": str(settings.warehouse),
    }
    environment = {
        **os.environ,
        "ZICHT_HOME": str(settings.home),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    }
    end: dict[str, Any] = {}
    noise: list[str] = []
    # A file, not a pipe: a pipe that nobody reads meanwhile fills up, and the child waits for ever.
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "zicht.dbt_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        # The pipe stays open: when it breaks, the child knows that this process was killed.
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            try:
                document = json.loads(line)
            except ValueError:
                noise.append(line.rstrip())
                continue
            if document.get("event") == "node" and document["kind"] != "test":
                say(f"  {document['kind']:5} {document['name']} {document['seconds']:.1f} s")
            elif document.get("event") == "end":
                end = document
        process.stdin.close()
        process.wait()
        stderr.seek(0)
        noise += stderr.read().splitlines()
    if end.get("success"):
        return
    raise _failure(command, end, noise)


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


def read_manifest(settings: Settings, say: Say) -> Mapping[str, Any]:
    """dbt's manifest of the project as it stands; parses only when the project changed.

    Raises:
        TransformError: if dbt cannot parse the project.
    """
    digest = project_digest(settings)
    stored = settings.dbt_target / "manifest.json"
    mark = settings.dbt_target / "manifest.digest"
    if not (stored.exists() and mark.exists() and mark.read_text() == digest):
        say("  reading the dbt project")
        _invoke(settings, ["parse"], {"geo_year": settings.geo_year}, say)
        manifest = read_json(settings.dbt_target / "target" / "manifest.json")
        write_json(stored, manifest)
        mark.write_text(digest)
        return dict(manifest)
    return dict(read_json(stored))


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
        all_tests: whether to run tests that also look at models outside the selection, which
            must be built then.
        variables: ``geo_year`` and ``plan``, see ``docs/reference/dbt-variables.md``.
        exclude: dbt selectors of what is left out of that.

    Raises:
        TransformError: Z-DBT-001 with the failing nodes and rows, Z-DBT-002 if dbt did not run.
    """
    settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
    tests = ["--indirect-selection", "eager" if all_tests else "cautious"]
    leave_out = ["--exclude-resource-type", "unit_test"]
    if exclude:
        leave_out += ["--exclude", *exclude]
    _invoke(settings, ["build", *tests, *leave_out, "--select", *select], variables, say)


def relations(database: Path) -> list[str]:
    """Names of the tables and views in the main schema of a DuckDB file, in order."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'main' "
            "order by 1"
        ).fetchall()
    return [row[0] for row in rows]
