"""Snapshots of StatLine tables: CSV files as ``TypedDataSet`` gives them, and their description.

A folder with snapshots has either of two forms, which may be mixed:

* ``<TABLE>/TypedDataSet.csv`` with a ``table.yaml`` beside it;
* ``<TABLE>_TypedDataSet.csv``, described by ``<TABLE>/table.yaml`` in another folder, or not
  described at all.

An overlay turns a snapshot into a later version of the same table: ``<TABLE>/table.yaml`` replaces
parts of the description, ``<TABLE>/changes.csv`` replaces figures.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zicht.errors import ConfigurationError

Cell = str | int | float | None

UNDESCRIBED_MODIFIED = "2025-04-01T02:00:00"
"""``Modified`` of a snapshot without a description, which does not say it itself."""
UNDESCRIBED_PROVISIONAL = 2
"""The newest periods that are provisional where no description says which."""

_TOPIC = re.compile(r".+_\d+")
_REGION = re.compile(r"(NL|LD|PV|CR|GM)\d+\s*")
_PERIOD = re.compile(r"\d{4}[A-Z]{2}\d{2}")
_SUFFIX = "_TypedDataSet.csv"


@dataclass(frozen=True)
class Column:
    """One column of a table, as ``DataProperties`` describes it.

    Attributes:
        key: name.
        kind: ``Topic``, ``Dimension``, ``GeoDimension`` or ``TimeDimension``.
        decimals: digits behind the point, for a topic.
    """

    key: str
    kind: str
    decimals: int = 0


@dataclass(frozen=True)
class Snapshot:
    """One table at one moment.

    Attributes:
        table: identifier.
        title: Dutch title.
        modified: as CBS writes it: local time, without zone.
        summary: a sentence on where the figures are from.
        columns: all columns but ``ID``.
        rows: per row its cells by column, ``ID`` included.
        statuses: per period code what CBS calls its status; nothing if it does not say.
    """

    table: str
    title: str
    modified: str
    summary: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Cell]]
    statuses: Mapping[str, str | None]

    def codes(self, dimension: str) -> list[str]:
        """The codes of a dimension in order of appearance."""
        return list(dict.fromkeys(str(row[dimension]) for row in self.rows))


def find_tables(folder: Path) -> dict[str, Path]:
    """The tables in a folder of snapshots, with the file that holds their rows.

    Raises:
        ConfigurationError: Z-CFG-062 if there is none.
    """
    found = {p.parent.name: p for p in sorted(folder.glob("*/TypedDataSet.csv"))}
    found |= {p.name.removesuffix(_SUFFIX): p for p in sorted(folder.glob(f"*{_SUFFIX}"))}
    if not found:
        raise ConfigurationError(
            f"{folder} has no snapshots of StatLine tables.",
            code="Z-CFG-062",
            remedy=f"It should hold <TABLE>/TypedDataSet.csv or <TABLE>{_SUFFIX}.",
        )
    return found


def load_snapshot(
    table: str, rows_file: Path, *, describe: Path | None = None, overlay: Path | None = None
) -> Snapshot:
    """Reads a snapshot.

    Args:
        table: identifier of the table.
        rows_file: its rows, ``;`` separated, with a header.
        describe: folder in which ``<TABLE>/table.yaml`` is looked for if none lies beside the rows.
        overlay: folder with a later version in ``<TABLE>/``.

    Raises:
        ConfigurationError: Z-CFG-062 if a file cannot be used.
    """
    description = _describe(table, rows_file, describe, overlay)
    header, texts = _read_csv(rows_file)
    if overlay is not None and (overlay / table / "changes.csv").is_file():
        _apply_changes(overlay / table / "changes.csv", texts)
    declared: Mapping[str, str] = description.get("dimensions") or {}
    decimals: Mapping[str, int] = description.get("decimals") or {}
    columns = tuple(
        _column(key, [t[key] for t in texts], declared, decimals) for key in header if key != "ID"
    )
    rows = [_typed(row, columns) for row in texts]
    return Snapshot(
        table=table,
        title=str(description.get("title", table)),
        modified=str(description.get("modified", UNDESCRIBED_MODIFIED)),
        summary=str(description.get("summary", "")),
        columns=columns,
        rows=rows,
        statuses=_statuses(columns, rows, description),
    )


def _describe(
    table: str, rows_file: Path, describe: Path | None, overlay: Path | None
) -> dict[str, Any]:
    candidates = [rows_file.parent / "table.yaml"] if rows_file.name == "TypedDataSet.csv" else []
    candidates += [describe / table / "table.yaml"] if describe is not None else []
    description: dict[str, Any] = {}
    for path in candidates:
        if path.is_file():
            description = _read_yaml(path)
            break
    if overlay is not None and (overlay / table / "table.yaml").is_file():
        later = _read_yaml(overlay / table / "table.yaml")
        statuses = {**(description.get("statuses") or {}), **(later.get("statuses") or {})}
        description = {**description, **later, "statuses": statuses}
    return description


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unusable(path, f"it is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise _unusable(path, "it is not a mapping")
    return content


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=";")
        rows = list(reader)
        header = list(reader.fieldnames or [])
    if not header or any(None in row or None in row.values() for row in rows):
        raise _unusable(path, "a row has another number of fields than the header")
    return header, rows


def _apply_changes(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Replaces figures in the rows that have the same codes."""
    header, changes = _read_csv(path)
    keys = [column for column in header if not _TOPIC.fullmatch(column)]
    by_key = {tuple(row[k] for k in keys): row for row in rows}
    if len(by_key) != len(rows):
        raise _unusable(path, "its codes do not tell the rows of the table apart")
    for change in changes:
        key = tuple(change[k] for k in keys)
        if key not in by_key:
            raise _unusable(path, f"the table has no row {key}")
        by_key[key].update(change)


