"""Intake: what an accepted delivery becomes, in which order, and that equal means equal."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from support import (
    NOW,
    Period,
    drop_sample,
    drop_variant,
    parquet_bytes,
    sample_delivery,
    silent,
    take_in_all,
)
from zicht.clock import fixed_clock
from zicht.contracts import Column, Contract, FileFormat, load_contracts
from zicht.deliveries.intake import ensure_source, take_in
from zicht.deliveries.ledger import GATE_1, RECORD, delivery_folder, read_ledger
from zicht.deliveries.package import DESCRIPTOR, read_descriptor
from zicht.deliveries.quarantine import read_quarantine
from zicht.deliveries.reading import (
    Doubt,
    _value,
    loaded_delivery,
    write_empty_parquet,
    write_parquet,
)
from zicht.files import locked, read_json
from zicht.gates.contract import CODES, contract_suite
from zicht.gates.model import GateResult
from zicht.settings import Settings

SOURCE = "cbs_crime"


@pytest.fixture
def contract(settings: Settings) -> Contract:
    return load_contracts(settings.contracts)[SOURCE]


def test_an_accepted_delivery_is_typed_and_recorded(settings: Settings) -> None:
    (folder,) = drop_sample(settings, SOURCE, ["2024"])
    descriptor = read_descriptor(folder)
    said: list[str] = []
    contract = load_contracts(settings.contracts)[SOURCE]
    report = take_in(settings, contract, fixed_clock(NOW), said.append)
    assert report.accepted == (descriptor.id,)
    assert said == [f"  accepted  {descriptor.id} ({report_rows(settings)} rows)"]
    (record,) = read_ledger(settings)
    assert (record.id, record.accepted_at, record.known_at) == (descriptor.id, NOW, NOW)
    assert record.content_hash == descriptor.content_hash
    assert record.contract_version == contract.version
    accepted = delivery_folder(settings, SOURCE, "2024", descriptor.id)
    assert sorted(path.name for path in accepted.iterdir()) == ["crime.parquet", RECORD, GATE_1]
    result = GateResult.loads((accepted / GATE_1).read_text())
    assert result.passed
    only_elsewhere = {"pattern", "foreign_key", "reference_time", "usual_rows", "usual_regions"}
    only_elsewhere |= {"settled", "no_service_numbers"}
    assert {check.check for check in result.results} == set(CODES) - only_elsewhere
    with duckdb.connect() as connection:
        columns = connection.execute(f"describe {parquet(accepted / 'crime.parquet')}").fetchall()
    assert [(name, kind) for name, kind, *_ in columns] == [
        (column.name, column.sql_type) for column in contract.tables[0].columns
    ]


def parquet(path: Path) -> str:
    """The file alone, without what its folders say."""
    return f"from read_parquet('{path}', hive_partitioning = false)"


def report_rows(settings: Settings) -> int:
    return read_ledger(settings)[0].rows["crime"]


def test_values_arrive_as_they_were_written(settings: Settings) -> None:
    change = (
        "SoortMisdrijf;RegioS;Perioden;TotaalGeregistreerdeMisdrijven_1;"
        "GeregistreerdeMisdrijvenPer1000Inw_3;TotaalOpgehelderdeMisdrijven_4;"
        "RegistratiesVanVerdachten_6\r\n"
        '0;GM0363;2024JJ00;"1000";9.31e1; 500 ;\r\n'
        "0;GM0014;2024JJ00;;;;0.0\r\n"
    )
    drop_variant(
        settings,
        sample_delivery(SOURCE, "2024"),
        name="one",
        change=lambda _: b"\xef\xbb\xbf" + change.encode(),
    )
    assert take_in_all(settings, sources=[SOURCE])[SOURCE].accepted == ("one",)
    path = delivery_folder(settings, SOURCE, "2024", "one") / "crime.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(parquet(path)).fetchall()
    assert rows == [
        ("0", "GM0363", "2024JJ00", 1000, 93.1, 500, None),
        ("0", "GM0014", "2024JJ00", None, None, None, 0),
    ]


def test_the_order_of_columns_makes_no_difference(settings: Settings) -> None:
    def turned(content: bytes) -> bytes:
        lines = [line.split(b";")[::-1] for line in content.split(b"\n")[:-1]]
        return b"\n".join(b";".join(line) for line in lines) + b"\n"

    model = sample_delivery(SOURCE, "2024")
    drop_variant(settings, model, name="straight")
    take_in_all(settings, sources=[SOURCE])
    drop_variant(settings, model, name="turned", change=turned)
    assert take_in_all(settings, sources=[SOURCE])[SOURCE].accepted == ("turned",)
    straight, other = (
        parquet_bytes(delivery_folder(settings, SOURCE, "2024", name))
        for name in ("straight", "turned")
    )
    assert straight == other


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta()], ids=["later", "at once"])
def test_a_correction_is_taken_in_after_what_it_corrects(
    settings: Settings, later: timedelta
) -> None:
    """Both lie in landing; the names sort the other way round."""
    model = sample_delivery(SOURCE, "2024")
    moment = read_descriptor(model).delivered_at
    drop_variant(settings, model, name="z-first")
    drop_variant(
        settings,
        model,
        name="a-correction",
        change=lambda c: re.sub(rb"(GM0363;2024JJ00;)[^;]*", rb"\g<1>5", c),
        supersedes="z-first",
        delivered_at=moment + later,
    )
    report = take_in_all(settings, sources=[SOURCE])[SOURCE]
    assert report.accepted == ("z-first", "a-correction"), [
        refusal.reasons for refusal in read_quarantine(settings)
    ]


def test_what_arrives_during_the_run_is_taken_in_as_well(
    settings: Settings, contract: Contract
) -> None:
    drop_sample(settings, SOURCE, ["2023"])
    late: list[Path] = []

    def say(_: str) -> None:
        if not late:
            late.extend(drop_sample(settings, SOURCE, ["2024"]))

    report = take_in(settings, contract, fixed_clock(NOW), say)
    assert len(report.accepted) == 2


def test_an_archive_was_known_when_it_was_delivered(settings: Settings) -> None:
    model = sample_delivery(SOURCE, "2022")
    drop_variant(settings, model, name="old", is_archive=True)
    take_in_all(settings, sources=[SOURCE])
    (record,) = read_ledger(settings)
    assert record.known_at == read_descriptor(model).delivered_at < record.accepted_at


def test_a_source_that_never_delivered_has_a_typed_empty_file(
    settings: Settings, contract: Contract
) -> None:
    ensure_source(settings, contract)
    path = delivery_folder(settings, SOURCE, "none", "none") / "crime.parquet"
    before = path.stat().st_mtime_ns
    ensure_source(settings, contract)
    assert path.stat().st_mtime_ns == before
    with duckdb.connect() as connection:
        described = connection.execute(f"describe {parquet(path)}").fetchall()
        assert connection.execute(parquet(path)).fetchall() == []
    columns = contract.tables[0].columns
    assert [(row[0], row[1]) for row in described] == [(c.name, c.sql_type) for c in columns]


def test_two_intakes_of_a_source_do_not_meet(settings: Settings, contract: Contract) -> None:
    drop_sample(settings, SOURCE, ["2024"])

    def say(_: str) -> None:
        with (
            pytest.raises(Exception, match="another process"),
            locked(settings.locks / f"intake-{SOURCE}.lock", wait=False),
        ):
            pass

    assert take_in(settings, contract, fixed_clock(NOW), say).accepted


def test_an_idle_intake_costs_next_to_nothing(settings: Settings, contract: Contract) -> None:
    """Nothing is opened or written when there is nothing to take in."""
    ensure_source(settings, contract)
    assert take_in(settings, contract, fixed_clock(NOW), silent).accepted == ()
    assert not settings.scratch.exists()


LARGE = 300_000


def _large(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    values = ", ".join(
        f"md5(cast(i * 7919 % {LARGE} as varchar)) as {name}"
        if kind == "VARCHAR"
        else f"cast(hash(i * 7919 % {LARGE}) % 1000 * 5 as {kind}) as {name}"
        for name, kind in (column.split() for column in columns)
    )
    connection.execute(f"create table loaded_crime as select {values} from range({LARGE}) as t(i)")


def test_equal_values_make_equal_bytes(tmp_path: Path, contract: Contract) -> None:
    """In several row groups, with any number of threads."""
    table = contract.tables[0]
    written = []
    with duckdb.connect() as connection:
        _large(connection, [f"{column.name} {column.sql_type}" for column in table.columns])
        for number, threads in enumerate((1, 2, 4, 8)):
            connection.execute(f"set threads = {threads}")
            target = tmp_path / f"{number}.parquet"
            write_parquet(connection, table, target)
            written.append(target.read_bytes())
    assert len(set(written)) == 1
    with duckdb.connect() as connection:
        groups = connection.execute(
            f"select count(distinct row_group_id) from parquet_metadata('{tmp_path / '0.parquet'}')"
        ).fetchall()
    assert groups[0][0] > 1
    for name in ("a", "b"):
        write_empty_parquet(table, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_does_not_cast_is_empty_and_kept_as_text(
    settings: Settings, contract: Contract
) -> None:
    folder = drop_variant(
        settings,
        sample_delivery(SOURCE, "2024"),
        name="one",
        change=lambda c: c.replace(b"GM0363;2024JJ00;", b"GM0363;2024JJ00;many", 1),
    )
    column = "TotaalGeregistreerdeMisdrijven_1"
    query = f"select _row, {column} from {{}} where RegioS = 'GM0363'"
    with loaded_delivery(
        settings,
        contract,
        folder,
        read_descriptor(folder),
        faults={"crime": {}},
        usual={},
        usual_since=NOW.date(),
    ) as loaded:
        ((row, value),) = loaded.connection.execute(query.format("crime")).fetchall()
        ((same, text),) = loaded.connection.execute(query.format("as_written_crime")).fetchall()
        counted = loaded.connection.execute(
            "select count(*), max(_row), count(*) filter (where _is_faulty) from crime"
        ).fetchall()
    assert (value, same, text[:4]) == (None, row, "many")
    lines = (folder / "crime.csv").read_bytes().split(b"\n")
    assert b"GM0363" in lines[row]
    assert counted == [(loaded.rows["crime"], loaded.rows["crime"], 1)]
    assert list(settings.scratch.iterdir()) == []


def _written(
    settings: Settings, contract: Contract, folder: Path, fault: str, *, sound: bool
) -> bytes:
    table = contract.tables[0]
    with loaded_delivery(
        settings,
        contract,
        folder,
        read_descriptor(folder),
        faults={table.name: {"RegioS": [fault]}},
        usual={},
        usual_since=NOW.date(),
        sound=sound,
    ) as loaded:
        if loaded.is_taken_as_sound:
            return (loaded.written() / f"{table.name}.parquet").read_bytes()
        target = settings.home / "looked-at.parquet"
        write_parquet(loaded.connection, table, target)
        return target.read_bytes()


def test_what_is_taken_to_be_sound_is_written_as_after_a_close_look(
    settings: Settings, contract: Contract
) -> None:
    """Padded and quoted too: both ways of reading make the same bytes."""
    folder = drop_variant(
        settings,
        sample_delivery(SOURCE, "2024"),
        name="one",
        change=lambda c: re.sub(rb";([0-9]+);", rb"; \g<1> ;", c).replace(b"GM0363", b'"GM0363"'),
    )
    quick, close = (
        _written(settings, contract, folder, "false", sound=sound) for sound in (True, False)
    )
    assert quick == close


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.replace(b"GM0363;2024JJ00;", b"GM0363;2024JJ00;1_0", 1), "false"),
        (lambda c: c, "RegioS = 'GM0363'"),
        (lambda c: c.replace(b"2024JJ00", b" 2024JJ00", 1), "false"),
        (lambda c: c.replace(b"RegioS", b"Regio", 1), "false"),
        (lambda c: c + b"1;2\n", "false"),
    ],
    ids=["not a number", "a rule is broken", "a padded key", "another column", "a short line"],
)
def test_what_may_not_be_sound_is_given_up(
    settings: Settings, contract: Contract, change: Callable[[bytes], bytes], fault: str
) -> None:
    folder = drop_variant(settings, sample_delivery(SOURCE, "2024"), name="one", change=change)
    with pytest.raises(Doubt):
        _written(settings, contract, folder, fault, sound=True)
    assert list(settings.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("%Y%m%d", "20240229", "2024-02-29"),
        ("%Y%m%d", "20230229", None),
        ("%Y%m%d", " 20240331 ", "2024-03-31"),
        ("%Y%m%d", "2024331", None),
        ("%Y%m%d", "epoch", None),
        ("%Y-%m-%d", "2024-03-31", "2024-03-31"),
        ("%Y-%m-%d", "2024-3-31", None),
        ("%Y-%m-%d", "2024-13-01", None),
        ("%d-%m-%Y", "31-03-2024", "2024-03-31"),
    ],
)
def test_dates_are_read_in_their_form_only(form: str, text: str, day: str | None) -> None:
    column = Column("day", "DATE", True, False, "public", date_format=form)
    with duckdb.connect() as connection:
        connection.execute("create table t as select cast(? as varchar) as day", [text])
        value = _value(column, FileFormat("csv"), "VARCHAR")
        ((found,),) = connection.execute(f"select cast({value} as varchar) from t").fetchall()
    assert found == day


def test_every_rule_of_gate_1_has_a_remedy(settings: Settings) -> None:
    for contract in load_contracts(settings.contracts).values():
        for table in contract.tables:
            for suite in contract_suite(contract, table, Period.parse("2024")):
                for check in suite.checks:
                    assert check.remedy
                    assert check.description.endswith(".")
                    assert check.name in CODES or check.name in {r.name for r in table.rules}


def test_the_note_of_an_unchanged_delivery(settings: Settings) -> None:
    model = sample_delivery(SOURCE, "2024")
    drop_variant(settings, model, name="one")
    take_in_all(settings, sources=[SOURCE])
    drop_variant(settings, model, name="two")
    assert take_in_all(settings, sources=[SOURCE])[SOURCE].unchanged == ("two",)
    note = read_json(settings.raw / SOURCE / "unchanged" / "two.json")
    assert (note["name"], note["noted_at"]) == ("two", "2025-05-01T09:00:00Z")
    assert [path.name for path in (settings.raw / SOURCE / "unchanged").iterdir()] == ["two.json"]
    assert DESCRIPTOR not in {path.name for path in settings.landing.rglob("*")}
