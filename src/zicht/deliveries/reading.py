"""Reads the tables of a delivery into an engine of their own, with the contract's types.

A delivery is first taken to be sound: one pass over a file types the rows and writes what becomes
``raw/``, and every rule about a single row is asked of that. At the first row that may break a rule
this is given up (:class:`Doubt`), and the file is loaded again as a table with, per row, its number
and a mark; gate 1 then names rows among those that are marked. What may hold direct identifiers is
replaced by its keyed hash while it is read, so the original is never stored.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from zicht.contracts import Column, Contract, FileFormat, Table
from zicht.deliveries.formats import Delivered, delivered_table, run_reading
from zicht.deliveries.package import Descriptor
from zicht.errors import DeliveryError
from zicht.files import remove_tree
from zicht.settings import Settings
from zicht.sql import literal, quoted

# DuckDB's cast takes more than a number: it rounds 1.5 to 2, and reads 1_000, 0x10, nan and inf.
# Of decimals two zeros at most: 1.000 is a thousand to who writes Dutch.
_INTEGER = r"[+-]?[0-9]+(?:{mark}0{{1,2}})?"
# An exponent of two digits at most: what is larger than a number can be is infinite to DuckDB.
_NUMBER = r"[+-]?[0-9]+(?:{mark}[0-9]+)?(?:[eE][+-]?[0-9]{{1,2}})?"
_ISO = "%Y-%m-%d"
_BLOCK = 64
# A low level of zstd, as the higher ones save next to nothing on such tables. No Bloom filters, as
# nobody looks up single rows.
PARQUET = "(format parquet, compression zstd, compression_level 1, write_bloom_filter false)"
_DIGIT = "[0-9]"
_PLAIN_DATES = {
    "%Y%m%d": "[12]" + 7 * _DIGIT,
    _ISO: "[12]" + 3 * _DIGIT + "-" + 2 * _DIGIT + "-" + 2 * _DIGIT,
}
"""Forms of date that a cheaper function than ``strptime`` reads, as a glob that says it all."""
_NUMBERED_KEY = re.compile(r"[A-Za-z]\[0-9\]\{([1-9])\}")
_NARROW = {"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER"}
_WIDENED = {"BIGINT": _NARROW, "DOUBLE": {*_NARROW, "FLOAT", "DECIMAL"}}
"""Types of a Parquet file that hold nothing which the contract's type does not."""

Usual = Mapping[str, Mapping[str, Any]]
"""Per table what was counted in the last delivery: ``rows``, and ``regions`` by region column."""

Marks = Mapping[str, Sequence[str]]
"""Per column of a table conditions of which one holds for every row that breaks a rule there."""


class Doubt(Exception):
    """Something in a delivery that was taken to be sound may break a rule: look closely."""


@dataclass
class Loaded:
    """The tables of one delivery in an engine in memory.

    Per table of the contract there are ``<table>`` (typed, with the row number ``_row``, the first
    data row being 1, and ``_is_faulty``), ``delivered_<table>`` (no rows: the columns that were
    delivered) and ``as_written_<table>`` (rows that hold a value not of its type, as text). Beside
    them ``codes`` (the geography code list, with ``existed``), ``usual`` and ``redivided``.

    Of a delivery that was read as sound, ``<table>`` is the Parquet file that was written: without
    a row that is faulty, or two with one key.

    Attributes:
        name: address of the database within this process.
        connection: to it; the database is gone when the last connection is closed.
        rows: number of rows per table.
        delivered: per table the columns that were delivered. Those that are not in the contract
            are in ``odd_<table>``, as text.
        folder: where the Parquet file per table lies of a delivery that was read as sound.
        looks: what came of a look at each of these, once it is done.
    """

    name: str
    connection: duckdb.DuckDBPyConnection
    rows: Mapping[str, int]
    delivered: Mapping[str, Sequence[str]]
    folder: Path | None = None
    looks: Sequence[Future[None]] = ()

    @property
    def is_taken_as_sound(self) -> bool:
        """Whether the tables are files written in one pass, which may yet turn out in doubt."""
        return self.folder is not None

    def written(self) -> Path:
        """The folder with the Parquet file per table of a delivery that was read as sound.

        Raises:
            Doubt: if some row may break a rule.
        """
        for look in self.looks:
            look.result()
        if self.folder is None:
            raise Doubt
        return self.folder

    def profile(self, contract: Contract) -> dict[str, dict[str, Any]]:
        """What the next delivery is compared with; see :data:`Usual`."""
        return {
            table.name: {
                "rows": self.rows[table.name],
                "regions": {
                    column: dict(
                        self.connection.execute(
                            "select trim(code), cast(sum(n) as bigint) from "
                            f"(select {quoted(column)} as code, count(*) as n from {table.name} "
                            "group by 1) where code is not null group by 1 order by 1"
                        ).fetchall()
                    )
                    for column in (usual.column for usual in table.usual)
                    if column is not None
                },
            }
            for table in contract.tables
            if table.usual
        }


