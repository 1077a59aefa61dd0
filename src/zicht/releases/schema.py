"""The published schema: tables and columns that others rely on (``published_schema.yaml``).

Earlier versions are kept beside it, so that a change can be held against what was promised; see
``docs/reference/schema-policy.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from zicht.errors import ConfigurationError
from zicht.settings import Settings

KEPT_DAYS = 365
"""A column is kept this many days after it was announced that it goes."""
_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
_WIDE = "indicators"


@dataclass(frozen=True)
class Deprecation:
    """That a column will go.

    Attributes:
        since: the day on which it was announced.
        until: the first day on which a version may be without it.
        instead: what to use then; a column, or words.
    """

    since: date
    until: date
    instead: str


@dataclass(frozen=True)
class PublishedColumn:
    """Name, DuckDB type and description of one column, and whether it will go."""

    name: str
    sql_type: str
    description: Mapping[str, str]
    deprecated: Deprecation | None = None


@dataclass(frozen=True)
class PublishedTable:
    """One table: columns in order, and the key that also gives the order of its rows.

    Attributes:
        wide: ``indicators`` when it has one more column for each indicator; they follow from the
            catalogue and are no part of the promise.
    """

    name: str
    description: Mapping[str, str]
    key: tuple[str, ...]
    columns: tuple[PublishedColumn, ...]
    wide: str | None = None


@dataclass(frozen=True)
class PublishedSchema:
    """All tables of a release and the version of this interface.

    Attributes:
        version: major, minor and patch, as semantic versioning has them.
        tables: in the order of the file.
        since: the day from which the version holds; None for those from before it was recorded.
    """

    version: str
    tables: tuple[PublishedTable, ...]
    since: date | None = None

    def column_names(self) -> dict[str, list[str]]:
        """Per table the names of its columns, in order; of a wide one those it always has."""
        return {table.name: [column.name for column in table.columns] for table in self.tables}

    def widened(self, columns: Sequence[PublishedColumn]) -> PublishedSchema:
        """The same schema with ``columns`` at the end of every wide table."""
        tables = tuple(
            replace(table, columns=(*table.columns, *columns)) if table.wide else table
            for table in self.tables
        )
        return replace(self, tables=tables)


def schema_path(settings: Settings) -> Path:
    """Where the published schema is declared."""
    return settings.project / "expectations" / "published_schema.yaml"


def history_folder(settings: Settings) -> Path:
    """Where the former versions of the published schema are kept, ``<version>.yaml``."""
    return settings.project / "expectations" / "published_schema_history"


def load_schema(settings: Settings) -> PublishedSchema:
    """Reads the published schema.

    Raises:
        ConfigurationError: as :func:`read_schema`.
    """
    return read_schema(schema_path(settings))


def load_history(settings: Settings) -> list[PublishedSchema]:
    """Reads the former versions, oldest first.

    Raises:
        ConfigurationError: as :func:`read_schema`.
    """
    found = [read_schema(path) for path in history_folder(settings).glob("*.yaml")]
    return sorted(found, key=lambda schema: version_number(schema.version))


def version_number(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of a version such as ``2.1.0``.

    Raises:
        ValueError: for anything else.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version!r} is no version such as 2.1.0")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def read_schema(path: Path) -> PublishedSchema:
    """Reads one version of the published schema.

    Raises:
        ConfigurationError: Z-CFG-050 naming what is wrong, Z-REL-024 for a deprecation without
            its three fields, or that keeps a column for less than a year.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        version_number(document["version"])
        since = document.get("since")
        if since is not None and type(since) is not date:
            raise ValueError(f"since is {since!r}, not a day")
        tables = tuple(_table(path, name, table) for name, table in document["tables"].items())
        return PublishedSchema(document["version"], tables, since)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: not a published schema: {error!r}.",
            code="Z-CFG-050",
            remedy="It has a version; every table has nl, en, key and columns; every column type, "
            "nl and en.",
        ) from error


