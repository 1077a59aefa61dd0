"""The file formats of deliveries: from a delivered file to a query for its rows, as text.

CSV, fixed width and Parquet, plain or as the one member of a zip archive. DuckDB reads them; what
it cannot read (an archive, Windows-1252 without an extension from the web) is unpacked or recoded
first, never beyond a limit.
"""

from __future__ import annotations

import codecs
import csv
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from zicht.contracts import FileFormat, Table
from zicht.errors import DeliveryError
from zicht.sql import literal, quoted

_SHOWN = 5
_MAX_HEADER_BYTES = 1 << 20
_CHUNK = 1 << 20
_MAX_RATIO = 200
_ALWAYS_ALLOWED_BYTES = 256 << 20
_MAX_BYTES = 64 << 30
# A sign that no text holds, so that a whole line is one field.
_NO_DELIMITER = "\x01"


@dataclass(frozen=True)
class Delivered:
    """A delivered table as DuckDB can read it.

    Attributes:
        names: the columns that were delivered, in order.
        types: DuckDB type per column; VARCHAR for all of a text format.
        query: query for the rows in the order of the file, with these columns.
    """

    names: tuple[str, ...]
    types: Mapping[str, str]
    query: str


def _fault(code: str, rule: str, path: Path, message: str, remedy: str) -> DeliveryError:
    return DeliveryError(
        f"{path.name}{message}", code=code, remedy=remedy, file=path.name, rule=rule
    )


def _wrong_encoding(path: Path, layout: FileFormat, why: str) -> DeliveryError:
    return _fault(
        "Z-DEL-022",
        "encoding",
        path,
        f" is not {layout.encoding}: {why}",
        f"Write the file in {layout.encoding}.",
    )


def _wrong_archive(path: Path, why: str) -> DeliveryError:
    return _fault(
        "Z-DEL-024",
        "archive",
        path,
        f" is not a sound zip archive of one file: {why}.",
        "Pack the one file again, without a password, and check that the copy is complete.",
    )


def _unreadable(path: Path, layout: FileFormat, why: str) -> DeliveryError:
    form = f"CSV with {layout.delimiter!r}" if layout.kind == "csv" else "lines of fixed width"
    return _fault(
        "Z-DEL-023",
        "readable",
        path,
        f" cannot be read as {form}: {why}",
        f"Write {form} in {layout.encoding}.",
    )


def _unpacked(path: Path, folder: Path) -> Path:
    """The one member of an archive, unpacked no further than a sane file can grow."""
    target = folder / f"{path.name}.unpacked"
    limit = min(_MAX_BYTES, max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * path.stat().st_size))
    size = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise _wrong_archive(path, f"it holds {len(members)} files")
            if members[0].flag_bits & 0x1:
                raise _wrong_archive(path, "it has a password")
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _wrong_archive(path, "it is compressed in another way than deflate")
            with archive.open(members[0]) as stream, target.open("wb") as copy:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise _wrong_archive(
                            path, f"it expands to more than {limit:,} bytes, like a zip bomb"
                        )
                    copy.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _wrong_archive(path, str(error).rstrip(".")) from error
    return target


def _recoded(path: Path, layout: FileFormat, folder: Path) -> Path:
    """A copy in UTF-8 of a Windows-1252 file.

    Nearly every byte means something in Windows-1252, so a file in UTF-8 would pass, with each
    accented letter turned into two signs; one that has such letters and is sound UTF-8 is refused.
    """
    target = folder / f"{path.name}.recoded"
    foreign: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    has_accents = False
    with path.open("rb") as stream, target.open("w", encoding="utf-8", newline="") as copy:
        while chunk := stream.read(_CHUNK):
            try:
                copy.write(chunk.decode("cp1252"))
            except UnicodeDecodeError as error:
                raise _wrong_encoding(path, layout, str(error)) from error
            has_accents = has_accents or not chunk.isascii()
            try:
                if foreign is not None:
                    foreign.decode(chunk)
            except UnicodeDecodeError:
                foreign = None
        try:
            if foreign is not None:
                foreign.decode(b"", final=True)
        except UnicodeDecodeError:
            foreign = None
    if has_accents and foreign is not None:
        raise _wrong_encoding(path, layout, "its accented letters are written in UTF-8")
    return target


