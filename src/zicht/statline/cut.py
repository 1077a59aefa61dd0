"""Pure functions that turn the rows of a StatLine table into the bytes of deliveries."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from zicht.deliveries.package import ObservationStatus
from zicht.errors import ConfigurationError, RemoteError
from zicht.periods import Period
from zicht.statline.client import Row, Value

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STATUSES = {
    "definitief": ObservationStatus.FINAL,
    "voorlopig": ObservationStatus.PROVISIONAL,
    "nadervoorlopig": ObservationStatus.PROVISIONAL,
}
DELIMITER = ";"


@dataclass(frozen=True)
class StatLineSource:
    """What of a StatLine table is taken, and under which name it is delivered.

    Attributes:
        source: name of the contract, which is also the folder in landing.
        table: identifier at CBS, for example ``83648NED``.
        table_name: name of the table in the contract; the file is ``<table_name>.csv``.
        columns: columns at CBS in the order in which they are delivered.
        period_column: the time dimension.
        region_column: the geographic dimension.
        first_period: earlier periods, and periods of another length, are left out.
        contract_version: version of the contract that the deliveries follow.
        status_column: the dimension that says final or provisional, if the table has one;
            otherwise the status of the period counts.
        filters: per dimension column the one code (without padding) whose rows are taken.

    Raises:
        ConfigurationError: Z-CFG-061 if the parts do not fit together.
    """

    source: str
    table: str
    table_name: str
    columns: tuple[str, ...]
    period_column: str
    region_column: str
    first_period: Period
    contract_version: str
    status_column: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.source, self.table, self.table_name):
            if not _NAME.fullmatch(name):
                raise self._wrong(f"{name!r} is not a plain name")
        for column in (*self.columns, *self.filters):
            if not _COLUMN.fullmatch(column):
                raise self._wrong(f"{column!r} cannot be the name of a column")
        if len(set(self.columns)) != len(self.columns):
            raise self._wrong("a column is listed twice")
        needed = [self.period_column, self.region_column]
        needed += [self.status_column] if self.status_column else []
        for column in needed:
            if column not in self.columns:
                raise self._wrong(f"column {column!r} is not among its columns")

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"The StatLine table {self.table!r} of source {self.source!r} cannot be fetched: "
            f"{what}.",
            code="Z-CFG-061",
            remedy="Correct the contract of this source.",
        )


@dataclass(frozen=True, order=True)
class Cut:
    """One period with one status: what one delivery describes."""

    period: Period
    status: ObservationStatus

    def __str__(self) -> str:
        """For people: ``2024 provisional``."""
        return f"{self.period} {self.status.value}"


@dataclass(frozen=True)
class CutContent:
    """The rows of one cut: how many, whether any has a figure, and the file that is delivered."""

    n_rows: int
    has_figures: bool
    payload: bytes


@dataclass(frozen=True)
class CutTable:
    """A table, cut.

    Attributes:
        contents: per cut its rows, in order of period and status; the bytes are made on asking.
        n_rows: rows read, those left out included.
        n_left_out: rows of earlier periods or of periods of another length.
    """

    contents: Mapping[Cut, Callable[[], CutContent]]
    n_rows: int
    n_left_out: int


def parse_status(text: str | None, where: str) -> ObservationStatus:
    """Reads the status words of CBS; ``NaderVoorlopig`` (revised, not final) is provisional.

    Args:
        text: the word, in any case, with or without padding.
        where: what it is the status of, for the message.

    Raises:
        RemoteError: Z-NET-003 for no or another word.
    """
    status = _STATUSES.get((text or "").strip().lower())
    if status is None:
        raise RemoteError(
            f"{where} has status {text!r}, which is none of Definitief, Voorlopig and "
            "NaderVoorlopig.",
            code="Z-NET-003",
            remedy="If the table says it in a column of its own, name that as status column in "
            "the contract.",
        )
    return status


def format_value(value: Value) -> str:
    """Writes a cell: numbers without exponent and without needless zeros, missing as nothing.

    Text is left untouched, padding included.

    Raises:
        TypeError: for a value that a table cannot hold.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"{value!r} cannot stand in a table")
    if isinstance(value, int):
        return str(value)
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _line(values: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=DELIMITER, lineterminator="\n").writerow(values)
    return buffer.getvalue()


@dataclass
class _Pile:
    """Rows of one cut while the table is read; lines are text already, to be small in memory."""

    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    has_figures: bool = False

    def content(self, header: str) -> CutContent:
        self.rows.sort()
        payload = (header + "".join(line for _, line in self.rows)).encode("utf-8")
        return CutContent(len(self.rows), self.has_figures, payload)


def cut_table(
    contract: StatLineSource,
    rows: Iterable[Row],
    measures: frozenset[str],
    period_statuses: Mapping[str, str | None],
) -> CutTable:
    """Divides rows over periods and statuses.

    Args:
        contract: which columns and periods are wanted.
        rows: rows of ``TypedDataSet`` with at least the columns of the contract.
        measures: the columns that hold figures; the others are the key, and sort the rows.
        period_statuses: per period code the status of the period, used when the contract has no
            status column.

    Raises:
        RemoteError: Z-NET-003 if a row lacks a column, or a period or status cannot be read.
    """
    keys = [i for i, column in enumerate(contract.columns) if column not in measures]
    figures = [i for i, column in enumerate(contract.columns) if column in measures]
    piles: dict[Cut, _Pile] = {}
    cuts: dict[tuple[str, str], Cut | None] = {}
    n_rows = n_left_out = 0
    for row in rows:
        n_rows += 1
        try:
            values = [format_value(row[column]) for column in contract.columns]
        except (KeyError, TypeError) as error:
            raise RemoteError(
                f"TypedDataSet of {contract.table}: row {n_rows} is not what was expected: "
                f"{error!r}.",
                code="Z-NET-003",
                remedy="If CBS changed the columns of the table, the contract has to follow.",
            ) from error
        code = str(row[contract.period_column])
        own_status = str(row[contract.status_column]) if contract.status_column else ""
        if (code, own_status) not in cuts:
            cuts[code, own_status] = _cut(contract, code, own_status, period_statuses)
        cut = cuts[code, own_status]
        if cut is None:
            n_left_out += 1
            continue
        pile = piles.setdefault(cut, _Pile())
        # The same few codes come back in every row: kept once.
        pile.rows.append((tuple(sys.intern(values[i]) for i in keys), _line(values)))
        pile.has_figures = pile.has_figures or any(values[i] for i in figures)
    header = _line(contract.columns)
    return CutTable(
        contents={cut: _once(piles[cut], header) for cut in sorted(piles)},
        n_rows=n_rows,
        n_left_out=n_left_out,
    )


def _once(pile: _Pile, header: str) -> Callable[[], CutContent]:
    return lambda: pile.content(header)


def _cut(
    contract: StatLineSource,
    code: str,
    own_status: str,
    period_statuses: Mapping[str, str | None],
) -> Cut | None:
    """The cut that a row belongs to; nothing if the contract leaves its period out."""
    try:
        period = Period.from_statline(code)
    except ValueError:
        # School years and averages over several years have codes of their own.
        return None
    if period.cadence is not contract.first_period.cadence or period < contract.first_period:
        return None
    where = f"Period {code.strip()} of {contract.table}"
    status = own_status if contract.status_column else period_statuses.get(code.strip())
    return Cut(period, parse_status(status, where))
