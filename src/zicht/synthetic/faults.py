"""The catalogue of faults: the ways in which a delivery can be wrong, and how to make it so.

A fault is planted in a copy of a good delivery of any size, in the format of its source. What the
platform must answer stands beside it; the reference page on faults is made from this table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from zicht.contracts import Column, Contract, Table
from zicht.deliveries.formats import delivered_table
from zicht.deliveries.package import DESCRIPTOR, Descriptor, read_descriptor, write_delivery
from zicht.errors import UsageError
from zicht.periods import Period
from zicht.sql import literal, quoted
from zicht.synthetic.writing import assemble, write_fragment

ANY = "…"
"""Stands in a message or remedy for what differs from one delivery to the next."""
_KEY = re.compile(r"(?P<letters>[A-Z]|\[[A-Z]+\])\[0-9\]\{9\}")
_SUFFIX = {"csv": "csv", "fixed_width": "txt", "parquet": "parquet"}
_BOMB_BYTES = 257 << 20
_CHUNK = 1 << 20


class Outcome(StrEnum):
    """What becomes of a delivery with the fault."""

    KEPT = "refused, content kept"
    DESTROYED = "refused, content destroyed"
    UNCHANGED = "noted as unchanged"
    WAITS = "waits in landing"


@dataclass(frozen=True)
class Spot:
    """Where in a delivery a fault can sit: a table and, for some faults, a column of it."""

    table: Table
    column: Column | None = None

    @property
    def name(self) -> str:
        """The column, quoted for SQL."""
        assert self.column is not None
        return quoted(self.column.name)


@dataclass
class Draft:
    """A good delivery laid open: a table per file, with the row number ``_n``; text but in Parquet.

    Attributes:
        contract: of the source.
        descriptor: of the good delivery.
        connection: to the engine that holds the tables.
        spot: where the fault sits.
        seed: another seed, another row.
        tables: how each file is written; may lack or have a column.
        encoding: in which text is written.
    """

    contract: Contract
    descriptor: Descriptor
    connection: duckdb.DuckDBPyConnection
    spot: Spot
    seed: int
    tables: dict[str, Table]
    encoding: str

    def run(self, statement: str) -> None:
        """Executes a statement; ``{t}`` and ``{c}`` stand for the table and column of the spot."""
        column = self.spot.name if self.spot.column else ""
        self.connection.execute(statement.replace("{t}", self.table).replace("{c}", column))

    @property
    def table(self) -> str:
        """Name of the table of the spot."""
        return self.spot.table.name

    @property
    def any_row(self) -> str:
        """Condition that holds for one row whose column, if the fault has one, is filled."""
        filled = f"{self.spot.name} is not null" if self.spot.column else "true"
        chosen = f"select _n from {self.table} where {filled}"
        return f"_n = ({chosen} order by hash(_n + {self.seed}), _n limit 1)"

    def written(self, day: date) -> str:
        """A day as the column of the spot is written."""
        form = self.spot.column.date_format if self.spot.column else None
        return literal(day.strftime(form or "%Y-%m-%d"))


Where = Callable[[Contract], Spot | None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault; the name is its key in :data:`FAULTS`.

    Attributes:
        what: what is wrong, in a few words.
        code: of the reason in the report; empty when the delivery is not refused.
        message: what the report says, :data:`ANY` where it differs; empty without a report.
        remedy: what the report advises, likewise.
        outcome: what becomes of the delivery.
        where: where in a delivery of a source it can sit; None for sources that cannot have it.
        also: codes of what else is wrong then, at times.
        rows: edits the rows.
        plain: edits the file of the spot as its source writes it, outside its archive.
        packed: edits the file of the spot as it lies in the delivery.
        fields: what the descriptor says otherwise.
        folder: edits the finished delivery; gets the file name of the spot.
        needs_model: whether the good delivery has to be accepted before.
    """

    what: str
    code: str
    message: str
    remedy: str
    outcome: Outcome = Outcome.KEPT
    where: Where = field(default=lambda contract: Spot(_leaf(contract)))
    also: frozenset[str] = frozenset()
    rows: Callable[[Draft], None] | None = None
    plain: Callable[[Path], None] | None = None
    packed: Callable[[Path], None] | None = None
    fields: Callable[[Descriptor], Mapping[str, Any]] | None = None
    folder: Callable[[Path, str], None] | None = None
    needs_model: bool = False

    def fits(self, contract: Contract) -> bool:
        """Whether a delivery of this source can have the fault."""
        return self.where(contract) is not None


# Where a fault can sit.


def _referenced(contract: Contract) -> set[str]:
    """Tables that another one refers to: rows that leave them break what refers."""
    return {
        column.references[0]
        for table in contract.tables
        for column in table.columns
        if column.references is not None
    }


def _leaves(contract: Contract) -> list[Table]:
    referenced = _referenced(contract)
    return [table for table in contract.tables if table.name not in referenced]


def _leaf(contract: Contract) -> Table:
    return _leaves(contract)[0]


def _column(test: Callable[[Column], bool], *kinds: str) -> Where:
    """The first column for which a test holds, and that nothing refers to."""

    def where(contract: Contract) -> Spot | None:
        if kinds and contract.format.kind not in kinds:
            return None
        columns = [(t, c) for t in contract.tables for c in t.columns]
        referenced = {column.references for _, column in columns}
        return next(
            (Spot(t, c) for t, c in columns if test(c) and (t.name, c.name) not in referenced),
            None,
        )

    return where


