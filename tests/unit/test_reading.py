"""Reading a delivery as sound: what may be wrong is found wherever it stands, or else refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb
import pytest

from support import NOW, settings_at
from zicht.contracts import Column, Contract, FileFormat, load_contracts
from zicht.deliveries.package import ObservationStatus, read_descriptor, write_delivery
from zicht.deliveries.reading import Doubt, _value, loaded_delivery
from zicht.gates.contract import row_marks
from zicht.periods import Period
from zicht.settings import Settings

PERIOD = Period.parse("2024-10")
ROWS = 130_000
"""More than one row group: what stands in the last one is found by its own statistics."""


@pytest.fixture(scope="module")
def rows() -> list[bytes]:
    """The lines of a sound delivery of benefits, with keys in no order."""
    query = f"""
        select 'P' || lpad(cast(i * 7919 % 1000003 as varchar), 9, '0') || ';' ||
            (['ww', 'wia', 'aow'])[1 + i % 3] || ';GM0' || (['363', '599', '518'])[1 + i % 3] ||
            ';' || i % 2000 || ',' || 10 + i % 90 || ';2000' || 1001 + i % 28
        from range({ROWS}) as t(i)"""
    with duckdb.connect() as connection:
        found = [str(row[0]).encode() for row in connection.execute(query).fetchall()]
    return [b"person_key;benefit_type;municipality_code;amount_eur;since", *found]


@pytest.fixture
def contract(settings: Settings) -> Contract:
    return load_contracts(settings.contracts)["uwv_svb"]


def written(settings: Settings, contract: Contract, content: bytes) -> bytes:
    """What becomes of a delivery that is taken to be sound."""
    given = settings.home / "benefits.csv"
    given.parent.mkdir(parents=True)
    given.write_bytes(content)
    folder = write_delivery(
        settings.landing / contract.source,
        id="one",
        source=contract.source,
        reference_period=PERIOD,
        observation_status=ObservationStatus.FINAL,
        delivered_at=NOW,
        tables={given.name: given},
    )
    (table,) = contract.tables
    with loaded_delivery(
        settings,
        contract,
        folder,
        read_descriptor(folder),
        faults={table.name: row_marks(contract, table, PERIOD)},
        usual={},
        usual_since=NOW.date(),
        sound=True,
    ) as loaded:
        assert loaded.rows == {"benefits": ROWS}
        return (loaded.written() / "benefits.parquet").read_bytes()


def with_fields(rows: list[bytes], line: int, **changed: bytes) -> bytes:
    """The file with other fields in one line."""
    names = [name.decode() for name in rows[0].split(b";")]
    fields = rows[line].split(b";")
    for name, value in changed.items():
        fields[names.index(name)] = value
    return b"\n".join([*rows[:line], b";".join(fields), *rows[line + 1 :], b""])


@pytest.mark.parametrize(
    "changed",
    [
        {"person_key": b"P00000001"},
        {"person_key": b"P000000001 "},
        {"person_key": b""},
        {"benefit_type": b"ioaw"},
        {"benefit_type": b""},
        {"municipality_code": b"GM9999"},
        {"municipality_code": b"GM1684"},
        {"amount_eur": b"-0,01"},
        {"amount_eur": b"1_000"},
        {"amount_eur": b",5"},
        {"amount_eur": b"1.000"},
        {"amount_eur": b"1e400"},
        {"amount_eur": b""},
        {"since": b"2024101"},
        {"since": b"20230229"},
        {"since": b"20241101"},
    ],
    ids=str,
)
def test_one_fault_in_many_rows_is_found(
    settings: Settings,
    contract: Contract,
    rows: list[bytes],
    changed: dict[str, bytes],
) -> None:
    with pytest.raises(Doubt):
        written(settings, contract, with_fields(rows, ROWS, **changed))


def test_a_key_that_comes_back_far_away_is_found(
    settings: Settings, contract: Contract, rows: list[bytes]
) -> None:
    """The same person with another benefit is another key."""
    person, benefit, *_ = rows[1].split(b";")
    written(settings, contract, with_fields(rows, ROWS, person_key=person, benefit_type=b"anw"))
    again = with_fields(rows, ROWS, person_key=person, benefit_type=benefit)
    with pytest.raises(Doubt):
        written(settings_at(settings.home / "again"), contract, again)


@pytest.mark.parametrize("blank", [" ", "\u00a0"], ids=ascii)
def test_a_key_of_free_text_may_not_be_padded(
    settings: Settings, contract: Contract, rows: list[bytes], blank: str
) -> None:
    """Trimmed, two keys would be one; their hashes differ."""
    (table,) = contract.tables
    free = tuple(replace(column, pattern=None) for column in table.columns)
    loose = replace(contract, tables=(replace(table, columns=free),))
    written(settings, loose, with_fields(rows, ROWS, person_key=b"somebody"))
    padded = with_fields(rows, ROWS, person_key=f"somebody{blank}".encode())
    with pytest.raises(Doubt):
        written(settings_at(settings.home / "again"), loose, padded)


def test_a_sound_file_makes_the_same_bytes_with_any_number_of_threads(
    tmp_path: Path, contract: Contract, rows: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, connect = set(), duckdb.connect
    for threads in (1, 2, 5):
        monkeypatch.setattr(duckdb, "connect", partial(connect, config={"threads": threads}))
        settings = settings_at(tmp_path / str(threads))
        found.add(written(settings, contract, b"\n".join([*rows, b""])))
    assert len(found) == 1


_TEXTS = (
    *("5", " 5 ", "+5", "-5", "007", "5,0", "5,00", "5,000", "5.0", "5,5", ",5", "5,", "1_000"),
    *("0x10", "1e3", "1e-3", "1e100", "nan", "inf", "99999999999999999999", "1 0", "", "  "),
    *("true", "FALSE", "1", "yes", "20240229", "20230229", " 20240229", "2024111", "2024 111"),
    *("2024-02-29", "2024-2-29", "24-02-2029", "epoch", "infinity", "31-03-2024", "31-3-2024"),
)


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("BIGINT", None),
        ("DOUBLE", None),
        ("BOOLEAN", None),
        ("DATE", "%Y%m%d"),
        ("DATE", "%Y-%m-%d"),
        ("DATE", "%d-%m-%Y"),
    ],
)
@pytest.mark.parametrize("mark", [",", "."])
def test_both_ways_of_reading_take_and_refuse_the_same_texts(
    kind: str, form: str | None, mark: str
) -> None:
    column = Column("value", kind, True, False, "public", date_format=form)
    layout = FileFormat("csv", decimal_mark=mark)
    closely, quickly = (
        f"select {_value(column, layout, 'VARCHAR', or_fail=or_fail)} from t"
        for or_fail in (False, True)
    )
    taken = 0
    with duckdb.connect() as connection:
        for text in _TEXTS:
            connection.execute("create or replace table t as select ? as value", [text])
            ((value,),) = connection.execute(closely).fetchall()
            if value is None and text.strip():
                with pytest.raises(duckdb.Error):
                    connection.execute(quickly).fetchall()
            else:
                assert connection.execute(quickly).fetchall() == [(value,)], text
                taken += value is not None
    assert taken


@pytest.mark.parametrize(
    ("values", "in_doubt"),
    [
        (lambda i: f"cast({i} as double)", False),
        (lambda i: f"case when {i} = {ROWS - 5} then 'nan'::double else {i} end", True),
        (lambda i: f"case when {i} = {ROWS - 5} then 'inf'::double else {i} end", True),
    ],
    ids=["finite", "nan", "infinite"],
)
def test_a_number_that_is_none_is_not_hidden_by_statistics(
    tmp_path: Path, values: Callable[[str], str], in_doubt: bool
) -> None:
    """What is asked of a column of a file is answered as of a table that holds the same."""
    path = tmp_path / "numbers.parquet"
    asked = f"where x < 0 or x > {2 * ROWS}"
    with duckdb.connect() as connection:
        connection.execute(f"create table t as select {values('i')} as x from range({ROWS}) r(i)")
        connection.execute(f"copy t to '{path}' (format parquet)")
        for relation in ("t", f"'{path}'"):
            found = connection.execute(f"select count(*) from {relation} {asked}").fetchone()
            assert found == (int(in_doubt),)
