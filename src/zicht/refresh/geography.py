"""The geography as it looks from one geography year.

A year that is added to the seeds later says nothing about the years before it, so it must not
make other vintages of what is shown on the division of an earlier year.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

_LABELS = frozenset({"name"})
"""Columns that say how a region is called; no figure follows from them."""


def _seen(row: Mapping[str, str], geo_year: int) -> dict[str, str] | None:
    """A row as known in the division of ``geo_year``; None if it holds only from a later one on.

    The columns say from when a row holds: ``geo_year``, ``first_year`` to ``last_year``, or
    ``valid_from`` to ``valid_to`` (days). A year's division is the situation on 1 January.
    """
    first_day = f"{geo_year:04d}-01-01"
    if any(int(row[name]) > geo_year for name in ("geo_year", "first_year") if row.get(name)):
        return None
    if row.get("valid_from", "") > first_day:
        return None
    seen = {name: value for name, value in row.items() if name not in _LABELS}
    if row.get("last_year"):
        seen["last_year"] = str(min(int(row["last_year"]), geo_year))
    if row.get("valid_to", "") > first_day:
        seen["valid_to"] = ""
    return seen


def successors(
    connection: duckdb.DuckDBPyConnection, relation: str, years: Iterable[int], geo_year: int
) -> list[tuple[str, str]]:
    """Which municipality of earlier geography years went into which of ``geo_year``.

    Args:
        relation: ``dim_recast``, as the connection names it.
        years: the geography years of earlier releases; ``geo_year`` itself may be among them.
    """
    earlier = sorted({year for year in years if year != geo_year})
    if not earlier:
        return []
    rows = connection.execute(
        f"select distinct from_code, to_code from {relation} where from_code <> to_code "
        f"and from_year in ({', '.join(map(str, earlier))}) order by all"
    ).fetchall()
    return [(str(old), str(new)) for old, new in rows]


def seed_digest(path: Path, geo_year: int) -> str:
    """sha256 over the rows of a geography seed that matter for ``geo_year``, in any order."""
    digest = hashlib.sha256()
    with path.open(encoding="utf-8", newline="") as stream:
        seen = (_seen(row, geo_year) for row in csv.DictReader(stream))
        for line in sorted(repr(sorted(row.items())) for row in seen if row is not None):
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()