def _table(path: Path, name: str, table: Mapping[str, Any]) -> PublishedTable:
    wide = table.get("wide")
    if wide not in (None, _WIDE):
        raise ValueError(f"{name}: wide is {wide!r}, and can only be {_WIDE}")
    return PublishedTable(
        name=name,
        description={"nl": table["nl"], "en": table["en"]},
        key=tuple(table["key"]),
        columns=tuple(
            PublishedColumn(
                column,
                spec["type"],
                {"nl": spec["nl"], "en": spec["en"]},
                _deprecation(path, f"{name}.{column}", spec.get("deprecated")),
            )
            for column, spec in table["columns"].items()
        ),
        wide=wide,
    )


def _deprecation(path: Path, column: str, declared: Any) -> Deprecation | None:
    if declared is None:
        return None
    if isinstance(declared, dict) and set(declared) == {"since", "until", "instead"}:
        since, until, instead = (declared[key] for key in ("since", "until", "instead"))
        are_days = type(since) is date and type(until) is date
        is_said = isinstance(instead, str) and bool(instead.strip())
        if are_days and is_said and until - since >= timedelta(days=KEPT_DAYS):
            return Deprecation(since, until, instead.strip())
    raise ConfigurationError(
        f"{path}: {column}: deprecated is {declared!r}.",
        code="Z-REL-024",
        remedy=f"Write since and until as days at least {KEPT_DAYS} days apart, and instead.",
    )


def compatible(old: PublishedSchema, new: PublishedSchema) -> list[str]:
    """What in ``new`` breaks what ``old`` promised, as sentences; empty when nothing does.

    A table or column may go, change its type, its place or its key only with a new major version,
    and a column only when its deprecation in ``old`` has run out on the day ``new.since``. What is
    added takes a new minor version, and new columns stand after those that were there. Texts may
    change in any version.
    """
    before, after = version_number(old.version), version_number(new.version)
    if before == after:
        same = _promise(old) == _promise(new)
        return [] if same else [f"tables or columns changed within version {new.version}"]
    if after < before:
        return [f"version {new.version} comes after {old.version}"]
    is_major, is_minor = after[0] > before[0], after[1] > before[1]
    faults = list(_broken(old, new, is_major))
    if not (is_major or is_minor) and _promise(old) != _promise(new) and not faults:
        faults.append(f"something was added, so {new.version} needs a new minor version")
    return faults


def _promise(schema: PublishedSchema) -> dict[str, Any]:
    """What others rely on: everything but the texts."""
    return {
        table.name: (table.key, table.wide, [(c.name, c.sql_type) for c in table.columns])
        for table in schema.tables
    }


def _broken(old: PublishedSchema, new: PublishedSchema, is_major: bool) -> Iterator[str]:
    tables = {table.name: table for table in new.tables}
    for table in old.tables:
        now = tables.get(table.name)
        columns = {} if now is None else {column.name: column for column in now.columns}
        for column in table.columns:
            announced = column.deprecated
            if column.name in columns:
                later = columns[column.name].deprecated
                if announced and later and later.until < announced.until:
                    yield f"{table.name}.{column.name} is promised until {announced.until}"
                continue
            # Who relies on a column has a year, also when the whole table goes.
            if announced is None:
                yield f"{table.name}.{column.name} went without having been deprecated"
            elif new.since is None or new.since < announced.until:
                yield f"{table.name}.{column.name} is promised until {announced.until}"
            elif not is_major:
                yield f"{table.name}.{column.name} went without a new major version"
        if now is None or is_major:
            continue
        yield from _changed(table, now)


def _changed(old: PublishedTable, new: PublishedTable) -> Iterator[str]:
    if old.key != new.key or old.wide != new.wide:
        yield f"{old.name} has another key or form without a new major version"
    types = {column.name: column.sql_type for column in new.columns}
    for column in old.columns:
        if types.get(column.name, column.sql_type) != column.sql_type:
            yield f"{old.name}.{column.name} has another type without a new major version"
    kept = [column.name for column in old.columns if column.name in types]
    if [column.name for column in new.columns][: len(kept)] != kept:
        yield f"{old.name} has its columns in another order without a new major version"