def _form(column: Column, layout: FileFormat) -> str | None:
    mark = r"\." if layout.decimal_mark == "." else ","
    match column.sql_type:
        case "BIGINT":
            return _INTEGER.format(mark=mark)
        case "DOUBLE":
            return _NUMBER.format(mark=mark)
        case "BOOLEAN":
            return "0|1|true|false"
        case "VARCHAR" if column.is_pseudonymised:
            return column.pattern
    return None


def _load_key(connection: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Puts the two pads of HMAC where SQL finds them; no statement ever holds the key."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    connection.execute("create table pads (inner_pad blob, outer_pad blob)")
    connection.execute(
        "insert into pads values (?, ?)",
        [bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)],
    )


def _hashed(text: str) -> str:
    """HMAC-SHA256 (RFC 2104) of a text in UTF-8, its first 128 bits in hexadecimal."""
    inner = f"sha256((select inner_pad from pads) || encode({text}))"
    return f"substring(sha256((select outer_pad from pads) || from_hex({inner})), 1, 32)"


def _text(column: Column) -> str:
    return f"nullif(trim(cast({quoted(column.name)} as varchar)), '')"


def _value(
    column: Column, layout: FileFormat, delivered_type: str, *, or_fail: bool = False
) -> str:
    """The typed value of a delivered column; null where it is not of its type.

    Args:
        or_fail: have the statement fail instead where something else stands there. As the last
            branch: DuckDB then looks at the few rows only that no other branch took.
    """
    name, text = quoted(column.name), _text(column)
    last = f" when {text} is not null then error('a value is in doubt')" if or_fail else ""
    if delivered_type != "VARCHAR":
        plain = delivered_type.split("(")[0]
        if plain == column.stored_type:
            return name
        if plain in _WIDENED.get(column.stored_type, ()):
            return f"cast({name} as {column.stored_type})"
        return f"cast(case{last or ' when false then null'} end as {column.stored_type})"
    form = _form(column, layout)
    if column.is_pseudonymised:
        if form is None:
            return _hashed(text)
        fits = f"regexp_full_match({text}, {literal(form)})"
        return f"case when {fits} then {_hashed(text)}{last} end"
    if column.sql_type == "VARCHAR":
        return name
    cast = "cast" if or_fail else "try_cast"
    if column.sql_type == "DATE":
        return f"case {_dates(column, or_fail=or_fail)}{last} end"
    if form is None:
        return _number(text, column, layout, cast)
    # As it stands first: only what is padded or empty has to be trimmed.
    return (
        f"case when regexp_full_match({name}, {literal(form)}) "
        f"then {_number(name, column, layout, cast)} "
        f"when {name} is not null and regexp_full_match({text}, {literal(form)}) "
        f"then {_number(text, column, layout, cast)}{last} end"
    )


def _number(text: str, column: Column, layout: FileFormat, cast: str) -> str:
    pointed = text if layout.decimal_mark == "." else f"replace({text}, ',', '.')"
    return f"{cast}({pointed} as {column.sql_type})"


def _dates(column: Column, *, or_fail: bool) -> str:
    """The branches of a case that read a date in its form."""
    name, text = quoted(column.name), _text(column)
    written = column.date_format or _ISO
    parse = "strptime" if or_fail else "try_strptime"
    # strptime is strict but for leading zeros, which it does not ask for, and for "infinity".
    length = 8 if written == "%Y%m%d" else 10
    strict = (
        f"when length({text}) = {length} and {text} glob '[0-9]*' "
        f"then cast({parse}({text}, {literal(written)}) as date)"
    )
    if written not in _PLAIN_DATES:
        return strict
    number = f"cast({name} as integer)"
    quick = (
        f"make_date({number} // 10000, {number} // 100 % 100, {number} % 100)"
        if written == "%Y%m%d"
        else f"cast({name} as date)"
    )
    day = quick if or_fail else f"try({quick})"
    return f"when {name} glob '{_PLAIN_DATES[written]}' then {day} {strict}"


