"""Runs dbt, each invocation in a process of its own: ``python -m zicht.dbt_child``.

dbt keeps global state and its DuckDB connection; in a process of its own both end with it.
Importing dbt takes seconds, so this process imports it once, opens nothing, and forks for every
request on standard input. Requests come over a pipe because variables with many vintages outgrow
a command line. One JSON object per line:

- in: ``command`` and ``options`` of dbt, ``vars``, ``database``, the ``environment``,
  ``directory`` and ``umask`` to run in, ``manifest`` (a parsed project to use, or null) and
  ``keep`` (where to put the parsed project, or null);
- out: ``{"event": "node", …}`` for each node, then ``{"event": "end", "success": …}`` once.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any

_SAMPLE_ROWS = 5
_STDIN = 0


class _Channel:
    """Standard output as it was handed over; what dbt prints goes elsewhere."""

    def __init__(self) -> None:
        self._handle = os.dup(1)
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def emit(self, document: Mapping[str, Any]) -> None:
        rest = (json.dumps(document, default=str) + "\n").encode()
        # dbt calls back from several threads.
        with self._lock:
            while rest:
                rest = rest[os.write(self._handle, rest) :]


def _failing_rows(database: str, sql: str) -> list[dict[str, Any]]:
    import duckdb

    try:
        with duckdb.connect(database, read_only=True) as connection:
            cursor = connection.execute(f"select * from ({sql}) limit {_SAMPLE_ROWS}")
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error:
        return []


def _failures(result: Any) -> list[dict[str, Any]]:
    failed = []
    for item in getattr(result, "results", None) or ():
        if str(item.status) in ("error", "fail", "runtime error"):
            failed.append(
                {
                    "node": item.node.unique_id,
                    "resource": str(item.node.resource_type),
                    "file": item.node.original_file_path,
                    "message": item.message,
                    "sql": getattr(item.node, "compiled_code", None) or "",
                }
            )
    return failed


def _end_with_others(server: int) -> None:
    """Dies when the process that asks, or the one that forked this one, is there no more.

    A dbt that outlives its killed parents would hold the warehouse while a rerun wants it.

    Args:
        server: handle of a pipe whose other end only the server holds.
    """
    hangup = select.poll()
    for handle in (_STDIN, server):
        hangup.register(handle, 0)
    hangup.poll()
    os._exit(1)


def _run(request: Mapping[str, Any], manifest: Any, channel: _Channel) -> dict[str, Any]:
    """Runs one dbt invocation in this process."""
    from dbt.cli.main import dbtRunner

    def on_event(event: Any) -> None:
        if event.info.name in ("LogModelResult", "LogSeedResult", "LogTestResult"):
            data = event.data
            channel.emit(
                {
                    "event": "node",
                    "name": getattr(data, "name", "") or data.node_info.node_name,
                    "status": data.status,
                    "kind": event.info.name[3:-6].lower(),
                    "seconds": round(data.execution_time, 2),
                }
            )

    result = dbtRunner(manifest, callbacks=[on_event]).invoke(
        [*request["command"], *request["options"], "--vars", json.dumps(request["vars"])]
    )
    failures = _failures(result.result)
    if failures:
        # dbt's own connection must be gone before the rows can be looked at.
        from dbt.adapters.factory import reset_adapters

        reset_adapters()  # type: ignore[no-untyped-call]
        for failure in failures:
            sql = failure.pop("sql")
            if failure["resource"] == "test" and sql:
                failure["rows"] = _failing_rows(request["database"], sql)
    if request["keep"] and result.success:
        with open(request["keep"], "wb") as stream:
            stream.write(result.result.to_msgpack())  # type: ignore[union-attr]
    message = str(result.exception) if result.exception else ""
    return {"success": bool(result.success), "failures": failures, "error": message}


class _Parsed:
    """The parsed project, read once for all requests that name the same file."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._manifest: Any = None

    def manifest(self, request: Mapping[str, Any]) -> Any:
        """The manifest that a request names; None when there is none, so that dbt parses."""
        path = request["manifest"]
        if path != self._path:
            self._path, self._manifest = path, None
            if path and os.path.exists(path):
                self._read(path, request)
        return self._manifest

    def _read(self, path: str, request: Mapping[str, Any]) -> None:
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest

        try:
            with open(path, "rb") as stream:
                self._manifest = Manifest.from_msgpack(stream.read())
        except Exception:
            # Parsing is slower and never wrong; what was stored may be damaged in many ways.
            traceback.print_exc()
            return
        # A listing of nothing opens no database, but builds what every invocation needs.
        quietly = ["--select", "none_at_all", "--no-write-json", "--log-level-file", "none"]
        dbtRunner(self._manifest).invoke(["list", *request["options"], *quietly])
        gc.collect()
        gc.freeze()  # so that collecting garbage after a fork copies no pages


def _enter(request: Mapping[str, Any]) -> None:
    """Takes on the surroundings of the process that asks."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["directory"])


def _answer(
    request: Mapping[str, Any], parsed: _Parsed, channel: _Channel, here: tuple[int, int]
) -> int | None:
    """Forks for a request. Returns the exit code in the child, None in the server."""
    manifest = parsed.manifest(request)
    with TemporaryFile() as noise:
        process = os.fork()
        if process == 0:
            for handle in (1, 2):
                os.dup2(noise.fileno(), handle)
            os.close(here[1])
            threading.Thread(target=_end_with_others, args=(here[0],), daemon=True).start()
            end = _run(request, manifest, channel)
            channel.emit({"event": "done", **end})
            return 0
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        noise.seek(0)
        said = noise.read().decode(errors="replace").splitlines()
    channel.emit({"event": "end", "code": code, "noise": said})
    return None


def main() -> int:
    """Answers requests until standard input ends."""
    channel = _Channel()
    import dbt.adapters.duckdb
    import dbt.cli.main
    import dbt.task.build  # noqa: F401

    parsed, here = _Parsed(), os.pipe()
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        _enter(request)
        if (code := _answer(request, parsed, channel, here)) is not None:
            return code
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