def _header(path: Path, layout: FileFormat, shown: Path) -> list[str]:
    with path.open("rb") as stream:
        line = stream.readline(_MAX_HEADER_BYTES)
    try:
        text = line.decode("utf-8-sig")
        names = next(csv.reader([text.rstrip("\r\n")], delimiter=layout.delimiter, strict=True), [])
    except UnicodeDecodeError as error:
        raise _wrong_encoding(shown, layout, f"line 1: {error}") from error
    except csv.Error as error:
        raise _unreadable(shown, layout, f"line 1: {error}") from error
    if not any(names):
        raise _fault(
            "Z-DEL-020",
            "header",
            shown,
            " is empty or has no header line.",
            "Write a header with the column names of the contract, and the rows below it.",
        )
    if not all(names):
        raise _fault(
            "Z-DEL-021",
            "header",
            shown,
            ", line 1: a column has no name.",
            "Name every column, and end no line with a separator.",
        )
    if len(set(names)) != len(names):
        raise _fault(
            "Z-DEL-021",
            "header",
            shown,
            ", line 1: a column name stands there twice.",
            "Name every column once.",
        )
    return names


def _no_pattern(path: Path) -> str:
    """The path for DuckDB, which takes ``*``, ``?`` and ``[`` in a name for a pattern of files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _reader(path: Path, names: Sequence[str], delimiter: str, *, quote: str, header: bool) -> str:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({literal(_no_pattern(path))}, delim={literal(delimiter)}, "
        f"quote={literal(quote)}, escape={literal(quote)}, header={str(header).lower()}, "
        f"auto_detect=false, columns={{{columns}}}, encoding='utf-8', store_rejects=true, "
        "nullstr='')"
    )


def _csv(path: Path, layout: FileFormat, shown: Path) -> Delivered:
    names = tuple(_header(path, layout, shown))
    reader = _reader(path, names, layout.delimiter, quote='"', header=True)
    return Delivered(names, dict.fromkeys(names, "VARCHAR"), f"select * from {reader}")


def _fixed_width(
    connection: duckdb.DuckDBPyConnection, path: Path, table: Table, layout: FileFormat, shown: Path
) -> Delivered:
    """Columns by position; every line has the length of the last column's end."""
    positions = {c.name: c.position for c in table.columns if c.position is not None}
    length = max(start + width - 1 for start, width in positions.values())
    lines = _reader(path, ["line"], _NO_DELIMITER, quote="", header=False)
    try:
        wrong = connection.execute(
            "select _row, n from (select row_number() over () as _row, "
            f"coalesce(length(line), 0) as n from {lines}) where n <> {length} "
            f"order by _row limit {_SHOWN}"
        ).fetchall()
    except duckdb.Error as error:
        raise _of_reading(error, shown, layout) from error
    if wrong:
        raise DeliveryError(
            f"{shown.name}, line {wrong[0][0]}: {wrong[0][1]} signs where a line has {length}.",
            code="Z-DEL-025",
            remedy="Pad every field to its width; the contract gives first sign and width.",
            file=shown.name,
            rule="width",
            rows=[{"_row": row, "column": "line", "value": f"{n} signs"} for row, n in wrong],
        )
    fields = ", ".join(
        f"nullif(trim(substring(line, {start}, {width})), '') as {quoted(name)}"
        for name, (start, width) in positions.items()
    )
    return Delivered(
        tuple(positions), dict.fromkeys(positions, "VARCHAR"), f"select {fields} from {lines}"
    )


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path, shown: Path) -> Delivered:
    reader = f"read_parquet({literal(_no_pattern(path))}, hive_partitioning = false)"
    try:
        described = connection.execute(f"describe select * from {reader}").fetchall()
    except (duckdb.OperationalError, duckdb.InternalError):
        raise
    except duckdb.Error as error:
        raise _no_parquet(shown, error) from error
    types = {str(row[0]): str(row[1]) for row in described}
    return Delivered(tuple(types), types, f"select * from {reader}")