def _typed(table: Table, delivered: Delivered, layout: FileFormat) -> tuple[str, list[Column]]:
    """The typed columns of a table as a list for ``select``, and the columns that are there."""
    there = [column for column in table.columns if column.name in delivered.types]
    values = ", ".join(
        f"{_value(c, layout, delivered.types[c.name])} as {quoted(c.name)}"
        if c in there
        else f"cast(null as {c.stored_type}) as {quoted(c.name)}"
        for c in table.columns
    )
    return values, there


def _can_fail(column: Column, delivered: Delivered) -> bool:
    """Whether a delivered value may not be of the type of its column."""
    kind = delivered.types[column.name]
    if kind == "VARCHAR":
        return column.sql_type != "VARCHAR" or column.is_pseudonymised
    plain = kind.split("(")[0]
    return plain != column.stored_type and plain not in _WIDENED.get(column.stored_type, ())


def _load_table(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    delivered: Delivered,
    layout: FileFormat,
    path: Path,
    marks: Marks,
) -> int:
    """Fills the three relations of a table; returns its number of rows."""
    values, there = _typed(table, delivered, layout)
    untyped = [
        f"{_text(c)} is not null and {_value(c, layout, delivered.types[c.name])} is null"
        for c in there
        if _can_fail(c, delivered)
    ]
    is_untyped = " or ".join(untyped) or "false"
    faults = [f"({mark})" for of_column in marks.values() for mark in of_column]
    is_faulty = " or ".join(faults) or "false"
    run_reading(
        connection,
        f"create table loaded_{table.name} as "
        f"select *, _is_untyped or coalesce({is_faulty}, false) as _is_faulty from "
        f"(select {values}, {is_untyped} as _is_untyped from ({delivered.query}))",
        path,
        layout,
    )
    connection.execute(
        f"create view {table.name} as select rowid + 1 as _row, * exclude (_is_untyped) "
        f"from loaded_{table.name}"
    )
    _note_columns(connection, table, delivered)
    written = ", ".join(
        f"cast({quoted(c.name)} as varchar) as {quoted(c.name)}"
        if c in there
        else f"cast(null as varchar) as {quoted(c.name)}"
        for c in table.columns
    )
    # Only now and then a file is read a second time, for the words that did not fit.
    faulty = f"select rowid + 1 from loaded_{table.name} where _is_untyped"
    any_untyped = connection.execute(f"{faulty} limit 1").fetchone() is not None
    connection.execute(
        f"create table as_written_{table.name} as select _row, {written} from "
        f"(select row_number() over () as _row, * from ({delivered.query})) "
        + (f"where _row in ({faulty})" if any_untyped else "limit 0")
    )
    odd = [name for name in delivered.names if name not in {c.name for c in table.columns}]
    if odd:
        as_text = ", ".join(f"cast({quoted(name)} as varchar) as {quoted(name)}" for name in odd)
        connection.execute(
            f"create table odd_{table.name} as select row_number() over () as _row, {as_text} "
            f"from ({delivered.query})"
        )
    count = connection.execute(f"select count(*) from loaded_{table.name}").fetchone()
    return int(count[0]) if count else 0


def _note_columns(
    connection: duckdb.DuckDBPyConnection, table: Table, delivered: Delivered
) -> None:
    columns = ", ".join(f"cast(null as varchar) as {quoted(name)}" for name in delivered.names)
    connection.execute(f"create table delivered_{table.name} as select {columns} limit 0")


def _write_sound(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    delivered: Delivered,
    layout: FileFormat,
    path: Path,
    target: Path,
) -> int:
    """Writes the file as Parquet, row by row as it stands; returns its number of rows.

    Raises:
        Doubt: at the first value that is not of its type, or when the file cannot be read at all.
    """
    if set(delivered.names) != {column.name for column in table.columns} or not table.keys:
        raise Doubt
    # Said in the list of columns and not in a filter, which DuckDB would move to where the text is
    # and so type every value twice.
    values = ", ".join(
        f"{_value(c, layout, delivered.types[c.name], or_fail=True)} as {quoted(c.name)}"
        for c in table.columns
    )
    try:
        run_reading(
            connection,
            f"copy (select {values} from ({delivered.query})) to {literal(str(target))} {PARQUET}",
            path,
            layout,
        )
        count = connection.execute(f"select count(*) from {_written(target)}").fetchone()
    except (DeliveryError, duckdb.Error) as error:
        raise Doubt from error
    columns = ", ".join(quoted(column.name) for column in table.columns)
    connection.execute(
        f"create view {table.name} as select file_row_number + 1 as _row, {columns}, "
        f"false as _is_faulty from read_parquet({literal(str(target))}, "
        "hive_partitioning = false, file_row_number = true)"
    )
    _note_columns(connection, table, delivered)
    empty = ", ".join(f"cast(null as varchar) as {quoted(c.name)}" for c in table.columns)
    connection.execute(
        f"create table as_written_{table.name} as select cast(null as bigint) as _row, {empty} "
        "limit 0"
    )
    return int(count[0]) if count else 0


