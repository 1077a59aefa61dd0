"""Writes typed rows as a contract says: CSV, fixed width or Parquet, plain or zipped.

Rows come in fragments, one per part of the country; a file is its fragments one after the other.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import duckdb

from zicht.contracts import Column, Contract, FileFormat, Table
from zicht.errors import ConfigurationError
from zicht.sql import literal, quoted

_NO_DELIMITER = "\x01"
_MOMENT = (2000, 1, 1, 0, 0, 0)
"""The moment in a zip archive: always the same, so equal content gives equal bytes."""
_CHUNK = 1 << 20
_MODE = 0o644 << 16


def _number(column: Column, layout: FileFormat) -> str:
    """A number with two decimals, or a whole one, with the decimal mark of the source."""
    name = quoted(column.name)
    if column.sql_type == "BIGINT":
        return f"cast(cast({name} as bigint) as varchar)"
    text = f"cast(cast({name} as decimal(18, 2)) as varchar)"
    return f"replace({text}, '.', ',')" if layout.decimal_mark == "," else text


def _as_text(column: Column, layout: FileFormat) -> str:
    """The SQL of a typed column as it stands in a file; null for an empty field."""
    name = quoted(column.name)
    match column.sql_type:
        case "DATE":
            return f"strftime({name}, {literal(column.date_format or '%Y-%m-%d')})"
        case "BOOLEAN":
            return f"cast(cast({name} as integer) as varchar)"
        case "BIGINT" | "DOUBLE":
            return _number(column, layout)
    return name


def _line(table: Table, layout: FileFormat, path: Path) -> str:
    """The SQL of a line of fixed width; signs that no column claims are blank."""
    for column in table.columns:
        if column.position is None:
            raise ConfigurationError(
                f"{path}: column {column.name} of {table.name} has no position.",
                code="Z-SYN-005",
                remedy="Give every column of a fixed-width file its first sign and width.",
            )
    parts, upto = [], 1
    for column in sorted(table.columns, key=lambda column: column.position or (0, 0)):
        start, width = column.position or (0, 0)
        if start > upto:
            parts.append(literal(" " * (start - upto)))
        pad = "lpad" if column.sql_type in ("BIGINT", "DOUBLE") else "rpad"
        parts.append(f"{pad}(coalesce({_as_text(column, layout)}, ''), {width}, ' ')")
        upto = start + width
    return " || ".join(parts)


def write_fragment(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    contract: Contract,
    table: Table,
    target: Path,
) -> int:
    """Writes the rows of ``query``, typed columns by name: in UTF-8, without a header.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: Z-SYN-005 when a fixed-width column has no position.
    """
    layout = contract.format
    match layout.kind:
        case "parquet":
            columns = [f"cast({quoted(c.name)} as {c.sql_type})" for c in table.columns]
            options = "format parquet, compression uncompressed"
        case "fixed_width":
            columns = [_line(table, layout, contract.path)]
            options = f"format csv, header false, quote '', escape '', delimiter '{_NO_DELIMITER}'"
        case _:
            columns = [_as_text(column, layout) for column in table.columns]
            options = f"format csv, header false, delimiter {literal(layout.delimiter)}"
    names = ["line"] if layout.kind == "fixed_width" else [c.name for c in table.columns]
    shown = ", ".join(f"{c} as {quoted(n)}" for c, n in zip(columns, names, strict=True))
    written = connection.execute(
        f"copy (select {shown} from ({query})) to {literal(str(target))} ({options})"
    ).fetchone()
    return int(written[0]) if written else 0


@contextmanager
def _opened(target: Path, member: str, layout: FileFormat) -> Iterator[BinaryIO]:
    """The stream into a file, or into the one member of an archive."""
    if not layout.is_zipped:
        with target.open("wb") as plain:
            yield plain
        return
    info = zipfile.ZipInfo(member, date_time=_MOMENT)
    info.external_attr = _MODE
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        # An entry of its own gets its level from nowhere else.
        info._compresslevel = 1  # type: ignore[attr-defined]
        with archive.open(info, "w", force_zip64=True) as packed:
            yield cast(BinaryIO, packed)


def _append(fragment: Path, stream: BinaryIO, encoding: str) -> None:
    if encoding == "utf-8":
        with fragment.open("rb") as plain:
            shutil.copyfileobj(plain, stream, _CHUNK)
        return
    with fragment.open(encoding="utf-8", newline="") as text:
        while chunk := text.read(_CHUNK):
            stream.write(chunk.encode("cp1252"))


def assemble(fragments: Sequence[Path], contract: Contract, table: Table, folder: Path) -> Path:
    """Makes the file of a delivery from its fragments: header, encoding, archive.

    Returns:
        The file in ``folder``, with the name that it has in the delivery.
    """
    layout = contract.format
    target = folder / f"{table.name}.{layout.suffix}"
    if layout.kind == "parquet":
        listed = ", ".join(literal(str(fragment)) for fragment in fragments)
        # One thread: with more, where one row group ends and the next begins is up to chance.
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(
                f"copy (from read_parquet([{listed}])) to {literal(str(target))} "
                "(format parquet, compression zstd)"
            )
        return target
    member = f"{table.name}.{'csv' if layout.kind == 'csv' else 'txt'}"
    header = layout.delimiter.join(column.name for column in table.columns) + "\n"
    with _opened(target, member, layout) as stream:
        if layout.kind == "csv":
            stream.write(header.encode("ascii"))
        for fragment in fragments:
            _append(fragment, stream, layout.encoding)
    return target