def _why(error: duckdb.Error, shown: Path) -> str:
    """What DuckDB says, without where our folders are."""
    return str(error).splitlines()[0].replace(str(shown), shown.name)


def _no_parquet(shown: Path, error: duckdb.Error) -> DeliveryError:
    why = _why(error, shown)
    return _fault(
        "Z-DEL-026",
        "readable",
        shown,
        f" cannot be read as Parquet: {why}",
        "Write a Parquet file of plain columns, and check that the copy is complete.",
    )


def _of_reading(error: duckdb.Error, shown: Path, layout: FileFormat) -> Exception:
    """The delivery's fault as such; that of our disk, memory or engine as it came."""
    if isinstance(error, duckdb.OperationalError | duckdb.InternalError):
        return error
    if layout.kind == "parquet":
        return _no_parquet(shown, error)
    if isinstance(error, duckdb.IOException):
        return error
    return _unreadable(shown, layout, _why(error, shown))


def delivered_table(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    table: Table,
    layout: FileFormat,
    scratch: Path,
) -> Delivered:
    """Makes a delivered file readable for DuckDB.

    Args:
        connection: is asked for the types of a Parquet file and the lengths of lines.
        path: the delivered file.
        scratch: folder for what has to be unpacked or recoded; the query reads from it.

    Raises:
        DeliveryError: Z-DEL-020 to Z-DEL-026 when the file cannot be read at all.
    """
    shown = path
    if layout.kind == "parquet":
        return _parquet(connection, path, shown)
    if layout.is_zipped:
        path = _unpacked(path, scratch)
    if layout.encoding == "windows-1252":
        path = _recoded(path, layout, scratch)
    if layout.kind == "fixed_width":
        return _fixed_width(connection, path, table, layout, shown)
    return _csv(path, layout, shown)


def run_reading(
    connection: duckdb.DuckDBPyConnection, statement: str, path: Path, layout: FileFormat
) -> None:
    """Executes a statement that reads a delivered file.

    Raises:
        DeliveryError: Z-DEL-022, Z-DEL-023 or Z-DEL-026 for lines that cannot be split or decoded;
            shows where and why, never what stands there.
        duckdb.Error: for what is not the fault of the delivery.
    """
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        raise _of_reading(error, path, layout) from error
    if layout.kind == "parquet":
        return
    rejects = connection.execute(
        "select line, coalesce(column_name, ''), error_type, error_message from reject_errors "
        "order by line, 2"
    ).fetchall()
    if rejects:
        raise _rejected(path, layout, rejects)


def _rejected(
    path: Path, layout: FileFormat, rejects: Sequence[tuple[int, str, str, str]]
) -> DeliveryError:
    shown = "; ".join(f"line {line}: {why.splitlines()[0]}" for line, _, _, why in rejects[:_SHOWN])
    rows = [
        {"_row": line - 1, "column": column, "value": why.splitlines()[0]}
        for line, column, _, why in rejects[:_SHOWN]
    ]
    if any(kind == "INVALID ENCODING" for _, _, kind, _ in rejects):
        found = _wrong_encoding(path, layout, shown)
    else:
        found = _fault(
            "Z-DEL-023",
            "readable",
            path,
            f": {len(rejects)} line(s) cannot be read: {shown}",
            "Give every line as many fields as the header, and close every quotation mark.",
        )
    found.rows = tuple(rows)
    return found
