"""Reads the files of a delivery with DuckDB, as text first and then with the contract's types."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import duckdb

from zicht.contracts import Contract, Table
from zicht.deliveries.package import Descriptor, Resource
from zicht.errors import DeliveryError
from zicht.settings import Settings

_ENCODINGS = {"utf-8": "utf-8", "windows-1252": "CP1252"}
_MAX_HEADER_BYTES = 1 << 20


def quoted(identifier: str) -> str:
    """A SQL identifier in quotation marks."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _header(path: Path, contract: Contract) -> list[str]:
    with path.open("rb") as stream:
        line = stream.readline(_MAX_HEADER_BYTES)
    try:
        text = line.decode("utf-8-sig" if contract.encoding == "utf-8" else "cp1252")
    except UnicodeDecodeError as error:
        raise DeliveryError(
            f"{path.name}, line 1: not {contract.encoding}: {error}.",
            code="Z-DEL-022",
            remedy=f"Write the file in {contract.encoding}.",
        ) from error
    names = next(csv.reader([text.rstrip("\r\n")], delimiter=contract.delimiter), [])
    if not any(names):
        raise DeliveryError(
            f"{path.name} is empty or has no header line.",
            code="Z-DEL-020",
            remedy="Write a header with the column names of the contract, and the rows below it.",
        )
    if len(set(names)) != len(names):
        raise DeliveryError(
            f"{path.name}, line 1: a column name stands there twice.",
            code="Z-DEL-021",
            remedy="Name every column once.",
        )
    return names


def _load_text(
    connection: duckdb.DuckDBPyConnection, path: Path, table: Table, contract: Contract
) -> list[str]:
    names = _header(path, contract)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    encoding = _ENCODINGS.get(contract.encoding)
    if encoding is None:
        raise DeliveryError(
            f"the contract of {contract.source} has encoding {contract.encoding!r}.",
            code="Z-DEL-022",
            remedy=f"Use one of {', '.join(_ENCODINGS)}.",
        )
    try:
        connection.execute(
            f"create table text_{table.name} as "
            f"select row_number() over () as _row, * from read_csv({literal(str(path))}, "
            f"delim={literal(contract.delimiter)}, quote='\"', escape='\"', header=true, "
            f"auto_detect=false, columns={{{columns}}}, encoding={literal(encoding)}, "
            "store_rejects=true, nullstr='')"
        )
        rejects = connection.execute(
            "select line, error_message from reject_errors order by line limit 5"
        ).fetchall()
        total = connection.execute("select count(*) from reject_errors").fetchone()
    except duckdb.Error as error:
        raise DeliveryError(
            f"{path.name} cannot be read as CSV: {str(error).splitlines()[0]}",
            code="Z-DEL-023",
            remedy=f"Write CSV with {contract.delimiter!r} in {contract.encoding}.",
        ) from error
    if rejects:
        shown = "; ".join(f"line {line}: {str(why).splitlines()[0]}" for line, why in rejects)
        raise DeliveryError(
            f"{path.name}: {total[0] if total else len(rejects)} line(s) cannot be read: {shown}",
            code="Z-DEL-023",
            remedy="Give every line as many fields as the header, in the agreed encoding.",
        )
    return names


def load_delivery(
    settings: Settings, contract: Contract, folder: Path, descriptor: Descriptor, database: Path
) -> Mapping[str, int]:
    """Loads the delivery in ``folder`` into a new scratch database for gate 1.

    The database gets, per table of the contract, ``text_<table>`` (as written, with ``_row``) and
    ``<table>`` (typed; what does not cast is null there and is reported by gate 1), and ``codes``,
    the geography code list.

    Returns:
        Rows per table.

    Raises:
        DeliveryError: Z-DEL-020 to Z-DEL-023 when a file cannot be read at all.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    database.unlink(missing_ok=True)
    by_name: dict[str, Resource] = {resource.name: resource for resource in descriptor.resources}
    rows: dict[str, int] = {}
    codes = settings.dbt_project / "seeds" / "geography" / "geography_codes.csv"
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "create table codes as select region_code, region_level, "
            "valid_from::date as valid_from, valid_to::date as valid_to "
            f"from read_csv({literal(str(codes))}, all_varchar=true)"
        )
        for table in contract.tables:
            names = _load_text(connection, folder / by_name[table.name].path, table, contract)
            typed = ", ".join(
                f"try_cast(nullif(trim({quoted(c.name)}), '') as {c.sql_type}) as {quoted(c.name)}"
                if c.sql_type != "VARCHAR"
                else quoted(c.name)
                for c in table.columns
                if c.name in names
            )
            missing = "".join(
                f", cast(null as {c.sql_type}) as {quoted(c.name)}"
                for c in table.columns
                if c.name not in names
            )
            connection.execute(
                f"create table {table.name} as select _row, {typed or 'null as _none'}{missing} "
                f"from text_{table.name}"
            )
            count = connection.execute(f"select count(*) from {table.name}").fetchone()
            rows[table.name] = int(count[0]) if count else 0
    return rows


def write_parquet(database: Path, table: Table, target: Path) -> None:
    """Writes a typed table as Parquet in the order of its key: equal values, equal bytes."""
    columns = ", ".join(quoted(column.name) for column in table.columns)
    keys = ", ".join(quoted(key) for key in table.keys)
    with duckdb.connect(str(database), read_only=True) as connection:
        # One thread: with more, where one row group ends and the next begins is up to chance.
        connection.execute("set threads = 1")
        connection.execute(
            f"copy (select {columns} from {table.name} order by {keys}) to {literal(str(target))} "
            "(format parquet, compression zstd)"
        )


def write_empty_parquet(table: Table, target: Path) -> None:
    """Writes a Parquet file without rows: dbt can then read a source that has no delivery yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(
        f"cast(null as {column.sql_type}) as {quoted(column.name)}" for column in table.columns
    )
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select {columns} limit 0) to {literal(str(target))} (format parquet)"
        )