def _file(test: Callable[[Contract], bool]) -> Where:
    return lambda contract: Spot(_leaf(contract)) if test(contract) else None


def _kind(*kinds: str) -> Where:
    return _file(lambda contract: contract.format.kind in kinds)


def _zipped(contract: Contract) -> Spot | None:
    return Spot(_leaf(contract)) if contract.format.is_zipped else None


def _is_free_text(column: Column) -> bool:
    agreed = column.pattern or column.values or column.region_levels or column.references
    return column.sql_type == "VARCHAR" and not agreed and not column.is_pseudonymised


def _labels(contract: Contract) -> Spot | None:
    """Free text that does not say whether a case is settled."""
    for table in _leaves(contract):
        state = table.settled.column if table.settled else ""
        for column in table.columns:
            if _is_free_text(column) and column.name != state:
                return Spot(table, column)
    return None


def _is_key_of(letter: str) -> Callable[[Column], bool]:
    def test(column: Column) -> bool:
        match = _KEY.fullmatch(column.pattern or "")
        own = match is not None and letter in match["letters"]
        return own and column.references is None and not column.is_pseudonymised

    return test


def _is_required_text(column: Column) -> bool:
    return column.sql_type == "VARCHAR" and column.required and not column.region_levels


def _is_pseudonym(column: Column) -> bool:
    return bool(_KEY.fullmatch(column.pattern or "")) and column.references is None


def _has_room(column: Column, signs: int = 11) -> bool:
    return column.position is None or column.position[1] >= signs


def _holds_large_numbers(column: Column) -> bool:
    is_number = column.sql_type in ("BIGINT", "DOUBLE")
    return is_number and column.maximum is None and _has_room(column, 9)


def _settled(contract: Contract) -> Spot | None:
    for table in contract.tables:
        for column in table.columns:
            if table.settled is not None and column.name == table.settled.column:
                return Spot(table, column)
    return None


def _usual_rows(contract: Contract) -> Spot | None:
    tables = (t for t in _leaves(contract) if any(u.column is None for u in t.usual))
    return next((Spot(table) for table in tables), None)


def _usual_regions(contract: Contract) -> Spot | None:
    for table in _leaves(contract):
        counted = {usual.column for usual in table.usual}
        has_own_key = any(c.is_key and _is_pseudonym(c) for c in table.columns)
        for column in table.columns:
            if column.name in counted and has_own_key:
                return Spot(table, column)
    return None


def _references(contract: Contract) -> Spot | None:
    for table in contract.tables:
        for column in table.columns:
            if column.references is not None:
                return Spot(table, column)
    return None


def _interchangeable(table: Table) -> tuple[Column, Column] | None:
    """A key and another pseudonym of the same width and of another letter."""
    keys = [c for c in table.columns if c.is_key and _is_pseudonym(c)]
    others = [c for c in table.columns if not c.is_key and _is_pseudonym(c)]
    pairs = ((k, o) for k in keys for o in others if k.pattern != o.pattern)
    return next(pairs, None)


def _two_pseudonyms(contract: Contract) -> Spot | None:
    return next((Spot(t) for t in _leaves(contract) if _interchangeable(t)), None)


# What a fault does.


def _sets(value: str) -> Callable[[Draft], None]:
    """Puts a value (SQL) into one row."""
    return lambda draft: draft.run(f"update {{t}} set {{c}} = {value} where {draft.any_row}")


def _duplicate(draft: Draft) -> None:
    draft.run(
        "insert into {t} select * replace ((select max(_n) + 1 from {t}) as _n) from {t} "
        f"where {draft.any_row}"
    )


def _leave_one_out(draft: Draft) -> None:
    draft.run(f"delete from {{t}} where {draft.any_row}")


def _another_period(draft: Draft) -> None:
    day = draft.descriptor.reference_period.start - timedelta(days=1)
    draft.run(f"update {{t}} set {{c}} = {draft.written(day)}")


def _future_date(draft: Draft) -> None:
    day = draft.descriptor.reference_period.end + timedelta(days=400)
    draft.run(f"update {{t}} set {{c}} = {draft.written(day)} where {draft.any_row}")


def _impossible_date(draft: Draft) -> None:
    year = draft.descriptor.reference_period.year
    form = (draft.spot.column.date_format if draft.spot.column else None) or "%Y-%m-%d"
    text = form.replace("%Y", str(year)).replace("%m", "02").replace("%d", "30")
    draft.run(f"update {{t}} set {{c}} = {literal(text)} where {draft.any_row}")


def _service_numbers(form: str) -> Callable[[Draft], None]:
    """Replaces a whole column by numbers that pass the eleven-test, different for each value.

    The ninth digit of a service number is 9a+8b+7c+6d+5e+4f+3g+2h mod 11; where that is ten there
    is no such number. Source: Rijksdienst voor Identiteitsgegevens, elfproef. They begin with a
    nine, as those of test persons do; what there are not enough of stays as it is.

    Args:
        form: SQL of the value, with ``number`` for the nine digits.
    """
    total = " + ".join(f"{10 - n} * cast(substring(d, {n}, 1) as int)" for n in range(1, 9))

    def rows(draft: Draft) -> None:
        first = 90_000_000 + draft.seed % 1000 * 1000
        draft.run(
            "create table numbered as with olds as (select {c} as old, "
            "row_number() over (order by min(_n)) as i from {t} where {c} is not null "
            "group by {c}), "
            f"bases as (select cast({first} + unnest(range(2 * (select count(*) + 9 from olds))) "
            "as varchar) as d), "
            f"checked as (select d, ({total}) % 11 as last from bases where length(d) = 8), "
            "found as (select d || last as number, row_number() over (order by d) as i "
            "from checked where last < 10) "
            f"select old, {form} as new from olds inner join found using (i)"
        )
        draft.run("update {t} set {c} = new from numbered where {c} = old")

    return rows


