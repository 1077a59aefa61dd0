"""Reads the files of a delivery with DuckDB, as text first and then with the contract's types."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from zicht.contracts import Contract, Table
from zicht.deliveries.package import Descriptor, Resource
from zicht.errors import DeliveryError
from zicht.settings import Settings

_SHOWN = 5
_MAX_HEADER_BYTES = 1 << 20


def quoted(identifier: str) -> str:
    """A SQL identifier in quotation marks."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _no_pattern(path: Path) -> str:
    """The path for DuckDB, which takes ``*``, ``?`` and ``[`` in a name for a pattern of files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _unreadable(path: Path, contract: Contract, why: str) -> DeliveryError:
    return DeliveryError(
        f"{path.name} cannot be read as CSV: {why}",
        code="Z-DEL-023",
        remedy=f"Write CSV with {contract.delimiter!r} in {contract.encoding}.",
        file=path.name,
        rule="readable",
    )


def _rejected(
    path: Path, contract: Contract, rejects: Sequence[tuple[int, str, str, str]]
) -> DeliveryError:
    """The error for lines that DuckDB could not split; never shows what stands in them."""
    shown = "; ".join(f"line {line}: {why.splitlines()[0]}" for line, _, _, why in rejects[:_SHOWN])
    rows = [
        {"_row": line - 1, "column": column, "value": why.splitlines()[0]}
        for line, column, _, why in rejects[:_SHOWN]
    ]
    if any(kind == "INVALID ENCODING" for _, _, kind, _ in rejects):
        return DeliveryError(
            f"{path.name} is not {contract.encoding}: {shown}",
            code="Z-DEL-022",
            remedy=f"Write the file in {contract.encoding}.",
            file=path.name,
            rule="encoding",
            rows=rows,
        )
    return DeliveryError(
        f"{path.name}: {len(rejects)} line(s) cannot be read: {shown}",
        code="Z-DEL-023",
        remedy="Give every line as many fields as the header, and close every quotation mark.",
        file=path.name,
        rule="readable",
        rows=rows,
    )


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
            file=path.name,
            rule="encoding",
        ) from error
    try:
        line_reader = csv.reader([text.rstrip("\r\n")], delimiter=contract.delimiter, strict=True)
        names = next(line_reader, [])
    except csv.Error as error:
        raise _unreadable(path, contract, f"line 1: {error}") from error
    if not any(names):
        raise DeliveryError(
            f"{path.name} is empty or has no header line.",
            code="Z-DEL-020",
            remedy="Write a header with the column names of the contract, and the rows below it.",
            file=path.name,
            rule="header",
        )
    if len(set(names)) != len(names):
        raise DeliveryError(
            f"{path.name}, line 1: a column name stands there twice.",
            code="Z-DEL-021",
            remedy="Name every column once.",
            file=path.name,
            rule="header",
        )
    return names


def _recoded(path: Path, contract: Contract, target: Path) -> Path:
    """A copy in UTF-8: DuckDB would fetch an extension from the web to read another encoding."""
    try:
        with (
            path.open(encoding="cp1252", newline="") as stream,
            target.open("w", encoding="utf-8", newline="") as copy,
        ):
            shutil.copyfileobj(stream, copy)
    except UnicodeDecodeError as error:
        raise DeliveryError(
            f"{path.name} is not {contract.encoding}: {error}",
            code="Z-DEL-022",
            remedy=f"Write the file in {contract.encoding}.",
            file=path.name,
            rule="encoding",
        ) from error
    return target


def _load_text(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    table: Table,
    contract: Contract,
    scratch: Path,
) -> list[str]:
    names = _header(path, contract)
    if contract.encoding != "utf-8":
        path = _recoded(path, contract, scratch / path.name)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    try:
        connection.execute(
            f"create table text_{table.name} as "
            f"select row_number() over () as _row, * from read_csv({literal(_no_pattern(path))}, "
            f"delim={literal(contract.delimiter)}, quote='\"', escape='\"', header=true, "
            f"auto_detect=false, columns={{{columns}}}, encoding='utf-8', "
            "store_rejects=true, nullstr='')"
        )
        rejects = connection.execute(
            "select line, coalesce(column_name, ''), error_type, error_message from reject_errors "
            "order by line, 2"
        ).fetchall()
    except (duckdb.IOException, duckdb.OperationalError, duckdb.InternalError):
        # Our disk, memory or engine: no fault of the delivery.
        raise
    except duckdb.Error as error:
        raise _unreadable(path, contract, str(error).splitlines()[0]) from error
    if rejects:
        raise _rejected(path, contract, rejects)
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
    with (
        duckdb.connect(str(database)) as connection,
        TemporaryDirectory(dir=database.parent, prefix="recoded-") as recoded,
    ):
        scratch = Path(recoded)
        connection.execute(
            "create table codes as select region_code, region_level, "
            "valid_from::date as valid_from, valid_to::date as valid_to "
            f"from read_csv({literal(str(codes))}, all_varchar=true)"
        )
        for table in contract.tables:
            names = _load_text(
                connection, folder / by_name[table.name].path, table, contract, scratch
            )
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
