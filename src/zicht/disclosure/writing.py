"""Writes what came out, all files or none."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zicht.disclosure.reading import no_pattern
from zicht.errors import UsageError

NO_PLACE = "Z-DIS-015"
"""Code of the error that nothing may be written at that place."""

Frame = Mapping[str, Sequence[Any]]
"""Columns by name."""


def csv_text(columns: Frame) -> bytes:
    """Columns as CSV in UTF-8; None is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode()


def parquet_bytes(columns: Frame, folder: Path) -> bytes:
    """Columns as Parquet; the same columns give the same bytes."""
    import duckdb

    partial = folder / f".{os.getpid()}.parquet.partial"
    types = {name: _type(values) for name, values in columns.items()}
    made = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    text = folder / f".{os.getpid()}.csv.partial"
    try:
        text.write_bytes(csv_text(columns))
        with duckdb.connect() as connection:
            connection.execute("set threads = 1")
            connection.execute(f"create table cells ({made})")
            connection.execute(
                "insert into cells select * from read_csv(?, header = true, all_varchar = true, "
                "hive_partitioning = false)",
                [no_pattern(text)],
            )
            connection.execute("copy cells to ? (format parquet)", [str(partial)])
        return partial.read_bytes()
    finally:
        text.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def _type(values: Sequence[Any]) -> str:
    kinds = {type(one) for one in values if one is not None}
    if kinds == {int}:
        return "bigint"
    return "double" if kinds and kinds <= {int, float} else "varchar"


def table_bytes(columns: Frame, path: Path) -> bytes:
    """Columns in the format that the file's name asks for: Parquet, else CSV."""
    if path.suffix == ".parquet":
        return parquet_bytes(columns, path.parent)
    return csv_text(columns)


def json_bytes(document: Any) -> bytes:
    """A document as indented JSON."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Writes every file beside its place first, then renames them all.

    Raises:
        UsageError: Z-DIS-015 if one of them is there and is no plain file.
        OSError: if a file cannot be written; then none of them has changed.
    """
    for path in contents:
        # A rename would put a file in the place of a device or a link, and fail on a folder.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(
                f"{path.name} is there and is no plain file.",
                code=NO_PLACE,
                remedy="Name a file; a folder, a link or a device is not replaced.",
            )
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in contents}
    try:
        for path, content in contents.items():
            with partials[path].open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for path, partial in partials.items():
            os.replace(partial, path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
