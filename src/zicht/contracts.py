"""Contracts: one Open Data Contract Standard (ODCS v3) file per source, read into plain values.

From this one declaration come the intake DAG, gate 1, the expected-delivery calendar and the
source's row in ``zicht status``. Standard: https://bitol-io.github.io/open-data-contract-standard/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
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

# Contracts are read by every command: the parser in C is ten times as fast, where it is there.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
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
FORMATS = ("csv", "fixed_width", "parquet")
DATE_FORMATS = {"yyyyMMdd": "%Y%m%d", "yyyy-MM-dd": "%Y-%m-%d", "dd-MM-yyyy": "%d-%m-%Y"}
"""How ODCS writes the form of a date, and how DuckDB does."""
TIMES = ("within_period", "not_after_period", "is_period")
MICRODATA = "microdata"
"""The kind of a source with rows about single persons, premises, entities or cases."""
KINDS = ("public", MICRODATA)
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
        date_format: how a date is written, in DuckDB's signs; None for ISO 8601.
        references: ``(table, column)`` of the same delivery that a filled value must occur in.
        is_pseudonymised: may hold direct identifiers, so a keyed hash replaces it on intake.
        position: of a fixed-width file: first sign, counted from 1, and number of signs.
        time: ``within_period``, ``not_after_period`` or ``is_period``: how the values relate to
            the reference period; None when they do not.
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
    date_format: str | None = None
    references: tuple[str, str] | None = None
    is_pseudonymised: bool = False
    position: tuple[int, int] | None = None
    time: str | None = None

    @property
    def stored_type(self) -> str:
        """DuckDB type in ``raw/``: a keyed hash is text, whatever was delivered."""
        return "VARCHAR" if self.is_pseudonymised else self.sql_type


@dataclass(frozen=True)
class Settled:
    """What makes a case settled: the column that says so and the values that mean it."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Usual:
    """How far a number of rows may be from that of the last delivery, as shares of it.

    Attributes:
        least: smallest share.
        most: largest share.
        column: count per value of this region column; None for the table as a whole.
        at_least: regions with fewer rows than this before are not compared.
    """

    least: float
    most: float
    column: str | None = None
    at_least: int = 1


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
    """One file of a delivery: its columns in order, and what holds of its rows together.

    Attributes:
        name: of the table, and of its file up to the first dot.
        columns: in the order of the file.
        rules: quality rules that go beyond a column.
        minimum_rows: the fewest rows that make sense.
        settled: what makes a row one of a settled case; None when the table holds no cases.
        usual: the comparisons with the last delivery.
    """

    name: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    minimum_rows: int = 1
    settled: Settled | None = None
    usual: tuple[Usual, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the primary key columns."""
        return tuple(column.name for column in self.columns if column.is_key)


@dataclass(frozen=True)
class FileFormat:
    """How the files of a delivery are written.

    Attributes:
        kind: csv, fixed_width or parquet.
        delimiter: of a CSV file.
        encoding: utf-8 or windows-1252.
        is_zipped: each file is the one member of a zip archive.
        decimal_mark: point or comma.
    """

    kind: str
    delimiter: str = ","
    encoding: str = "utf-8"
    is_zipped: bool = False
    decimal_mark: str = "."

    @property
    def suffix(self) -> str:
        """The usual ending of a file name."""
        if self.is_zipped:
            return "zip"
        return {"csv": "csv", "fixed_width": "txt", "parquet": "parquet"}[self.kind]


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
        kind: ``public`` for aggregates that the source published, ``microdata`` otherwise.
        cadence: length of a reference period.
        lag_days: days between the end of a period and the expected delivery.
        retention_days: how long raw data is kept.
        first_period: earliest period that the contract covers.
        format: how the files are written.
        tables: the files of a delivery.
        statline: binding to Statistics Netherlands' open data service, if any.
        path: the file that this was read from.
        is_stock: a period is the state on its first day, from which the lag counts.
        lag_reason: why the lag is what it is.
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
    format: FileFormat
    tables: tuple[Table, ...]
    statline: StatLineBinding | None
    path: Path
    is_stock: bool = False
    lag_reason: str = ""

    @property
    def needs_agreement(self) -> bool:
        """Whether an agreement has to be in force: for all but published aggregates."""
        return self.kind == MICRODATA

    def reference_day(self, period: Period) -> date:
        """The day from which the lag of a period counts: its last, or of a stock its first."""
        return period.reference_day(is_stock=self.is_stock)

    def due(self, period: Period) -> date:
        """The day on which the delivery of a period is expected."""
        return period.due(self.lag_days, is_stock=self.is_stock)

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
        date_format = options.get("format")
        if date_format is not None and date_format not in DATE_FORMATS:
            raise self.wrong(
                f"{where}: format {date_format!r} is not known",
                f"Use one of {', '.join(DATE_FORMATS)}.",
            )
        time = custom.get("time")
        if time is not None and time not in TIMES:
            raise self.wrong(f"{where}: time {time!r} is not known", f"Use {', '.join(TIMES)}.")
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
            date_format=DATE_FORMATS[date_format] if date_format else None,
            references=self.references(where, item),
            is_pseudonymised=bool(custom.get("pseudonymise")),
            position=self.position(where, custom.get("position")),
            time=time,
        )

    def references(self, where: str, item: SchemaProperty) -> tuple[str, str] | None:
        for relationship in item.relationships or ():
            table, _, column = str(relationship.to).partition(".")
            if not table or not column:
                raise self.wrong(
                    f"{where}: a relationship leads nowhere", "Write to: table.column."
                )
            return table, column
        return None

    def position(self, where: str, value: Any) -> tuple[int, int] | None:
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(isinstance(part, int) and part > 0 for part in value)
        ):
            raise self.wrong(f"{where}: position {value!r}", "Write [first sign, width], from 1.")
        return value[0], value[1]

    def shares(self, where: str, value: Any) -> Usual:
        try:
            return Usual(
                least=float(value["least"]),
                most=float(value["most"]),
                column=value.get("column"),
                at_least=int(value.get("from", 1)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.wrong(
                f"{where}: the usual number of rows is incomplete ({error})",
                "Write {least: 0.5, most: 2.0}, and for regions also column and from.",
            ) from error

    def settled(self, where: str, value: Any) -> Settled | None:
        if value is None:
            return None
        try:
            return Settled(str(value["column"]), tuple(str(one) for one in value["values"]))
        except (KeyError, TypeError) as error:
            raise self.wrong(
                f"{where}: settled is incomplete ({error})", "It needs column and values."
            ) from error

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
        if not _TABLE.fullmatch(item.name):
            raise self.wrong(
                f"schema {item.name!r} is not a plain name", "Use lower case, digits, underscores."
            )
        where, custom = f"schema {item.name}", self.custom(item.customProperties)
        settled = self.settled(where, custom.get("settled"))
        usual = tuple(
            self.shares(where, custom[name])
            for name in ("usualRows", "usualRegions")
            if name in custom
        )
        names = {column.name for column in columns}
        for named in (settled, *usual):
            if named is not None and named.column is not None and named.column not in names:
                raise self.wrong(
                    f"{where} has no column {named.column!r}", "Name one of its columns."
                )
        return Table(
            name=item.name,
            columns=columns,
            rules=tuple(self.rule(item.name, quality) for quality in item.quality or ()),
            minimum_rows=int(custom.get("minimumRows") or 1),
            settled=settled,
            usual=usual,
        )

    def format(self, document: OpenDataContractStandard) -> FileFormat:
        server = next(iter(document.servers or ()), None)
        if server is None or server.format not in FORMATS:
            raise self.wrong(
                f"servers has no entry with one of the formats {', '.join(FORMATS)}",
                "Describe the file format.",
            )
        custom = self.custom(server.customProperties)
        found = FileFormat(
            kind=server.format,
            delimiter=server.delimiter or ",",
            encoding=server.encoding or "utf-8",
            is_zipped=custom.get("compression") == "zip",
            decimal_mark=str(custom.get("decimalMark") or "."),
        )
        if found.encoding not in ENCODINGS or len(found.delimiter) != 1:
            raise self.wrong(
                f"servers has encoding {found.encoding!r} and delimiter {found.delimiter!r}",
                f"Use a delimiter of one sign and one of the encodings {', '.join(ENCODINGS)}.",
            )
        if found.decimal_mark not in (".", ",") or custom.get("compression") not in (None, "zip"):
            raise self.wrong(
                "servers has another decimalMark than '.' or ',', or another compression than zip",
                "Use one of these.",
            )
        return found

    def check_tables(self, tables: Sequence[Table], layout: FileFormat) -> None:
        """What can be said only of all tables together."""
        columns = {(table.name, column.name) for table in tables for column in table.columns}
        for table in tables:
            for column in table.columns:
                where = f"schema {table.name}, property {column.name}"
                if column.references is not None and column.references not in columns:
                    raise self.wrong(
                        f"{where} refers to {'.'.join(column.references)}, which is not there",
                        "Name a table and column of this contract.",
                    )
                if layout.kind == "fixed_width" and column.position is None:
                    raise self.wrong(
                        f"{where} has no position", "A fixed-width file needs one per column."
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
            content = yaml.load(self.path.read_text(encoding="utf-8"), Loader=_LOADER)
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
        layout = self.format(document)
        tables = tuple(self.table(item) for item in document.schema_ or ())
        self.check_tables(tables, layout)
        kind = str(custom.get("kind") or "")
        if kind not in KINDS:
            raise self.wrong(f"kind {kind!r} is not known", f"Use one of {', '.join(KINDS)}.")
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
            kind=kind,
            cadence=cadence,
            lag_days=self.days(document, "latency"),
            retention_days=self.days(document, "retention"),
            first_period=first_period,
            format=layout,
            tables=tables,
            statline=self.statline(custom),
            path=self.path,
            is_stock=custom.get("referenceMoment") == "period_start",
            lag_reason=str(custom.get("lagReason") or ""),
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
