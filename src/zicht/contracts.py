"""Contracts: one Open Data Contract Standard (ODCS v3) file per source, read into plain values.

From this one declaration come the intake DAG, gate 1, the expected-delivery calendar and the
source's row in ``zicht status``. Standard: https://bitol-io.github.io/open-data-contract-standard/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError

from zicht.errors import ConfigurationError, UsageError
from zicht.periods import Cadence, Period

_SOURCE = re.compile(r"[a-z][a-z0-9_]{1,40}")
_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
_CADENCES = {(1, "y"): Cadence.YEARLY, (3, "m"): Cadence.QUARTERLY, (1, "m"): Cadence.MONTHLY}
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
ENCODINGS = ("utf-8", "windows-1252")
CLASSIFICATIONS = frozenset({"public", "identifier", "quasi-identifier", "sensitive"})


@dataclass(frozen=True)
class Column:
    """One column as the provider delivers it.

    Attributes:
        name: physical name, exactly as in the file.
        sql_type: DuckDB type that values must cast to.
        required: no empty values.
        is_key: part of the primary key of the table.
        classification: public, identifier, quasi-identifier or sensitive.
        pattern: regular expression that the whole trimmed value matches, or None.
        minimum: lowest allowed value, or None.
        maximum: highest allowed value, or None.
        multiple_of: rounding base of the source, or None.
        values: allowed values after trimming; empty when free.
        region_levels: levels of the geography code list that the column may hold; empty when it
            holds no region.
        description: one sentence.
    """

    name: str
    sql_type: str
    required: bool
    is_key: bool
    classification: str
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: float | None = None
    values: tuple[str, ...] = ()
    region_levels: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Rule:
    """A quality rule of a table that goes beyond its columns, evaluated by gate 1.

    Attributes:
        name: stable name, used in reports.
        description: what must hold.
        sql: query that returns the offending rows as ``_row``, ``column``, ``value``;
            ``{{ relation }}`` stands for the table.
        severity: ``error`` blocks the delivery, ``warning`` is shown.
        remedy: what the provider can do.
    """

    name: str
    description: str
    sql: str
    severity: str
    remedy: str


@dataclass(frozen=True)
class Table:
    """One file of a delivery: its columns in order, and the fewest rows that make sense."""

    name: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    minimum_rows: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the primary key columns."""
        return tuple(column.name for column in self.columns if column.is_key)


@dataclass(frozen=True)
class StatLineBinding:
    """Where a StatLine table says period, region and status, and which codes are taken.

    Attributes:
        table: StatLine table number, for example ``83648NED``.
        period_column: the time dimension.
        region_column: the geography dimension.
        status_column: dimension with Voorlopig/Definitief, or None when the period carries it.
        filters: per dimension the codes that are taken.
    """

    table: str
    period_column: str
    region_column: str
    status_column: str | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """What was agreed about one source.

    Attributes:
        source: identifier, used in paths, DAG names and SQL.
        version: semantic version of the contract.
        title: per language a short name.
        owner: the body that delivers.
        purpose: what the data may be used for.
        limitations: what it may not be used for.
        kind: one of the five kinds of output; ``public`` for published aggregates.
        cadence: length of a reference period.
        lag_days: days between the end of a period and the expected delivery.
        retention_days: how long raw data is kept.
        first_period: earliest period that the contract covers.
        delimiter: of the CSV files.
        encoding: of the CSV files.
        tables: the files of a delivery.
        statline: binding to Statistics Netherlands' open data service, if any.
        path: the file that this was read from.
    """

    source: str
    version: str
    title: Mapping[str, str]
    owner: str
    purpose: str
    limitations: str
    kind: str
    cadence: Cadence
    lag_days: int
    retention_days: int
    first_period: Period
    delimiter: str
    encoding: str
    tables: tuple[Table, ...]
    statline: StatLineBinding | None
    path: Path

    def table(self, name: str) -> Table:
        """The table with the given name."""
        return next(table for table in self.tables if table.name == name)