def _written(target: Path) -> str:
    return f"read_parquet({literal(str(target))}, hive_partitioning = false)"


def _look(connection: duckdb.DuckDBPyConnection, table: Table, target: Path, marks: Marks) -> None:
    """Asks of a file that was written here every rule about a single row, and for keys twice.

    Raises:
        Doubt: if one may be broken.
    """
    written = _written(target)
    try:
        in_doubt = _has_mark(connection, table, written, marks) or _repeats(
            connection, table, written, marks
        )
    except duckdb.Error as error:
        raise Doubt from error
    if in_doubt:
        raise Doubt


def _is_listed(column: Column) -> bool:
    """Whether its values are of an agreed list, with which they are compared as they stand."""
    return bool(column.values or column.region_levels) and not column.is_pseudonymised


def _has_mark(
    connection: duckdb.DuckDBPyConnection, table: Table, written: str, marks: Marks
) -> bool:
    """Whether some row is marked, but for what :func:`_repeats` looks at.

    One scan per mark: DuckDB answers most from the statistics of a file that it wrote itself, and
    of a column with few values it looks at the dictionary only.
    """
    looked_at = {column.name for column in table.columns if column.is_key} - {
        column.name for column in table.columns if _is_listed(column)
    }
    scans = [
        f"(select 1 from {written} where {mark} limit 1)"
        for name, of_column in marks.items()
        if name not in looked_at
        for mark in of_column
    ]
    return bool(scans) and connection.execute(" union all ".join(scans)).fetchone() is not None


def _repeats(
    connection: duckdb.DuckDBPyConnection, table: Table, written: str, marks: Marks
) -> bool:
    """Whether two rows may have one key: equal keys have equal hashes.

    The hashes are sorted here, eight bytes per row: an engine that groups by them takes three
    times as long. A padded key would be the same as one that is not, and has another hash.

    Raises:
        duckdb.Error: when a key is marked or may be padded.
    """
    keys = [column for column in table.columns if column.is_key]
    unlisted = [column for column in keys if not _is_listed(column)]
    doubts = [f"({mark})" for column in unlisted for mark in marks.get(column.name, ())]
    doubts += [
        f"({_may_be_padded(column)})" for column in unlisted if column.stored_type == "VARCHAR"
    ]
    key = f"hash({', '.join(quoted(column.name) for column in keys)})"
    is_doubtful = " or ".join(doubts) or "false"
    found = connection.execute(
        f"select case when {is_doubtful} then error('a key is in doubt') else {key} end as key "
        f"from {written}"
    ).fetchnumpy()
    hashes = np.sort(np.asarray(found["key"]))
    return bool(np.any(hashes[1:] == hashes[:-1]))


def _may_be_padded(column: Column) -> str:
    name = quoted(column.name)
    form = None if column.is_pseudonymised else _NUMBERED_KEY.fullmatch(column.pattern or "")
    # A letter and digits, as its mark says, leave no room for a blank; trimming takes longer.
    return f"strlen({name}) <> {int(form[1]) + 1}" if form else f"{name} <> trim({name})"


def _load_geography(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    first: date,
    last: date,
    since: date,
) -> None:
    """The code list with ``existed`` in the days first to last; codes redivided since a day."""
    folder = settings.dbt_project / "seeds" / "geography"
    codes, transitions = (
        f"read_csv({literal(str(folder / name))}, all_varchar=true, header=true, delim=',', "
        "quote='\"', escape='\"')"
        for name in ("geography_codes.csv", "municipality_transitions.csv")
    )
    connection.execute(
        "create table codes as select region_code, region_level, "
        f"coalesce(cast(valid_from as date) <= date '{last}', true) "
        f"and coalesce(cast(valid_to as date) > date '{first}', true) as existed from {codes}"
    )
    low, high = sorted((since, last))
    connection.execute(
        "create table redivided as select distinct unnest([old_code, new_code]) as region_code "
        f"from {transitions} where cast(valid_from as date) between date '{low}' and date '{high}'"
    )


