"""Writes tables of a release: into DuckDB with their descriptions, and out as Parquet and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from zicht.releases.schema import PublishedTable
from zicht.sql import literal, quoted

DATABASE = "marts.duckdb"


def create_table(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> None:
    """Makes a table without rows, with the descriptions as comments."""
    columns = ", ".join(f"{quoted(c.name)} {c.sql_type}" for c in table.columns)
    connection.execute(f"create table {table.name} ({columns})")
    comment = f"{table.description['nl']} / {table.description['en']}"
    connection.execute(f"comment on table {table.name} is {literal(comment)}")
    for column in table.columns:
        comment = f"{column.description['nl']} / {column.description['en']}"
        connection.execute(
            f"comment on column {table.name}.{quoted(column.name)} is {literal(comment)}"
        )


def fill_table(connection: duckdb.DuckDBPyConnection, table: PublishedTable, query: str) -> None:
    """Adds the rows of a query, with the types of the table and in the order of its key."""
    columns = ", ".join(
        f"cast({quoted(c.name)} as {c.sql_type}) as {quoted(c.name)}" for c in table.columns
    )
    key = ", ".join(table.key)
    connection.execute(f"insert into {table.name} select {columns} from ({query}) order by {key}")


def fill_rows(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Adds rows by the names of their columns."""
    names = [column.name for column in table.columns]
    frame = pd.DataFrame([[row[name] for name in names] for row in rows], columns=names)
    fill_frame(connection, table, frame)


def fill_frame(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, frame: pd.DataFrame
) -> None:
    """Adds the rows of a frame; what is not a number in it becomes empty."""
    connection.register("rows_to_insert", frame.astype(object).where(frame.notna(), None))
    fill_table(connection, table, "select * from rows_to_insert")
    connection.unregister("rows_to_insert")


def count_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows of a table."""
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def export_table(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, folder: Path
) -> None:
    """Writes ``<table>.parquet`` and ``<table>.csv`` (UTF-8, comma, decimal point) by key."""
    order = ", ".join(table.key)
    target = folder / table.name
    connection.execute(
        f"copy (select * from {table.name} order by {order}) "
        f"to {literal(f'{target}.parquet')} (format parquet, compression zstd)"
    )
    connection.execute(
        f"copy (select {_neutral(table)} from {table.name} order by {order}) "
        f"to {literal(f'{target}.csv')} (format csv, header)"
    )


def _neutral(table: PublishedTable) -> str:
    """Select list for CSV: text that a spreadsheet would run as a formula gets an apostrophe."""
    return ", ".join(
        f"case when regexp_matches({quoted(c.name)}, '^[=+\\-@\\t\\r]') "
        f"then '''' || {quoted(c.name)} else {quoted(c.name)} end as {quoted(c.name)}"
        if c.sql_type == "VARCHAR"
        else quoted(c.name)
        for c in table.columns
    )