class _Reader:
    """Turns one ODCS document into a :class:`Contract`, naming the file in every complaint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, what: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"{self.path}: {what}.", code="Z-CFG-010", remedy=remedy)

    def custom(self, properties: Sequence[CustomProperty] | None) -> dict[str, Any]:
        return {p.property: p.value for p in properties or () if p.property}

    def sla(self, document: OpenDataContractStandard, name: str) -> tuple[int, str]:
        for item in document.slaProperties or ():
            if item.property == name:
                if not isinstance(item.value, int) or not item.unit:
                    break
                return item.value, item.unit
        raise self.wrong(
            f"slaProperties has no '{name}' with a whole value and a unit",
            f"Add property {name} with value and unit (d, m or y).",
        )

    def days(self, document: OpenDataContractStandard, name: str) -> int:
        value, unit = self.sla(document, name)
        if unit not in _DAYS:
            raise self.wrong(f"slaProperties '{name}' has unit {unit!r}", "Use d, w, m or y.")
        return value * _DAYS[unit]

    def column(self, table: str, item: SchemaProperty) -> Column:
        where = f"schema {table}, property {item.name}"
        sql_type = _TYPES.get(item.logicalType or "")
        if not item.name or sql_type is None:
            raise self.wrong(
                f"{where}: logicalType {item.logicalType!r} is not one of {', '.join(_TYPES)}",
                "Name the column and give it one of these types.",
            )
        if item.classification not in CLASSIFICATIONS:
            raise self.wrong(
                f"{where}: classification {item.classification!r} is not known",
                f"Use one of {', '.join(sorted(CLASSIFICATIONS))}.",
            )
        options = item.logicalTypeOptions or {}
        custom = self.custom(item.customProperties)
        return Column(
            name=item.name,
            sql_type=sql_type,
            required=bool(item.required),
            is_key=bool(item.primaryKey),
            classification=item.classification,
            pattern=options.get("pattern"),
            minimum=options.get("minimum"),
            maximum=options.get("maximum"),
            multiple_of=options.get("multipleOf"),
            values=tuple(str(entry.value) for entry in item.enum or ()),
            region_levels=tuple(custom.get("regionLevels") or ()),
            description=item.description or "",
        )

    def rule(self, table: str, item: DataQuality) -> Rule:
        implementation = item.implementation
        sql = implementation.get("rows") if isinstance(implementation, dict) else None
        if item.type != "custom" or item.engine != "greatExpectations" or not isinstance(sql, str):
            raise self.wrong(
                f"schema {table}, quality {item.name!r}: not of the supported form",
                "Use type custom, engine greatExpectations and implementation: {rows: <SQL>}.",
            )
        if not item.name or item.severity not in ("error", "warning"):
            raise self.wrong(
                f"schema {table}, quality {item.name!r}: name or severity is missing",
                "Give it a name, and severity error or warning.",
            )
        remedy = str(self.custom(item.customProperties).get("remedy") or "")
        return Rule(item.name, item.description or item.name, sql, item.severity, remedy)

    def table(self, item: SchemaObject) -> Table:
        if not item.name or not item.properties:
            raise self.wrong("a schema object lacks a name or properties", "Add them.")
        columns = tuple(self.column(item.name, prop) for prop in item.properties)
        if not any(column.is_key for column in columns):
            raise self.wrong(f"schema {item.name} has no primary key", "Mark primaryKey: true.")
        return Table(
            name=item.name,
            columns=columns,
            rules=tuple(self.rule(item.name, quality) for quality in item.quality or ()),
            minimum_rows=int(self.custom(item.customProperties).get("minimumRows") or 1),
        )

    def statline(self, custom: Mapping[str, Any]) -> StatLineBinding | None:
        value = custom.get("statline")
        if value is None:
            return None
        try:
            return StatLineBinding(
                table=value["table"],
                period_column=value["periods"],
                region_column=value["regions"],
                status_column=value.get("status"),
                filters={k: tuple(map(str, v)) for k, v in (value.get("filters") or {}).items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self.wrong(
                f"customProperty statline is incomplete ({error})",
                "It needs table, periods and regions; status and filters are optional.",
            ) from error

    def contract(self) -> Contract:
        try:
            content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
            document = OpenDataContractStandard(**content)
        except (yaml.YAMLError, ValidationError, TypeError, UnicodeDecodeError) as error:
            raise self.wrong(f"not an ODCS v3 document: {error}", "Correct the YAML.") from error
        custom = self.custom(document.customProperties)
        source = document.id or ""
        if not _SOURCE.fullmatch(source) or source != self.path.stem:
            raise self.wrong(
                f"id {source!r} must be the file's own name in lower case and underscores",
                f"Set id: {self.path.stem}.",
            )
        frequency = self.sla(document, "frequency")
        if frequency not in _CADENCES:
            raise self.wrong(f"frequency {frequency} is not 1 y, 3 m or 1 m", "Use one of these.")
        cadence = _CADENCES[frequency]
        try:
            first_period = Period.parse(str(custom.get("firstPeriod")))
        except ValueError as error:
            raise self.wrong(f"firstPeriod: {error}", "Add it as a customProperty.") from error
        if first_period.cadence is not cadence:
            raise self.wrong("firstPeriod and frequency differ in length", "Make them agree.")
        server = next(iter(document.servers or ()), None)
        if server is None or server.format != "csv":
            raise self.wrong("servers has no entry with format csv", "Describe the file format.")
        encoding, delimiter = server.encoding or "utf-8", server.delimiter or ","
        if encoding not in ENCODINGS or len(delimiter) != 1:
            raise self.wrong(
                f"servers has encoding {encoding!r} and delimiter {delimiter!r}",
                f"Use a delimiter of one sign and one of the encodings {', '.join(ENCODINGS)}.",
            )
        description = document.description
        title = custom.get("title")
        if (
            description is None
            or not description.purpose
            or not description.limitations
            or not isinstance(title, dict)
            or not {"nl", "en"} <= set(title)
        ):
            raise self.wrong(
                "purpose, limitations or the title in nl and en is missing", "Add what is missing."
            )
        return Contract(
            source=source,
            version=document.version or "",
            title=title,
            owner=str(custom.get("owner") or ""),
            purpose=description.purpose,
            limitations=description.limitations,
            kind=str(custom.get("kind") or ""),
            cadence=cadence,
            lag_days=self.days(document, "latency"),
            retention_days=self.days(document, "retention"),
            first_period=first_period,
            delimiter=delimiter,
            encoding=encoding,
            tables=tuple(self.table(item) for item in document.schema_ or ()),
            statline=self.statline(custom),
            path=self.path,
        )


def load_contract(path: Path) -> Contract:
    """Reads one contract.

    Raises:
        ConfigurationError: Z-CFG-010, naming the file and what is wrong in it.
    """
    return _Reader(path).contract()


def load_contracts(folder: Path) -> dict[str, Contract]:
    """Reads all contracts in ``folder``, by source, in order of name."""
    contracts = [load_contract(path) for path in sorted(folder.glob("*.yaml"))]
    return {contract.source: contract for contract in contracts}


def contract_of(folder: Path, source: str) -> Contract:
    """The contract of one source.

    Raises:
        UsageError: Z-USE-002 if there is none.
    """
    contracts = load_contracts(folder)
    if source not in contracts:
        raise UsageError(
            f"there is no contract for the source {source!r}.",
            code="Z-USE-002",
            remedy=f"Choose one of: {', '.join(contracts)}.",
        )
    return contracts[source]