def _column(
    key: str, texts: Sequence[str], declared: Mapping[str, str], decimals: Mapping[str, int]
) -> Column:
    if key in declared:
        return Column(key, declared[key])
    if _TOPIC.fullmatch(key):
        return Column(key, "Topic", decimals.get(key, _decimals(texts)))
    if all(_PERIOD.fullmatch(text) for text in texts):
        return Column(key, "TimeDimension")
    if all(_REGION.fullmatch(text) for text in texts):
        return Column(key, "GeoDimension")
    return Column(key, "Dimension")


def _decimals(texts: Iterable[str]) -> int:
    """Digits behind the point; the ``.0`` that a table of floats writes everywhere is none."""
    return max(
        (len(text.partition(".")[2]) for text in texts if not text.endswith(".0")), default=0
    )


def _typed(row: Mapping[str, str], columns: Iterable[Column]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"ID": int(row["ID"])} if row.get("ID") else {}
    for column in columns:
        text = row[column.key]
        if column.kind != "Topic":
            cells[column.key] = text
        elif text == "":
            cells[column.key] = None
        else:
            cells[column.key] = float(text) if column.decimals else int(float(text))
    return cells


def _statuses(
    columns: Iterable[Column], rows: Sequence[Mapping[str, Cell]], description: Mapping[str, Any]
) -> dict[str, str | None]:
    time = next((c.key for c in columns if c.kind == "TimeDimension"), None)
    if time is None:
        return {}
    periods = sorted({str(row[time]) for row in rows})
    stated: Mapping[str, str] = description.get("statuses") or {}
    if "default_status" in description:
        default: str | None = description["default_status"]
        return {period: stated.get(period, default) for period in periods}
    newest = periods[-UNDESCRIBED_PROVISIONAL:]
    return {
        period: stated.get(period, "Voorlopig" if period in newest else "Definitief")
        for period in periods
    }


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be replayed: {why}.",
        code="Z-CFG-062",
        remedy="Correct the file; samples/README.md describes the form.",
    )