def _label_service_numbers(draft: Draft) -> None:
    """As above in a text that is the same for many rows: a number for each row."""
    draft.run("update {t} set {c} = cast(_n as varchar)")
    _service_numbers(
        "substring(number, 1, 4) || '.' || substring(number, 5, 2) || '.' "
        "|| substring(number, 7, 3)"
    )(draft)


def _integer_service_numbers(draft: Draft) -> None:
    draft.run("update {t} set {c} = _n")
    _service_numbers("number")(draft)


def _tenth(draft: Draft) -> None:
    draft.run("delete from {t} where _n % 10 <> 1")


def _a_municipality(draft: Draft) -> str:
    """Condition that holds for the smallest municipality that is compared with the last time."""
    (usual,) = (u for u in draft.spot.table.usual if u.column is not None)
    row = draft.connection.execute(
        f"select {draft.spot.name} from {draft.table} group by 1 "
        f"having count(*) >= {usual.at_least} order by count(*), 1 limit 1"
    ).fetchone()
    if row is None:
        raise _does_not_fit(draft.contract, f"no municipality has {usual.at_least} rows")
    return f"{draft.spot.name} = {literal(str(row[0]))}"


def _municipality_missing(draft: Draft) -> None:
    draft.run(f"delete from {{t}} where {_a_municipality(draft)}")


def _municipality_doubled(draft: Draft) -> None:
    key = next(c.name for c in draft.spot.table.columns if c.is_key and _is_pseudonym(c))
    key = quoted(key)
    # Seven has no factor in common with a thousand million, so no two keys become one.
    number = f"(7 * cast(substring({key}, 2) as bigint) + 123456789 + {draft.seed}) % 1000000000"
    fresh = f"left({key}, 1) || lpad(cast({number} as varchar), 9, '0')"
    draft.run(
        f"insert into {{t}} select * replace ({fresh} as {key}, _n + (select max(_n) from {{t}}) "
        f"as _n) from {{t}} where {_a_municipality(draft)} "
        f"and {fresh} not in (select {key} from {{t}})"
    )


def _gone(draft: Draft) -> None:
    """Appingedam went into Eemsdelta in 2021; Dijk en Waard came in 2022."""
    code = "GM0003" if draft.descriptor.reference_period.year >= 2021 else "GM1980"
    _sets(literal(code))(draft)


def _decimal_marks(draft: Draft) -> None:
    comma = draft.contract.format.decimal_mark == ","
    _sets("'12.50'" if comma else "'12,50'")(draft)


def _swap(draft: Draft) -> None:
    pair = _interchangeable(draft.spot.table)
    assert pair is not None
    one, other = (quoted(column.name) for column in pair)
    draft.run(f"update {{t}} set {one} = {other}, {other} = {one} where {other} is not null")


def _extra_column(draft: Draft) -> None:
    draft.run("alter table {t} add column remark varchar default 'x'")
    table = draft.tables[draft.table]
    remark = Column("remark", "VARCHAR", False, False, "public")
    draft.tables[draft.table] = replace(table, columns=(*table.columns, remark))


def _extra_service_numbers(draft: Draft) -> None:
    _extra_column(draft)
    draft.spot = replace(draft.spot, column=draft.tables[draft.table].columns[-1])
    _label_service_numbers(draft)


def _open_and_other(draft: Draft) -> None:
    _sets("'under_investigation'")(draft)
    _extra_column(draft)


def _older_schema(draft: Draft) -> None:
    table = draft.tables[draft.table]
    draft.tables[draft.table] = replace(table, columns=table.columns[:-1])


def _other_type(draft: Draft) -> None:
    table = draft.tables[draft.table]
    assert draft.spot.column is not None
    name = draft.spot.column.name
    draft.tables[draft.table] = replace(
        table,
        columns=tuple(
            replace(column, sql_type="DOUBLE") if column.name == name else column
            for column in table.columns
        ),
    )


def _accents(encoding: str) -> Callable[[Draft], None]:
    def rows(draft: Draft) -> None:
        _sets("'é'")(draft)
        draft.encoding = encoding

    return rows


