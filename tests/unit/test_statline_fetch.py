"""StatLine tables cut into deliveries: what is written, what is left, and that it holds."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.clock import fixed_clock
from zicht.deliveries.package import ObservationStatus, read_descriptor, verify_files
from zicht.errors import ConfigurationError, RemoteError
from zicht.periods import Period
from zicht.settings import Settings
from zicht.statline.client import Limits, StatLineClient
from zicht.statline.cut import format_value, parse_status
from zicht.statline.fetch import (
    FetchResult,
    KnownContent,
    NothingKnown,
    StatLineSource,
    fetch_table,
)
from zicht.statline.replay import Fault, FaultKind, Faults, replay

PROJECT = Path(__file__).parents[2]
SAMPLE = PROJECT / "samples" / "statline"
WHOLE = PROJECT.parent / "shared" / "data" / "statline"
NOW = datetime(2025, 4, 30, 9, 0, 0, tzinfo=UTC)
REPLACED = datetime(2025, 4, 1, 0, 0, 0, tzinfo=UTC)
PROVISIONAL, FINAL = ObservationStatus.PROVISIONAL, ObservationStatus.FINAL

CRIME = StatLineSource(
    source="cbs_crime",
    table="83648NED",
    table_name="crime",
    columns=(
        "SoortMisdrijf",
        "RegioS",
        "Perioden",
        "TotaalGeregistreerdeMisdrijven_1",
        "GeregistreerdeMisdrijvenPer1000Inw_3",
    ),
    period_column="Perioden",
    region_column="RegioS",
    first_period=Period.parse("2013"),
    contract_version="1.0.0",
    filters={"SoortMisdrijf": "0"},
)
MEASURES = StatLineSource(
    source="cbs_measures",
    table="85383NED",
    table_name="measures",
    columns=(
        "StatusCijfer",
        "RegioS",
        "Perioden",
        "InwonersTotaal_1",
        "TotaalBijstandsuitkeringen_22",
        "WoningTotaal_36",
    ),
    period_column="Perioden",
    region_column="RegioS",
    first_period=Period.parse("2023"),
    contract_version="2.1.0",
    status_column="StatusCijfer",
)


class Accepted:
    """A ledger that has accepted what lay in landing, as intake does: the last one counts."""

    def __init__(self, landing: Path) -> None:
        found = [read_descriptor(p.parent) for p in landing.glob("*/*/datapackage.json")]
        self._last = {
            (d.source, d.reference_period, d.observation_status): d
            for d in sorted(found, key=lambda d: d.delivered_at)
        }

    def content_hash(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        last = self._last.get((source, period, status))
        return last.content_hash if last else None

    def delivery_id(self, source: str, period: Period, status: ObservationStatus) -> str | None:
        last = self._last.get((source, period, status))
        return last.id if last else None


def fetch(
    home: Path,
    contract: StatLineSource = CRIME,
    *,
    known: KnownContent | None = None,
    folder: Path = SAMPLE,
    overlay: Path | None = None,
    faults: Faults | None = None,
    page_size: int = 10_000,
    said: list[str] | None = None,
) -> FetchResult:
    """One fetch from a service that is started for it."""
    with (
        replay(folder, describe=SAMPLE, overlay=overlay, faults=faults, page_size=page_size) as url,
        StatLineClient(url, limits=Limits(attempts=2), sleep=lambda _: None) as client,
    ):
        return fetch_table(
            contract,
            client,
            Settings(home=home, project=PROJECT),
            fixed_clock(NOW),
            known or NothingKnown(),
            (said if said is not None else []).append,
        )


def tree(home: Path) -> dict[str, bytes]:
    """All files below a folder with their bytes."""
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def rows_of(delivery: Path) -> list[dict[str, str]]:
    file = next(delivery.glob("*.csv"))
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


def later_version(folder: Path, statuses: str, changes: str) -> Path:
    """A later version of the crime table. Its figures are made up."""
    table = folder / "83648NED"
    table.mkdir(parents=True)
    (table / "table.yaml").write_text(f"modified: '2026-04-01T02:00:00'\nstatuses: {statuses}\n")
    (table / "changes.csv").write_text(
        f"RegioS;Perioden;TotaalGeregistreerdeMisdrijven_1\n{changes}\n"
    )
    return folder


def test_one_delivery_per_period_and_status(tmp_path: Path) -> None:
    result = fetch(tmp_path)
    descriptors = [read_descriptor(folder) for folder in result.written]
    assert [(str(d.reference_period), d.observation_status) for d in descriptors] == [
        *((str(year), FINAL) for year in range(2013, 2023)),
        ("2023", PROVISIONAL),
        ("2024", PROVISIONAL),
    ]
    assert (result.unchanged, result.empty, result.n_rows) == ((), (), 324)
    assert result.looked_at == NOW
    for folder, descriptor in zip(result.written, descriptors, strict=True):
        verify_files(folder, descriptor)
        assert folder.parent == tmp_path / "landing" / "cbs_crime"
        period, status = descriptor.reference_period, descriptor.observation_status
        assert folder.name == descriptor.id
        assert descriptor.id == f"cbs_crime-{period}-{status}-{descriptor.content_hash[:10]}"
        assert descriptor.delivered_at == REPLACED
        assert descriptor.contract_version == "1.0.0"
        assert descriptor.supersedes is None
        assert not descriptor.is_archive
        assert [(r.name, r.path, r.dialect) for r in descriptor.resources] == [
            ("crime", "crime.csv", {"delimiter": ";"})
        ]


def test_the_file_has_the_columns_of_the_contract_sorted_and_as_cbs_gives_them(
    tmp_path: Path,
) -> None:
    text = (fetch(tmp_path).written[-1] / "crime.csv").read_bytes().decode("utf-8")
    lines = text.split("\n")
    assert lines[0] == ";".join(CRIME.columns)
    assert "0;GM0363;2024JJ00;83290;89.4" in lines
    assert "0;GM0055;2024JJ00;;" in lines
    assert lines[-2] == "0;NL01  ;2024JJ00;811885;45.2"
    assert lines[-1] == ""
    assert lines[1:-1] == sorted(lines[1:-1])
    assert "\r" not in text


def test_status_comes_from_the_rows_where_they_have_it(tmp_path: Path) -> None:
    said: list[str] = []
    result = fetch(tmp_path, MEASURES, said=said)
    descriptors = [read_descriptor(folder) for folder in result.written]
    # Only the number of dwellings is known over 2025; final figures are not there at all.
    assert [(str(d.reference_period), d.observation_status) for d in descriptors] == [
        ("2023", FINAL),
        ("2024", FINAL),
        ("2024", PROVISIONAL),
        ("2025", PROVISIONAL),
    ]
    assert [str(cut) for cut in result.empty] == ["2023 provisional", "2025 final"]
    assert any("2025 final: no figures yet" in line for line in said)
    for folder, descriptor in zip(result.written, descriptors, strict=True):
        word = "Definitief" if descriptor.observation_status is FINAL else "Voorlopig"
        assert {row["StatusCijfer"] for row in rows_of(folder)} == {word}


def test_earlier_periods_are_left_out(tmp_path: Path) -> None:
    late = StatLineSource(**{**vars(CRIME), "first_period": Period.parse("2023")})
    result = fetch(tmp_path, late)
    assert [folder.name[:14] for folder in result.written] == ["cbs_crime-2023", "cbs_crime-2024"]


def test_periods_of_another_length_are_left_out(tmp_path: Path) -> None:
    quarterly = StatLineSource(**{**vars(CRIME), "first_period": Period.parse("2013-Q1")})
    result = fetch(tmp_path, quarterly)
    assert (result.written, result.n_rows) == ((), 324)


@pytest.mark.parametrize("page_size", [7, 324])
def test_two_fetches_write_the_same_bytes(tmp_path: Path, page_size: int) -> None:
    fetch(tmp_path / "one")
    fetch(tmp_path / "two", page_size=page_size)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_rows_in_another_order_are_the_same_delivery(tmp_path: Path) -> None:
    source = SAMPLE / "83648NED" / "TypedDataSet.csv"
    header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    turned = tmp_path / "turned" / "83648NED"
    turned.mkdir(parents=True)
    (turned / "TypedDataSet.csv").write_text(header + "".join(reversed(lines)))
    fetch(tmp_path / "one")
    fetch(tmp_path / "two", folder=tmp_path / "turned")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_waits_in_landing_is_not_written_again(tmp_path: Path) -> None:
    first = fetch(tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    second = fetch(tmp_path)
    assert second.written == ()
    assert second.unchanged == tuple(folder.name for folder in first.written)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == stamps


def test_what_was_accepted_is_not_delivered_again(tmp_path: Path) -> None:
    first = fetch(tmp_path / "one")
    known = Accepted(tmp_path / "one" / "landing")
    second = fetch(tmp_path / "two", known=known)
    assert second.written == ()
    assert second.unchanged == tuple(folder.name for folder in first.written)
    assert tree(tmp_path / "two") == {}


def test_only_a_period_that_became_final_is_new(tmp_path: Path) -> None:
    first = fetch(tmp_path / "one")
    overlay = later_version(tmp_path / "next", "{2024JJ00: Definitief}", "GM0363;2024JJ00;84000.0")
    known = Accepted(tmp_path / "one" / "landing")
    second = fetch(tmp_path / "two", known=known, overlay=overlay)
    (new,) = second.written
    descriptor = read_descriptor(new)
    assert (str(descriptor.reference_period), descriptor.observation_status) == ("2024", FINAL)
    assert descriptor.delivered_at == datetime(2026, 4, 1, 0, 0, 0, tzinfo=UTC)
    assert descriptor.supersedes is None
    assert second.unchanged == tuple(folder.name for folder in first.written[:-1])
    amsterdam = next(row for row in rows_of(new) if row["RegioS"] == "GM0363")
    assert amsterdam["TotaalGeregistreerdeMisdrijven_1"] == "84000"


def test_a_revised_period_supersedes_the_last_delivery_of_it(tmp_path: Path) -> None:
    first = fetch(tmp_path / "one")
    overlay = later_version(tmp_path / "next", "{}", "GM0363;2023JJ00;82410.0")
    known = Accepted(tmp_path / "one" / "landing")
    second = fetch(tmp_path / "two", known=known, overlay=overlay)
    (new,) = second.written
    assert read_descriptor(new).supersedes == first.written[-2].name
    assert new.name != first.written[-2].name
    assert len(second.unchanged) == 11


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_statline_fetch import CRIME, PROJECT
from zicht.deliveries import package
from zicht.settings import Settings
from zicht.statline.client import StatLineClient
from zicht.statline.fetch import NothingKnown, fetch_table

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

replace, calls = os.replace, []

def fifth_time_unlucky(*args):
    calls.append(args)
    if len(calls) == 5:
        die()
    replace(*args)

def progress(sentence):
    if {moment!r} == "between" and "2017" in sentence:
        die()

if {moment!r} == "before the descriptor":
    package.os.replace = fifth_time_unlucky
with StatLineClient({url!r}) as client:
    settings = Settings(home=Path({home!r}), project=PROJECT)
    clock = lambda: datetime(2025, 4, 30, tzinfo=UTC)
    fetch_table(CRIME, client, settings, clock, NothingKnown(), progress)
"""


