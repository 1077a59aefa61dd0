"""The published schema: tables and columns that others rely on (``published_schema.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from zicht.errors import ConfigurationError
from zicht.settings import Settings


@dataclass(frozen=True)
class PublishedColumn:
    """Name, DuckDB type and description of one column."""

    name: str
    sql_type: str
    description: Mapping[str, str]


@dataclass(frozen=True)
class PublishedTable:
    """One table: columns in order, and the key that also gives the order of its rows."""

    name: str
    description: Mapping[str, str]
    key: tuple[str, ...]
    columns: tuple[PublishedColumn, ...]


@dataclass(frozen=True)
class PublishedSchema:
    """All tables of a release and the version of this interface."""

    version: str
    tables: tuple[PublishedTable, ...]

    def column_names(self) -> dict[str, list[str]]:
        """Per table the names of its columns, in order."""
        return {table.name: [column.name for column in table.columns] for table in self.tables}


def schema_path(settings: Settings) -> Path:
    """Where the published schema is declared."""
    return settings.project / "expectations" / "published_schema.yaml"


def load_schema(settings: Settings) -> PublishedSchema:
    """Reads the published schema.

    Raises:
        ConfigurationError: Z-CFG-050 naming what is wrong.
    """
    path = schema_path(settings)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        tables = tuple(
            PublishedTable(
                name=name,
                description={"nl": table["nl"], "en": table["en"]},
                key=tuple(table["key"]),
                columns=tuple(
                    PublishedColumn(column, spec["type"], {"nl": spec["nl"], "en": spec["en"]})
                    for column, spec in table["columns"].items()
                ),
            )
            for name, table in document["tables"].items()
        )
        return PublishedSchema(document["version"], tables)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: not a published schema: {error!r}.",
            code="Z-CFG-050",
            remedy="Every table has nl, en, key and columns; every column type, nl and en.",
        ) from error