def _load_usual(connection: duckdb.DuckDBPyConnection, usual: Usual) -> None:
    connection.execute(
        "create table usual (table_name varchar, column_name varchar, region_code varchar, "
        "n bigint)"
    )
    rows: list[tuple[str, str | None, str | None, int]] = []
    for table, counted in usual.items():
        rows.append((table, None, None, counted["rows"]))
        for column, regions in counted["regions"].items():
            rows += [(table, column, region, n) for region, n in regions.items()]
    if rows:
        connection.executemany("insert into usual values (?, ?, ?, ?)", rows)


@contextmanager
def loaded_delivery(
    settings: Settings,
    contract: Contract,
    folder: Path,
    descriptor: Descriptor,
    *,
    faults: Mapping[str, Marks],
    usual: Usual,
    usual_since: date,
    key: bytes | None = None,
    sound: bool = False,
) -> Iterator[Loaded]:
    """Loads the delivery in ``folder`` into an engine in memory, for gate 1 and for ``raw/``.

    Args:
        faults: per table the conditions on typed columns that mark a row that breaks a rule.
        usual: what was counted in the delivery to compare with; empty without one.
        usual_since: the day that the latter described.
        key: of the agreement, for columns that a keyed hash replaces.
        sound: write the tables while they are read, and look at what was written meanwhile.

    Raises:
        Doubt: with ``sound``, when some value is not of its type.
        DeliveryError: Z-DEL-020 to Z-DEL-026 when a file cannot be read at all.
    """
    scratch = settings.scratch / f"intake-{contract.source}"
    remove_tree(scratch)
    scratch.mkdir(parents=True)
    name = f":memory:{contract.source}_{uuid.uuid4().hex}"
    paths = {resource.name: folder / resource.path for resource in descriptor.resources}
    period = descriptor.reference_period
    first, last = period.start, period.end
    if contract.is_stock:
        first = last = contract.reference_day(period)
    try:
        with duckdb.connect(name) as connection, ThreadPoolExecutor(max_workers=1) as executor:
            connection.execute(f"set temp_directory = {literal(str(scratch / 'spill'))}")
            _load_usual(connection, usual)
            # While the first table is written; a look at what was written comes behind it.
            geography = executor.submit(
                _load_geography, connection.cursor(), settings, first, last, usual_since
            )
            if not sound:
                geography.result()
            if key is not None:
                _load_key(connection, key)
            rows: dict[str, int] = {}
            names: dict[str, Sequence[str]] = {}
            looks: list[Future[None]] = []
            written = scratch / "parquet" if sound else None
            if written is not None:
                written.mkdir()
            for table in contract.tables:
                path, layout, marks = paths[table.name], contract.format, faults[table.name]
                delivered = delivered_table(connection, path, table, layout, scratch)
                names[table.name] = delivered.names
                if written is None:
                    n_rows = _load_table(connection, table, delivered, layout, path, marks)
                else:
                    target = written / f"{table.name}.parquet"
                    n_rows = _write_sound(connection, table, delivered, layout, path, target)
                    # While the next table is written, and gate 1 asks its own questions.
                    look = executor.submit(_look, connection.cursor(), table, target, marks)
                    looks.append(look)
                rows[table.name] = n_rows
            if key is not None:
                connection.execute("drop table pads")
            geography.result()
            yield Loaded(name, connection, rows, names, written, looks)
    finally:
        remove_tree(scratch)


def write_parquet(connection: duckdb.DuckDBPyConnection, table: Table, target: Path) -> None:
    """Writes a typed table as Parquet in the order that it was delivered in.

    The order also fixes where one row group ends and the next begins, so that equal deliveries are
    equal bytes with any number of threads.
    """
    columns = ", ".join(quoted(column.name) for column in table.columns)
    connection.execute(
        f"copy (select {columns} from loaded_{table.name}) to {literal(str(target))} {PARQUET}"
    )


def write_empty_parquet(table: Table, target: Path) -> None:
    """Writes a Parquet file without rows: dbt can then read a source that has no delivery yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(
        f"cast(null as {column.stored_type}) as {quoted(column.name)}" for column in table.columns
    )
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select {columns} limit 0) to {literal(str(target))} (format parquet)"
        )
