"""Runs dbt in a process of its own: ``python -m zicht.dbt_child < request.json``.

dbt keeps global state and its DuckDB connection; in a process of its own both end with it. The
request comes over standard input because variables with many vintages outgrow a command line.
Prints one JSON object per line: ``{"event": "node", …}`` for each node and ``{"event": "end", …}``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

_SAMPLE_ROWS = 5


def _emit(document: dict[str, Any]) -> None:
    # One write for the whole line: dbt calls back from several threads.
    sys.stdout.write(json.dumps(document, default=str) + "\n")
    sys.stdout.flush()


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


def _end_with_parent() -> None:
    """Dies when the other end of standard input closes before the work is done.

    A dbt that outlives its killed parent would hold the warehouse while a rerun wants it.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def main() -> int:
    """Runs the requested command; 0 when dbt says it succeeded."""
    from dbt.cli.main import dbtRunner

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def on_event(event: Any) -> None:
        if event.info.name in ("LogModelResult", "LogSeedResult", "LogTestResult"):
            data = event.data
            _emit(
                {
                    "event": "node",
                    "name": getattr(data, "name", "") or data.node_info.node_name,
                    "status": data.status,
                    "kind": event.info.name[3:-6].lower(),
                    "seconds": round(data.execution_time, 2),
                }
            )

    result = dbtRunner(callbacks=[on_event]).invoke(
        [*request["arguments"], "--vars", json.dumps(request["vars"])]
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
    message = str(result.exception) if result.exception else ""
    _emit({"event": "end", "success": bool(result.success), "failures": failures, "error": message})
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