@pytest.mark.parametrize("moment", ["between", "before the descriptor"])
def test_a_fetch_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, moment: str) -> None:
    home = tmp_path / "killed"
    with replay(SAMPLE) as url:
        script = _KILLED.format(
            tests=str(Path(__file__).parent), moment=moment, url=url, home=str(home)
        )
        run = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    folders = list((home / "landing" / "cbs_crime").iterdir())
    complete = [p for p in folders if (p / "datapackage.json").exists()]
    assert 0 < len(complete) < 12
    for folder in complete:
        verify_files(folder, read_descriptor(folder))
    half = set(folders) - set(complete)
    assert len(half) == (1 if moment == "before the descriptor" else 0)
    for folder in half:
        (folder / "left_over.csv").write_text("from another attempt")
    result = fetch(home)
    assert len(result.written) == 12 - len(complete)
    fetch(tmp_path / "whole")
    assert tree(home) == tree(tmp_path / "whole")


def failure(home: Path, contract: StatLineSource = CRIME, *faults: Fault) -> RemoteError:
    """The error a fetch ends in, having written nothing."""
    with pytest.raises(RemoteError) as caught:
        fetch(home, contract, faults=Faults(*faults))
    assert tree(home) == {}
    return caught.value


def test_a_table_replaced_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    replaced = Fault(FaultKind.MODIFIED, match="TableInfos", after=1, value="2025-04-02T02:00:00")
    assert failure(tmp_path, CRIME, replaced).code == "Z-NET-004"