def _edit_line(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Edits the line of a number, counted from 0, of a file of any size."""
    edited = path.with_name(f"{path.name}.edited")
    with path.open("rb") as stream, edited.open("wb") as copy:
        for _ in range(number):
            copy.write(stream.readline())
        copy.write(change(stream.readline()))
        shutil.copyfileobj(stream, copy, _CHUNK)
    os.replace(edited, path)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _ragged(path: Path) -> None:
    _edit_line(path, 1, lambda line: line.replace(b";", b";;", 1))


def _trailing_separators(path: Path) -> None:
    edited = path.with_name(f"{path.name}.edited")
    with path.open("rb") as stream, edited.open("wb") as copy:
        copy.writelines(line.rstrip(b"\r\n") + b";\n" for line in stream)
    os.replace(edited, path)


def _shifted_line(path: Path) -> None:
    _edit_line(path, 0, lambda line: line[:12] + b" " + line[12:])


def _not_parquet(path: Path) -> None:
    path.write_text("this;is;text\n1;2;3\n")


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        member = archive.namelist()[0]
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(member, "w") as stream,
    ):
        for _ in range(_BOMB_BYTES // _CHUNK):
            stream.write(bytes(_CHUNK))


def _second_member(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "second file")


def _with_password(path: Path) -> None:
    """Sets the mark of a password in both headers of the member; nothing can then be read."""
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))


def _describe(change: Callable[[dict[str, Any], str], None]) -> Callable[[Path, str], None]:
    """Edits the descriptor; ``change`` gets the document and the file name of the spot."""

    def folder(path: Path, name: str) -> None:
        document = json.loads((path / DESCRIPTOR).read_text(encoding="utf-8"))
        change(document, name)
        (path / DESCRIPTOR).write_text(json.dumps(document, indent=2), encoding="utf-8")

    return folder


def _climb(document: dict[str, Any], name: str) -> None:
    for resource in document["resources"]:
        if resource["path"] == name:
            resource["path"] = f"../../{name}"


def _drop_table(document: dict[str, Any], name: str) -> None:
    document["resources"] = [r for r in document["resources"] if r["path"] != name]


def _table_missing(path: Path, name: str) -> None:
    _describe(_drop_table)(path, name)
    (path / name).unlink()


def _flip(path: Path, name: str) -> None:
    with (path / name).open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-2, os.SEEK_END)
        stream.write(bytes([byte ^ 1]))


def _link(path: Path, name: str) -> None:
    (path / name).unlink()
    (path / name).symlink_to("/etc/hostname")


def _unlink(path: Path, name: str) -> None:
    (path / name).unlink()


def _half_copied(path: Path, name: str) -> None:
    (path / DESCRIPTOR).unlink()


def _neighbouring(descriptor: Descriptor) -> Period:
    """The period before: one that the register delivered long ago."""
    period, number = descriptor.reference_period, descriptor.reference_period.number - 1
    if number:
        return replace(period, number=number)
    return replace(period, year=period.year - 1, number=12 // period.cadence.months)


def _far_period(descriptor: Descriptor) -> Mapping[str, Any]:
    period = descriptor.reference_period
    return {"reference_period": replace(period, year=descriptor.delivered_at.year + 1)}


_TYPES_REMEDY = (
    f"Write numbers with digits and a decimal {ANY}, dates and booleans in the form of the "
    "contract, and nothing else in the field."
)
_TYPES = "breaks the rule: Every value has the type of its column."


_WHOLE_AND_ONCE = (
    "Is the file complete, and nothing in it twice? If the numbers are right, say so to "
    "the platform team: the contract's range has to change."
)
_UNUSUAL_MUNICIPALITY = (
    "breaks the rule: Each municipality has about as many rows as in the last delivery "
    "(… to … times)."
)

FAULTS: Mapping[str, Fault] = {
    # The delivery as a whole.
    "half_copied": Fault(
        "no descriptor yet",
        "",
        "",
        "",
        Outcome.WAITS,
        folder=_half_copied,
    ),
    "path_traversal": Fault(
        "the descriptor names a file outside the delivery",
        "Z-DEL-005",
        "datapackage.json: the path '../../…' is not that of a plain file in it.",
        "Put data files beside the descriptor and name them with letters, digits, . _ -.",
        folder=_describe(_climb),
    ),
    "symbolic_link": Fault(
        "a file is a link to one elsewhere",
        "Z-DEL-006",
        "… is a symbolic link.",
        "Deliver plain files.",
        folder=_link,
    ),
    "other_source": Fault(
        "dropped in the folder of another source",
        "Z-DEL-007",
        "the delivery lies under … and says it is of ….",
        "Drop it in the folder of its own source.",
        folder=_describe(lambda document, _: document.update(source="another_source")),
    ),
    "wrong_checksum": Fault(
        "a byte changed on the way",
        "Z-DEL-004",
        "… has sha256 … where the descriptor says …: at least one byte differs.",
        "The file was damaged or changed on the way: deliver again under a new name.",
        folder=_flip,
    ),
    "file_missing": Fault(
        "a described file did not come along",
        "Z-DEL-004",
        "… is in datapackage.json and not in the delivery.",
        "Deliver again, descriptor last.",
        folder=_unlink,
    ),
    "table_missing": Fault(
        "a table of the contract was not delivered",
        "Z-DEL-009",
        "the delivery holds … where the contract has ….",
        "Deliver each table of the contract once.",
        where=_file(lambda contract: len(contract.tables) > 1),
        folder=_table_missing,
    ),
    "period_not_begun": Fault(
        "describes a period that had not begun",
        "Z-DEL-008",
        "reference period … had not begun when the delivery was made (…).",
        "Correct the period or the moment of delivery in the descriptor.",
        fields=_far_period,
    ),
    "clock_skew": Fault(
        "delivered in the future: the provider's clock is wrong",
        "Z-DEL-012",
        "delivered_at … lies in the future.",
        "State the moment of delivery, in UTC or with its time zone.",
        fields=lambda d: {"delivered_at": d.delivered_at.replace(year=d.delivered_at.year + 50)},
    ),
    "no_agreement": Fault(
        "no agreement in force covers the source on the day of intake",
        "Z-DEL-013",
        "no agreement that covers … is in force on ….",
        "The parties have to agree first; the data was destroyed here. Deliver again when "
        "agreements/ holds an agreement that is in force.",
        Outcome.DESTROYED,
        where=_file(lambda contract: contract.needs_agreement),
    ),
    "delivered_twice": Fault(
        "the same content under another name",
        "",
        "",
        "",
        Outcome.UNCHANGED,
        needs_model=True,
    ),
    "same_id_other_content": Fault(
        "an accepted delivery, edited",
        "Z-DEL-010",
        "a delivery with the id … and other content was accepted before.",
        "Deliveries are never edited: give a correction its own id, and say what it supersedes.",
        rows=_leave_one_out,
        fields=lambda descriptor: {"id": descriptor.id},
        needs_model=True,
    ),
    "supersedes_unknown": Fault(
        "corrects a delivery that was never accepted",
        "Z-DEL-011",
        "it supersedes …, which was never accepted.",
        "Correct or leave out 'supersedes'.",
        fields=lambda _: {"supersedes": "never-delivered"},
    ),
    "supersedes_other_period": Fault(
        "corrects a delivery of another period",
        "Z-DEL-011",
        "it describes … and supersedes …, which describes ….",
        "A delivery supersedes one of its own period: correct or leave out 'supersedes'.",
        fields=lambda d: {"supersedes": d.id, "reference_period": _neighbouring(d)},
        needs_model=True,
    ),
    # The file.
    "truncated_zip": Fault(
        "the archive breaks off, and was described like that",
        "Z-DEL-024",
        "… is not a sound zip archive of one file: ….",
        "Pack the one file again, without a password, and check that the copy is complete.",
        where=_zipped,
        packed=_truncated,
    ),
    "zip_bomb": Fault(
        "a small archive of a huge file",
        "Z-DEL-024",
        "… is not a sound zip archive of one file: it expands to more than … bytes, like a "
        "zip bomb.",
        "Pack the one file again, without a password, and check that the copy is complete.",
        where=_zipped,
        packed=_bomb,
    ),
    "two_files_in_zip": Fault(
        "a second file in the archive",
        "Z-DEL-024",
        "… is not a sound zip archive of one file: it holds … files.",
        "Pack the one file again, without a password, and check that the copy is complete.",
        where=_zipped,
        packed=_second_member,
    ),
    "zip_with_password": Fault(
        "an archive with a password",
        "Z-DEL-024",
        "… is not a sound zip archive of one file: it has a password.",
        "Pack the one file again, without a password, and check that the copy is complete.",
        where=_zipped,
        packed=_with_password,
    ),
    "zero_bytes": Fault(
        "a file of no bytes",
        "Z-DEL-020",
        "… is empty or has no header line.",
        "Write a header with the column names of the contract, and the rows below it.",
        where=_kind("csv"),
        plain=_emptied,
    ),
    "no_rows": Fault(
        "header only, or a table of no rows",
        "Z-DEL-102",
        "breaks the rule: The file has at least … row(s).",
        "An empty delivery says nothing; deliver the rows or leave the delivery out.",
        also=frozenset({"Z-DEL-116", "Z-DEL-117"}),
        rows=lambda draft: draft.run("delete from {t}"),
    ),
    "utf8_in_windows_1252": Fault(
        "accented letters in UTF-8 where Windows-1252 was agreed",
        "Z-DEL-022",
        "… is not windows-1252: its accented letters are written in UTF-8",
        "Write the file in windows-1252.",
        where=lambda c: _labels(c) if c.format.encoding == "windows-1252" else None,
        rows=_accents("utf-8"),
    ),
    "latin1_in_utf8": Fault(
        "accented letters in Latin-1 where UTF-8 was agreed",
        "Z-DEL-022",
        "… is not utf-8: line …",
        "Write the file in utf-8.",
        where=lambda c: (
            _column(_is_required_text, "csv", "fixed_width")(c)
            if c.format.encoding == "utf-8"
            else None
        ),
        rows=_accents("windows-1252"),
    ),
    "shifted_columns": Fault(
        "a separator too many shifts the fields of a line",
        "Z-DEL-023",
        "…: … line(s) cannot be read: line …: Expected Number of Columns: … Found: …",
        "Give every line as many fields as the header, and close every quotation mark.",
        where=_kind("csv"),
        plain=_ragged,
    ),
    "shifted_line": Fault(
        "a sign too many shifts the fields of a line of fixed width",
        "Z-DEL-025",
        "…, line …: … signs where a line has ….",
        "Pad every field to its width; the contract gives first sign and width.",
        where=_kind("fixed_width"),
        plain=_shifted_line,
    ),
    "not_parquet": Fault(
        "another format under the name of a Parquet file",
        "Z-DEL-026",
        "… cannot be read as Parquet: …",
        "Write a Parquet file of plain columns, and check that the copy is complete.",
        where=_kind("parquet"),
        plain=_not_parquet,
    ),
    "truncated_parquet": Fault(
        "a Parquet file that breaks off, and was described like that",
        "Z-DEL-026",
        "… cannot be read as Parquet: …",
        "Write a Parquet file of plain columns, and check that the copy is complete.",
        where=_kind("parquet"),
        plain=_truncated,
    ),
    # The columns.
    "extra_column": Fault(
        "a column that was not agreed",
        "Z-DEL-101",
        "breaks the rule: The file has the columns of the contract, no more and no fewer.",
        "Deliver the columns that … lists, spelled as there….",
        where=_kind("csv", "parquet"),
        rows=_extra_column,
    ),
    "nameless_column": Fault(
        "every line ends in a separator",
        "Z-DEL-021",
        "…, line 1: a column has no name.",
        "Name every column, and end no line with a separator.",
        where=_kind("csv"),
        plain=_trailing_separators,
    ),
    "older_schema": Fault(
        "an older version of the contract: a column is not there",
        "Z-DEL-101",
        "breaks the rule: The file has the columns of the contract, no more and no fewer.",
        "Deliver the columns that … lists, spelled as there….",
        where=_kind("csv", "parquet"),
        rows=_older_schema,
        fields=lambda _: {"contract_version": "0.9.0"},
    ),
    "columns_swapped": Fault(
        "the values of two columns under each other's name",
        "Z-DEL-113",
        "breaks the rule: Text has the form that the contract gives.",
        "Write the value in the agreed form.",
        where=_two_pseudonyms,
        rows=_swap,
    ),
    # The values.
    "other_type_in_parquet": Fault(
        "whole numbers as floating point in Parquet",
        "Z-DEL-103",
        _TYPES,
        _TYPES_REMEDY,
        where=_column(lambda c: c.sql_type == "BIGINT", "parquet"),
        rows=_other_type,
    ),
    "mixed_decimal_marks": Fault(
        "a decimal point between decimal commas, or the other way round",
        "Z-DEL-103",
        _TYPES,
        _TYPES_REMEDY,
        where=_column(lambda c: c.sql_type == "DOUBLE", "csv", "fixed_width"),
        rows=_decimal_marks,
    ),
    "thousands_marks": Fault(
        "points between the thousands",
        "Z-DEL-103",
        _TYPES,
        _TYPES_REMEDY,
        where=_column(lambda c: c.sql_type == "BIGINT", "csv", "fixed_width"),
        rows=_sets("'1.000'"),
    ),
    "impossible_date": Fault(
        "a day that does not exist",
        "Z-DEL-103",
        _TYPES,
        _TYPES_REMEDY,
        where=_column(lambda c: c.sql_type == "DATE", "csv", "fixed_width"),
        rows=_impossible_date,
    ),
    "short_identifier": Fault(
        "a direct identifier that lost a sign, such as a leading zero",
        "Z-DEL-103",
        _TYPES,
        _TYPES_REMEDY,
        where=_column(lambda c: c.is_pseudonymised),
        rows=_sets("substring({c}, 2)"),
    ),
    "empty_field": Fault(
        "a required field is empty",
        "Z-DEL-104",
        "breaks the rule: Keys and required columns are filled.",
        "Fill the field or leave the row out.",
        where=_column(lambda c: c.required and not c.is_key),
        rows=_sets("null"),
    ),
    "duplicate_keys": Fault(
        "two rows with the same key",
        "Z-DEL-105",
        "breaks the rule: No two rows have the same key.",
        "Deliver each key once; a correction is a new delivery that supersedes.",
        rows=_duplicate,
    ),
    "unknown_municipality": Fault(
        "a municipality that never was",
        "Z-DEL-107",
        "breaks the rule: Every region code is in the code list of Statistics Netherlands.",
        "Correct the code. Is the municipality new? Then add it to the geography seeds first.",
        where=_column(lambda c: bool(c.region_levels)),
        rows=_sets("'GM9999'"),
    ),
    "neighbourhood_code": Fault(
        "a code of a neighbourhood",
        "Z-DEL-108",
        "breaks the rule: No code of a neighbourhood or district (BU…, WK…) in any column.",
        "The municipality is the finest geography: aggregate before delivering.",
        where=_column(lambda c: bool(c.region_levels)),
        rows=_sets("'BU0363'"),
    ),
    "municipality_gone": Fault(
        "a municipality that did not exist in the period",
        "Z-DEL-109",
        "breaks the rule: No figures for a municipality that did not exist in the reference "
        "period.",
        "Deliver on the division of the reference period.",
        where=_column(lambda c: bool(c.region_levels)),
        rows=_gone,
    ),
    "negative_amount": Fault(
        "an amount or count below zero",
        "Z-DEL-110",
        "breaks the rule: Numbers are within the limits of the contract; a count is never "
        "negative.",
        "Correct the number; leave the field empty when it is not known.",
        where=_column(lambda c: c.minimum is not None and c.minimum >= 0),
        rows=_sets("'-1'"),
    ),
    "outside_code_list": Fault(
        "a code that was not agreed",
        "Z-DEL-112",
        "breaks the rule: Coded columns hold values from the contract's list.",
        "Use a listed code, or agree on a new version of the contract.",
        where=_column(lambda c: bool(c.values) and not c.is_key),
        rows=_sets("'zz'"),
    ),
    "lost_leading_zeros": Fault(
        "a key that lost its leading zeros in a spreadsheet",
        "Z-DEL-113",
        "breaks the rule: Text has the form that the contract gives.",
        "Write the value in the agreed form.",
        where=_column(_is_pseudonym),
        rows=_sets("left({c}, 1) || '1234'"),
    ),
    "broken_foreign_keys": Fault(
        "refers to a row that is not in the delivery",
        "Z-DEL-114",
        "breaks the rule: What refers to another table of the delivery is in it.",
        "Deliver both tables from one moment, whole.",
        where=_references,
        rows=_sets("left({c}, 1) || '000000000'"),
    ),
    "dates_of_another_period": Fault(
        "the events of the period before",
        "Z-DEL-115",
        "breaks the rule: Dates belong to the period that the descriptor states.",
        "Deliver each period's own rows, and state that period in the descriptor.",
        where=_column(lambda c: c.time == "within_period"),
        rows=_another_period,
    ),
    "future_dates": Fault(
        "a day after the reference day",
        "Z-DEL-115",
        "breaks the rule: Dates belong to the period that the descriptor states.",
        "Deliver each period's own rows, and state that period in the descriptor.",
        where=_column(lambda c: c.time == "not_after_period"),
        rows=_future_date,
    ),
    # The delivery beside the last one.
    "far_fewer_rows": Fault(
        "90% fewer rows than last time",
        "Z-DEL-116",
        "breaks the rule: The table has about as many rows as in the last delivery (… to … times).",
        _WHOLE_AND_ONCE,
        where=_usual_rows,
        also=frozenset({"Z-DEL-117"}),
        rows=_tenth,
        needs_model=True,
    ),
    "municipality_missing": Fault(
        "no rows of one municipality",
        "Z-DEL-117",
        _UNUSUAL_MUNICIPALITY,
        _WHOLE_AND_ONCE,
        where=_usual_regions,
        also=frozenset({"Z-DEL-116"}),
        rows=_municipality_missing,
        needs_model=True,
    ),
    "municipality_doubled": Fault(
        "one municipality twice, under other keys",
        "Z-DEL-117",
        _UNUSUAL_MUNICIPALITY,
        _WHOLE_AND_ONCE,
        where=_usual_regions,
        also=frozenset({"Z-DEL-116"}),
        rows=_municipality_doubled,
        needs_model=True,
    ),
    # What may not be here.
    "unsettled_cases": Fault(
        "a case that is still open",
        "Z-DEL-130",
        "breaks the rule: Only settled cases are delivered.",
        "Leave open cases out. The file was destroyed here: deliver again under a new name.",
        Outcome.DESTROYED,
        where=_settled,
        rows=_sets("'under_investigation'"),
    ),
    "service_numbers": Fault(
        "service numbers behind a letter, as if they were pseudonyms",
        "Z-DEL-131",
        "breaks the rule: No column holds citizen service numbers.",
        "Replace them by pseudonyms at the source. The file was destroyed here.",
        Outcome.DESTROYED,
        where=_column(_is_key_of("P")),
        rows=_service_numbers("'P' || number"),
    ),
    "service_numbers_in_new_column": Fault(
        "a column of service numbers that was not agreed",
        "Z-DEL-131",
        "breaks the rule: No column holds citizen service numbers.",
        "Replace them by pseudonyms at the source. The file was destroyed here.",
        Outcome.DESTROYED,
        where=_kind("csv", "parquet"),
        also=frozenset({"Z-DEL-101"}),
        rows=_extra_service_numbers,
    ),
    "service_numbers_in_codes": Fault(
        "service numbers where a code should be",
        "Z-DEL-131",
        "breaks the rule: No column holds citizen service numbers.",
        "Replace them by pseudonyms at the source. The file was destroyed here.",
        Outcome.DESTROYED,
        where=_column(lambda c: bool(c.values) and not c.is_key and _has_room(c)),
        also=frozenset({"Z-DEL-112"}),
        rows=_label_service_numbers,
    ),
    "open_case_in_other_schema": Fault(
        "a case that is still open, in a file with a column that was not agreed",
        "Z-DEL-130",
        "breaks the rule: Only settled cases are delivered.",
        "Leave open cases out. The file was destroyed here: deliver again under a new name.",
        Outcome.DESTROYED,
        where=_settled,
        also=frozenset({"Z-DEL-101"}),
        rows=_open_and_other,
    ),
    "service_numbers_in_text": Fault(
        "service numbers with points between, in free text",
        "Z-DEL-131",
        "breaks the rule: No column holds citizen service numbers.",
        "Replace them by pseudonyms at the source. The file was destroyed here.",
        Outcome.DESTROYED,
        where=_labels,
        rows=_label_service_numbers,
    ),
    "service_numbers_in_amounts": Fault(
        "service numbers in a column of numbers",
        "Z-DEL-131",
        "breaks the rule: No column holds citizen service numbers.",
        "Replace them by pseudonyms at the source. The file was destroyed here.",
        Outcome.DESTROYED,
        where=_column(_holds_large_numbers),
        rows=_integer_service_numbers,
    ),
}
"""Every kind of fault, by name."""


def _does_not_fit(contract: Contract, why: str) -> UsageError:
    return UsageError(
        f"a delivery of {contract.source} cannot have this fault: {why}.",
        code="Z-SYN-021",
        remedy="Choose another source, or a larger delivery.",
    )


def fault_of(name: str) -> Fault:
    """The fault of a name.

    Raises:
        UsageError: Z-SYN-020 if there is none.
    """
    if name not in FAULTS:
        raise UsageError(
            f"there is no fault {name!r}.",
            code="Z-SYN-020",
            remedy=f"Choose one of: {', '.join(FAULTS)}.",
        )
    return FAULTS[name]


def plant(
    name: str, model: Path, contract: Contract, landing: Path, id: str, *, seed: int = 0
) -> Path:
    """Drops a delivery like ``model`` with one fault.

    Args:
        name: of the fault, see :data:`FAULTS`.
        model: folder of a good delivery of the source; it is only read.
        contract: of the source.
        landing: gets the delivery as ``<source>/<id>/``, descriptor last.
        id: of the delivery; its folder has this name even where the fault is in the id.
        seed: which row is struck, where the fault is in one.

    Returns:
        The folder of the delivery.

    Raises:
        UsageError: Z-SYN-020 for an unknown fault, Z-SYN-021 if a delivery of this source, or one
            this small, cannot have it.
    """
    fault = fault_of(name)
    spot = fault.where(contract)
    if spot is None:
        raise _does_not_fit(contract, "nothing in its contract that could be wrong so")
    descriptor = read_descriptor(model)
    files = {resource.name: resource.path for resource in descriptor.resources}
    landing.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=landing.parent, prefix=".fault-") as scratch:
        folder = Path(scratch)
        # The folder's name is the id's even where the descriptor says another one.
        made = folder / contract.source / id
        for path in files.values():
            shutil.copyfile(model / path, folder / path)
        if fault.rows is not None:
            _rewrite(fault.rows, model, descriptor, contract, spot, seed, folder)
        if fault.plain is not None:
            _edit_plain(folder / files[spot.table.name], fault.plain, contract.format.is_zipped)
        if fault.packed is not None:
            fault.packed(folder / files[spot.table.name])
        arguments: dict[str, Any] = {
            "id": id,
            "source": descriptor.source,
            "reference_period": descriptor.reference_period,
            "observation_status": descriptor.observation_status,
            "delivered_at": descriptor.delivered_at,
            "dialect": descriptor.resources[0].dialect,
            "encoding": contract.format.encoding,
            "contract_version": contract.version,
            "is_archive": descriptor.is_archive,
            **(fault.fields(descriptor) if fault.fields else {}),
        }
        written = write_delivery(
            folder / contract.source,
            tables={path: folder / path for path in files.values()},
            **arguments,
        )
        os.replace(written, made)
        if fault.folder is not None:
            fault.folder(made, files[spot.table.name])
        target = landing / contract.source / id
        target.parent.mkdir(exist_ok=True)
        # By one rename, so that intake never sees it before it is as wrong as it should be.
        os.replace(made, target)
    return target


def _rewrite(
    edit: Callable[[Draft], None],
    model: Path,
    descriptor: Descriptor,
    contract: Contract,
    spot: Spot,
    seed: int,
    target: Path,
) -> None:
    """Writes the files of the model again in ``target``, with edited rows."""
    with TemporaryDirectory(dir=target) as name, duckdb.connect() as connection:
        scratch = Path(name)
        paths = {resource.name: model / resource.path for resource in descriptor.resources}
        for table in contract.tables:
            found = delivered_table(connection, paths[table.name], table, contract.format, scratch)
            connection.execute(
                f"create table {table.name} as "
                f"select row_number() over () as _n, * from ({found.query})"
            )
        is_text = contract.format.kind != "parquet"
        draft = Draft(
            contract,
            descriptor,
            connection,
            spot,
            seed,
            {table.name: _as_written(table) if is_text else table for table in contract.tables},
            contract.format.encoding,
        )
        edit(draft)
        layout = replace(contract.format, encoding=draft.encoding)
        for table in draft.tables.values():
            names = ", ".join(quoted(column.name) for column in table.columns)
            query = f"select {names} from {table.name} order by _n"
            written = write_file(
                connection, query, replace(contract, format=layout), table, scratch
            )
            os.replace(written, target / paths[table.name].name)


def write_file(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    contract: Contract,
    table: Table,
    folder: Path,
) -> Path:
    """Writes the rows of ``query`` as the file of a table, in ``folder``."""
    fragment = folder / f"{table.name}.fragment"
    write_fragment(connection, query, contract, table, fragment)
    written = assemble([fragment], contract, table, folder)
    fragment.unlink()
    return written


def _as_written(table: Table) -> Table:
    """The table with all of its columns as the text that stands in the file."""
    return replace(
        table,
        columns=tuple(replace(c, sql_type="VARCHAR", date_format=None) for c in table.columns),
    )


def _edit_plain(path: Path, edit: Callable[[Path], None], is_zipped: bool) -> None:
    if not is_zipped:
        edit(path)
        return
    with TemporaryDirectory(dir=path.parent) as name:
        with zipfile.ZipFile(path) as archive:
            (member,) = archive.namelist()
            plain = Path(archive.extract(member, name))
        edit(plain)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(plain, member)


def answers(fault: Fault, reason: Mapping[str, Any]) -> bool:
    """Whether a reason in a report is the one that the catalogue promises, word for word."""

    def says(pattern: str, text: str) -> bool:
        words = ".*".join(re.escape(part) for part in pattern.split(ANY))
        return re.fullmatch(words, text, re.DOTALL) is not None

    return (
        reason["code"] == fault.code
        and says(fault.message, reason["message"])
        and says(fault.remedy, reason["remedy"])
    )


def reference_table() -> str:
    """The catalogue as the table of its reference page, in Markdown."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|") or "–"

    lines = [
        "| kind | what is wrong | code | message | remedy | what becomes of it |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {cell(fault.what)} | {fault.code or '–'} | {cell(fault.message)} "
        f"| {cell(fault.remedy)} | {fault.outcome.value} |"
        for name, fault in FAULTS.items()
    ]
    return "\n".join(lines) + "\n"
