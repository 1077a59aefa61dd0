"""The register of all that was ever published from confidential data.

What was once published stays known, also when the files of its release are cleaned up or withdrawn.
So every release leaves here what it said of output that is not public: the cells with their status,
the indicators and the regions they are of. Only published values stand in it; it is internal for
its completeness, not for its content.

Rates tell less than their numerators and denominators would. How much less is not relied upon: an
entry also has these as indicators of counts, with the cells that might have been published:
``<rate>.parts`` of a percentage, ``<rate>.numerator`` and ``<rate>.denominator`` of other rates.

An entry is written *before* the release appears: a crash in between leaves an entry too many, which
makes protection stricter than needed, never an entry too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from zicht.files import move_folder, read_json, remove_tree, sync_file, write_json
from zicht.settings import Settings
from zicht.sql import literal

DOCUMENT = "entry.json"
DATABASE = "published.duckdb"

_CONFIDENTIAL = "select indicator_id from released.indicators where kind <> 'public'"
_KEPT = {
    "indicators": "select * from released.indicators where kind <> 'public' order by indicator_id",
    "observations": f"""
        select * from released.observations where indicator_id in ({_CONFIDENTIAL})
        order by indicator_id, reference_period, region_code, breakdown
    """,
    "breakdowns": f"""
        select * from released.breakdowns where indicator_id in ({_CONFIDENTIAL})
        order by indicator_id, dimension, category
    """,
    "regions": "select * from released.regions order by region_code",
    "signals": "select * from released.signals order by all",
    "feature_profiles": "select * from released.feature_profiles order by all",
}
"""What is kept of a release: table and query."""


@dataclass(frozen=True)
class Entry:
    """What one release published.

    Attributes:
        release_id: the release.
        released_at: the moment that it carries.
        geo_year: geography year of its regions.
        database: DuckDB file with ``observations``, ``indicators``, ``breakdowns`` and ``regions``.
        protection: per ``indicator@period`` what its cells were made of and how, as a hash.
    """

    release_id: str
    released_at: str
    geo_year: int
    database: Path
    protection: Mapping[str, str]


def entries(settings: Settings) -> list[Entry]:
    """All entries, oldest first."""
    found = [
        Entry(database=path.parent / DATABASE, **_known(read_json(path)))
        for path in settings.register.glob(f"*/{DOCUMENT}")
    ]
    return sorted(found, key=lambda entry: (entry.released_at, entry.release_id))


def _known(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": document["release_id"],
        "released_at": document["released_at"],
        "geo_year": document["geo_year"],
        "protection": document["protection"],
    }


def enter(
    settings: Settings,
    database: Path,
    *,
    release_id: str,
    released_at: str,
    geo_year: int,
    protection: Mapping[str, str],
    parts: Path | None = None,
) -> Path:
    """Keeps what the file of a release says of output that is not public. Safe to repeat.

    Args:
        database: the DuckDB file of the candidate that is about to be published.
        parts: a DuckDB file with ``indicators`` and ``observations`` of the parts of its rates.
        protection: as in :class:`Entry`.

    Returns:
        The folder of the entry.
    """
    target = settings.register / release_id
    if (target / DOCUMENT).exists():
        return target
    partial = settings.register / f".{release_id}.partial"
    remove_tree(partial)
    remove_tree(target)
    partial.mkdir(parents=True)
    with duckdb.connect(str(partial / DATABASE)) as connection:
        connection.execute("set threads = 1")
        connection.execute(f"attach {literal(str(database))} as released (read_only)")
        for table, query in _KEPT.items():
            connection.execute(f"create table {table} as {query}")
        connection.execute("detach released")
        if parts is not None and parts.exists():
            connection.execute(f"attach {literal(str(parts))} as parts (read_only)")
            for table in ("indicators", "observations"):
                connection.execute(f"insert into {table} by name select * from parts.{table}")
            connection.execute("detach parts")
    sync_file(partial / DATABASE)
    write_json(
        partial / DOCUMENT,
        {
            "release_id": release_id,
            "released_at": released_at,
            "geo_year": geo_year,
            "protection": dict(sorted(protection.items())),
        },
    )
    move_folder(partial, target)
    return target