def test_a_service_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = Fault(FaultKind.TRUNCATED, times=99, match="TypedDataSet")
    assert failure(tmp_path, CRIME, broken).code == "Z-NET-001"


def test_a_modified_without_sense_is_refused(tmp_path: Path) -> None:
    wrong = Fault(FaultKind.MODIFIED, value="gisteren")
    error = failure(tmp_path, CRIME, wrong)
    assert error.code == "Z-NET-003"
    assert "Modified" in str(error)


def test_a_column_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = StatLineSource(**{**vars(CRIME), "columns": (*CRIME.columns, "Verdwenen_9")})
    error = failure(tmp_path, gone)
    assert error.code == "Z-NET-003"
    assert "Verdwenen_9" in str(error)


def test_a_code_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = StatLineSource(**{**vars(CRIME), "filters": {"SoortMisdrijf": "T001161"}})
    error = failure(tmp_path, gone)
    assert error.code == "Z-NET-003"
    assert "T001161" in str(error)


def test_a_padded_code_is_found_by_its_plain_form(tmp_path: Path) -> None:
    country = StatLineSource(**{**vars(CRIME), "filters": {"RegioS": "NL01"}})
    result = fetch(tmp_path, country)
    assert result.n_rows == 12
    assert rows_of(result.written[-1])[0]["RegioS"] == "NL01  "


