"""Reads tables from CSV, Parquet or a data frame into plain columns; pandas only if handed in.

Everything arrives as text or numbers per column; what it means is for :mod:`.tables` to say.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zicht.disclosure.spec import wrong

Columns = dict[str, NDArray[Any]]
"""Column name to values: text as ``object`` (empty for missing) or numbers."""

MOST_BYTES = 2 << 30
"""Larger files are not the aggregated cells that this part is for."""


def _plain(values: Any) -> NDArray[Any]:
    """Numbers stay numbers; everything else becomes text, missing becomes empty."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    made = [
        "" if one is None or one != one else (one if isinstance(one, str) else str(one))
        for one in array.tolist()
    ]
    return np.array(made, dtype=object)


def _read_csv(path: Path, code: str) -> Columns:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            separator = ";" if first.count(";") > first.count(",") else ","
            rows = list(csv.reader(stream, delimiter=separator, strict=True))
    except UnicodeDecodeError as error:
        raise wrong(
            path.name,
            f"it is not UTF-8 (byte {error.start})",
            "Save it as CSV in UTF-8.",
            code,
        ) from error
    except csv.Error as error:
        raise wrong(path.name, f"it cannot be read as CSV: {error}", "Repair it.", code) from error
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise wrong(path.name, "it has no rows", "Write a header line and one line per cell.", code)
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise wrong(
                path.name,
                f"line {number} has {len(row)} fields, the header has {len(header)}",
                "Give every line as many fields as the header.",
                code,
            )
    _check_header(header, path.name)
    columns = zip(*rows[1:], strict=True)
    return {
        name: np.array(values, dtype=object) for name, values in zip(header, columns, strict=True)
    }


def _check_header(header: list[str], name: str) -> None:
    for column in header:
        if not column or header.count(column) > 1:
            what = f"the column {column!r} stands twice" if column else "a column has no name"
            raise wrong(name, what, "Name every column once.", "Z-DIS-021")


def no_pattern(path: Path) -> str:
    """The path for DuckDB, which takes ``*``, ``?`` and ``[`` in a name for a pattern of files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _read_parquet(path: Path, code: str) -> Columns:
    import duckdb

    try:
        with duckdb.connect() as connection:
            result = connection.execute(
                "select * from read_parquet(?, hive_partitioning = false)", [no_pattern(path)]
            )
            header = [one[0] for one in result.description or ()]
            rows = result.fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise wrong(
            path.name, f"it cannot be read as Parquet: {reason}", "Write it again.", code
        ) from error
    if not rows:
        raise wrong(path.name, "it has no rows", "Write one row per cell.", code)
    return {
        name: _plain(list(values))
        for name, values in zip(header, zip(*rows, strict=True), strict=True)
    }


def read_columns(source: Any, *, name: str = "cells", code: str = "Z-DIS-020") -> Columns:
    """Columns of a CSV or Parquet file, a data frame or a mapping of sequences.

    Args:
        source: path, ``pandas.DataFrame`` or mapping.
        name: what errors call a source that is not a file.
        code: the error code when it cannot be read.

    Raises:
        DisclosureError: ``code`` if it cannot be read or is empty, Z-DIS-021 for the header,
            Z-DIS-030 if it is larger than aggregated cells ever are.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            what = "it is no file" if path.exists() else "there is no such file"
            raise wrong(path.name or str(path), what, f"Looked for {path}.", code)
        if path.stat().st_size > MOST_BYTES:
            raise wrong(
                path.name,
                f"it is larger than {MOST_BYTES >> 30} GB",
                "Pass aggregated cells, one row per innermost combination.",
                "Z-DIS-030",
            )
        with path.open("rb") as stream:
            is_parquet = stream.read(4) == b"PAR1"
        return _read_parquet(path, code) if is_parquet else _read_csv(path, code)
    names = [str(one) for one in (source.keys() if isinstance(source, Mapping) else source.columns)]
    _check_header(names, name)
    columns = {key: _plain(source[key]) for key in names}
    if not columns or not len(next(iter(columns.values()))):
        raise wrong(name, "it has no rows", "Pass one row per cell.", code)
    return columns


def source_name(source: Any, default: str) -> str:
    """What errors call a source: the file's own name, or ``default``."""
    return Path(source).name if isinstance(source, str | Path) else default
