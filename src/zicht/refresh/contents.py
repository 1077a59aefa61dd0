"""Hashes of what tables hold: to see that two are equal, or that one did not change.

A DuckDB file is not byte-reproducible, so warehouses are compared by their rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from zicht.sql import quoted


def _table_hash(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    row = connection.execute(
        "select sha256(coalesce(string_agg(line, '' order by line), '')) "
        f"from (select sha256(cast(to_json(t) as varchar)) as line from {quoted(table)} as t)"
    ).fetchone()
    return str(row[0]) if row else ""


def table_hashes(database: Path, tables: Iterable[str] | None = None) -> dict[str, str]:
    """Per table a sha256 over its columns and rows, in whatever order these stand.

    Args:
        database: a DuckDB file.
        tables: all tables (not views) when omitted.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        if tables is None:
            found = connection.execute(
                "select table_name from duckdb_tables() where schema_name = 'main' and not internal"
            ).fetchall()
            tables = [row[0] for row in found]
        return {table: _table_hash(connection, table) for table in sorted(tables)}