def test_periods_without_a_status_are_refused(tmp_path: Path) -> None:
    unclear = StatLineSource(**{**vars(MEASURES), "status_column": None})
    error = failure(tmp_path, unclear)
    assert error.code == "Z-NET-003"
    assert "2023JJ00" in str(error)
    assert "status column" in str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "../elsewhere"},
        {"table": "83648NED/x"},
        {"table_name": "a/b"},
        {"columns": ("RegioS", "Perioden", "x eq 'y'")},
        {"columns": ("RegioS", "Perioden", "RegioS")},
        {"columns": ("RegioS",)},
        {"region_column": "Woongemeente"},
        {"status_column": "StatusCijfer"},
        {"filters": {"a b": "c"}},
    ],
)
def test_a_source_whose_parts_do_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StatLineSource(**{**vars(CRIME), **wrong})
    assert caught.value.code == "Z-CFG-061"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Definitief", FINAL),
        ("Voorlopig", PROVISIONAL),
        ("NaderVoorlopig", PROVISIONAL),
        (" voorlopig  ", PROVISIONAL),
    ],
)
def test_the_status_words_of_cbs(word: str, status: ObservationStatus) -> None:
    assert parse_status(word, "here") is status


@pytest.mark.parametrize("word", ["", None, "Final", "0"])
def test_other_status_words_are_refused(word: str | None) -> None:
    with pytest.raises(RemoteError, match="here"):
        parse_status(word, "here")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (-5, "-5"),
        (Decimal("100.0"), "100"),
        (Decimal("65.90"), "65.9"),
        (Decimal("1E+6"), "1000000"),
        (Decimal("1.5E-7"), "0.00000015"),
        (Decimal("-0.0"), "0"),
        (Decimal("100"), "100"),
        ("NL01  ", "NL01  "),
        ("1.0", "1.0"),
    ],
)
def test_values_are_written_as_cbs_gives_them(value: str | int | Decimal | None, text: str) -> None:
    assert format_value(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_a_number_keeps_its_value_and_has_one_form(number: Decimal) -> None:
    text = format_value(number)
    assert Decimal(text) == number
    assert "e" not in text.lower()
    assert format_value(Decimal(text)) == text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_values_that_no_table_has_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        format_value(value)  # type: ignore[arg-type]


@pytest.mark.skipif(not WHOLE.is_dir(), reason="../shared/data/statline is not there")
def test_whole_tables_arrive_complete(tmp_path: Path) -> None:
    result = fetch(tmp_path, folder=WHOLE, page_size=1_000)
    assert result.n_rows == 7_200
    assert len(result.written) == 12
    figures = 0
    for delivery in result.written:
        for row in rows_of(delivery):
            if row["RegioS"].startswith("GM") and row["TotaalGeregistreerdeMisdrijven_1"]:
                figures += int(row["TotaalGeregistreerdeMisdrijven_1"])
    with (WHOLE / "83648NED_TypedDataSet.csv").open(encoding="utf-8") as stream:
        expected = sum(
            float(row["TotaalGeregistreerdeMisdrijven_1"] or 0)
            for row in csv.DictReader(stream, delimiter=";")
            if row["RegioS"].startswith("GM") and row["Perioden"] >= "2013"
        )
    assert figures == expected > 0
