"""Every way in which a delivery can be wrong: refused for its own reason, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support import (
    NOW,
    PROJECT,
    Period,
    drop_sample,
    drop_variant,
    sample_delivery,
    settings_at,
    silent,
    take_in_all,
    zicht,
)
from zicht.clock import fixed_clock
from zicht.contracts import load_contract
from zicht.deliveries.intake import IntakeReport, take_in
from zicht.deliveries.ledger import latest, read_ledger
from zicht.deliveries.package import (
    DESCRIPTOR,
    MAX_DESCRIPTOR_BYTES,
    ObservationStatus,
    read_descriptor,
    write_delivery,
)
from zicht.deliveries.quarantine import PAYLOAD, REPORT, read_quarantine
from zicht.settings import Settings

SOURCE = "cbs_crime"
FILE = "crime.csv"
FIRST = "2023"
"""Accepted before any faulty delivery comes."""
Maker = Callable[[Settings, str], None]


def model() -> Path:
    return sample_delivery(SOURCE, "2024")


def variant(change: Callable[[bytes], bytes] | None = None, **fields: Any) -> Maker:
    """A delivery like that of 2024 with other content or other fields."""

    def drop(settings: Settings, name: str) -> None:
        drop_variant(settings, model(), name=name, change=change, **fields)

    return drop


def altered(change: Callable[[Path], None], **fields: Any) -> Maker:
    """A good delivery in whose folder something is changed after it was described."""

    def drop(settings: Settings, name: str) -> None:
        change(drop_variant(settings, model(), name=name, **fields))

    return drop


def described(change: Callable[[dict[str, Any]], None]) -> Maker:
    """A good delivery whose descriptor says something else."""

    def edit(folder: Path) -> None:
        document = json.loads((folder / DESCRIPTOR).read_text())
        change(document)
        (folder / DESCRIPTOR).write_text(json.dumps(document))

    return altered(edit)


def swap(old: bytes, new: bytes, count: int = 1) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, count)

    return change


def cell(column: int, value: bytes, region: bytes = b"GM0363") -> Callable[[bytes], bytes]:
    """Puts ``value`` into one column of the row of Amsterdam."""

    def change(content: bytes) -> bytes:
        lines = content.split(b"\n")
        row = next(i for i, line in enumerate(lines) if region in line)
        fields = lines[row].split(b";")
        fields[column] = value
        lines[row] = b";".join(fields)
        return b"\n".join(lines)

    return change


def columns(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """Edits every line as a list of fields."""

    def change(content: bytes) -> bytes:
        return b"\n".join(
            b";".join(edit(line.split(b";"))) if line else line for line in content.split(b"\n")
        )

    return change


def renamed(content: bytes) -> bytes:
    return content.replace(b"TotaalOpgehelderdeMisdrijven_4", b"Opgehelderd", 1)


def repeated(content: bytes) -> bytes:
    row = next(line for line in content.split(b"\n") if b"GM0363" in line)
    return content.rstrip(b"\n") + b"\n" + row + b"\n"


def padded_repeat(content: bytes) -> bytes:
    row = next(line for line in content.split(b"\n") if b"GM0363" in line)
    return content.rstrip(b"\n") + b"\n" + row.replace(b"GM0363", b"GM0363  ") + b"\n"


def one_byte(folder: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    content[-3] ^= 1
    (folder / FILE).write_bytes(bytes(content))


def linked(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        elsewhere = folder.parents[2] / f"elsewhere-{name}"
        shutil.move(folder / name, elsewhere)
        (folder / name).symlink_to(elsewhere)

    return change


def resource(**fields: Any) -> Maker:
    def change(document: dict[str, Any]) -> None:
        document["resources"][0].update(fields)

    return described(change)


def of(**fields: Any) -> Maker:
    return described(lambda document: document.update(fields))


def without(key: str) -> Maker:
    return described(lambda document: document.pop(key))


def listed_twice(document: dict[str, Any]) -> None:
    document["resources"] *= 2


def not_a_table(settings: Settings, name: str) -> None:
    content = (model() / FILE).read_bytes()
    drop_variant(settings, model(), name=name, tables={FILE: content, "extra.csv": content})


def same_id(settings: Settings, name: str) -> None:
    """The id of an accepted delivery with other content, in a folder of its own."""
    accepted = sample_delivery(SOURCE, FIRST)
    folder = drop_variant(
        settings, accepted, name=accepted.name, change=cell(3, b"100"), reference_period=P(FIRST)
    )
    os.replace(folder, folder.with_name(name))


def supersedes_last_year(settings: Settings, name: str) -> None:
    drop_variant(settings, model(), name=name, supersedes=sample_delivery(SOURCE, FIRST).name)


def P(text: str) -> Period:
    return Period.parse(text)


@dataclass(frozen=True)
class Fault:
    """One fault: what is dropped, and what the report must say.

    Attributes:
        make: drops it into landing.
        code: the code of the reason.
        rule: the rule in the reason.
        says: a part of the message or the remedy that is about this fault and no other.
        file: the file that the reason names.
        row: what the first row in the sample holds; empty when the fault is not about rows.
    """

    make: Maker
    code: str
    rule: str
    says: str
    file: str = FILE
    row: Mapping[str, Any] = field(default_factory=dict)


COUNT = "TotaalGeregistreerdeMisdrijven_1"
RATE = "GeregistreerdeMisdrijvenPer1000Inw_3"

FAULTS: dict[str, Fault] = {
    "changed-byte": Fault(altered(one_byte), "Z-DEL-004", "files_as_described", "one byte differs"),
    "wrong-size": Fault(
        altered(lambda folder: os.truncate(folder / FILE, 100)),
        "Z-DEL-004",
        "files_as_described",
        "has 100 bytes",
    ),
    "file-missing": Fault(
        altered(lambda folder: (folder / FILE).unlink()),
        "Z-DEL-004",
        "files_as_described",
        "not in the delivery",
    ),
    "extra-file": Fault(
        altered(lambda folder: (folder / "notes.txt").write_bytes(b"hello")),
        "Z-DEL-004",
        "files_as_described",
        "notes.txt lies in the delivery",
        file="notes.txt",
    ),
    "extra-file-with-bytes-for-a-name": Fault(
        altered(lambda folder: (folder / os.fsdecode(b"caf\xe9\x1b[31m")).write_bytes(b"")),
        "Z-DEL-004",
        "files_as_described",
        r"caf\udce9\x1b[31m lies in the delivery",
        file=r"caf\udce9\x1b[31m",
    ),
    "folder-inside": Fault(
        altered(lambda folder: (folder / "more").mkdir()),
        "Z-DEL-004",
        "files_as_described",
        "more lies in the delivery",
        file="more",
    ),
    "link-as-file": Fault(altered(linked(FILE)), "Z-DEL-006", "no_links", "crime.csv is a symb"),
    "link-as-descriptor": Fault(
        altered(linked(DESCRIPTOR)),
        "Z-DEL-006",
        "no_links",
        "datapackage.json is a symb",
        file=DESCRIPTOR,
    ),
    "descriptor-not-json": Fault(
        altered(lambda folder: (folder / DESCRIPTOR).write_text("{not json")),
        "Z-DEL-002",
        "descriptor_is_json",
        "not JSON",
        file=DESCRIPTOR,
    ),
    "descriptor-not-utf-8": Fault(
        altered(lambda folder: (folder / DESCRIPTOR).write_bytes(b'{"a": "\xe9"}')),
        "Z-DEL-002",
        "descriptor_is_json",
        "can't decode byte",
        file=DESCRIPTOR,
    ),
    "descriptor-deeply-nested": Fault(
        altered(lambda folder: (folder / DESCRIPTOR).write_text("[" * 200_000)),
        "Z-DEL-002",
        "descriptor_is_json",
        "recursion",
        file=DESCRIPTOR,
    ),
    "descriptor-a-list": Fault(
        altered(lambda folder: (folder / DESCRIPTOR).write_text("[]")),
        "Z-DEL-002",
        "descriptor_is_json",
        "not a JSON object",
        file=DESCRIPTOR,
    ),
    "descriptor-too-large": Fault(
        altered(lambda folder: (folder / DESCRIPTOR).write_text(" " * (MAX_DESCRIPTOR_BYTES + 1))),
        "Z-DEL-002",
        "descriptor_is_json",
        "larger than",
        file=DESCRIPTOR,
    ),
    "descriptor-without-period": Fault(
        without("reference_period"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "'reference_period' is missing",
        file=DESCRIPTOR,
    ),
    "period-of-no-form": Fault(
        of(reference_period="2024-13"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "'2024-13' is not a reference period",
        file=DESCRIPTOR,
    ),
    "moment-outside-the-calendar": Fault(
        of(delivered_at="0001-01-01T00:00:00+14:00"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "outside the calendar",
        file=DESCRIPTOR,
    ),
    "moment-without-zone": Fault(
        of(delivered_at="2025-04-01T00:00:00"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "no time zone",
        file=DESCRIPTOR,
    ),
    "status-unknown": Fault(
        of(observation_status="draft"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "'draft' is not a valid",
        file=DESCRIPTOR,
    ),
    "name-with-line-end": Fault(
        of(name="abc\n"), "Z-DEL-003", "descriptor_is_complete", "cannot be printed", DESCRIPTOR
    ),
    "name-that-climbs": Fault(
        of(name="../abc"), "Z-DEL-003", "descriptor_is_complete", "is not of letters", DESCRIPTOR
    ),
    "half-surrogate": Fault(
        of(source="cbs_\ud800crime"),
        "Z-DEL-003",
        "descriptor_is_complete",
        "'source' holds signs",
        DESCRIPTOR,
    ),
    "supersedes-a-number": Fault(
        of(supersedes=5), "Z-DEL-003", "descriptor_is_complete", "'supersedes' is", DESCRIPTOR
    ),
    "archive-a-text": Fault(
        of(archive="yes"), "Z-DEL-003", "descriptor_is_complete", "neither true nor", DESCRIPTOR
    ),
    "hash-of-no-form": Fault(
        resource(hash="md5:abc"), "Z-DEL-003", "descriptor_is_complete", "hex digits", DESCRIPTOR
    ),
    "size-of-no-form": Fault(
        resource(bytes="many"), "Z-DEL-003", "descriptor_is_complete", "whole number", DESCRIPTOR
    ),
    "path-that-climbs": Fault(
        resource(path="../x"), "Z-DEL-005", "plain_path", "'../x' is not", DESCRIPTOR
    ),
    "path-absolute": Fault(
        resource(path="/etc/passwd"), "Z-DEL-005", "plain_path", "'/etc/passwd' is", DESCRIPTOR
    ),
    "other-source": Fault(
        of(source="cbs_measures"),
        "Z-DEL-007",
        "own_folder",
        "says it is of cbs_measures",
        DESCRIPTOR,
    ),
    "before-the-contract": Fault(
        variant(reference_period=P("2012")),
        "Z-DEL-008",
        "period_of_contract",
        "2012 is outside the contract",
        DESCRIPTOR,
    ),
    "other-cadence": Fault(
        variant(reference_period=P("2024-Q1")),
        "Z-DEL-008",
        "period_of_contract",
        "2024-Q1 is outside the contract",
        DESCRIPTOR,
    ),
    "future-period": Fault(
        variant(reference_period=P("2026")),
        "Z-DEL-008",
        "period_of_contract",
        "2026 had not begun",
        DESCRIPTOR,
    ),
    "delivered-in-the-future": Fault(
        variant(reference_period=P("2026"), delivered_at=NOW + timedelta(days=700)),
        "Z-DEL-012",
        "delivered_in_the_past",
        "lies in the future",
        DESCRIPTOR,
    ),
    "table-renamed": Fault(
        resource(name="crimes"),
        "Z-DEL-009",
        "tables_of_contract",
        "holds crimes where",
        DESCRIPTOR,
    ),
    "table-twice": Fault(
        described(listed_twice),
        "Z-DEL-009",
        "tables_of_contract",
        "holds crime, crime where",
        DESCRIPTOR,
    ),
    "table-not-in-contract": Fault(
        not_a_table, "Z-DEL-009", "tables_of_contract", "holds crime, extra where", DESCRIPTOR
    ),
    "no-tables": Fault(
        of(resources=[]),
        "Z-DEL-003",
        "descriptor_is_complete",
        "'resources' is missing or empty",
        DESCRIPTOR,
    ),
    "same-id-other-content": Fault(
        same_id, "Z-DEL-010", "never_edited", "and other content was accepted", DESCRIPTOR
    ),
    "supersedes-unknown": Fault(
        variant(supersedes="never-heard-of"),
        "Z-DEL-011",
        "supersedes_known",
        "never-heard-of, which was never accepted",
        DESCRIPTOR,
    ),
    "supersedes-other-period": Fault(
        supersedes_last_year,
        "Z-DEL-011",
        "supersedes_known",
        "which describes 2023",
        DESCRIPTOR,
    ),
    "empty-file": Fault(variant(lambda _: b""), "Z-DEL-020", "header", "is empty"),
    "column-name-twice": Fault(
        variant(swap(b"Perioden", b"RegioS")), "Z-DEL-021", "header", "stands there twice"
    ),
    "wrong-encoding": Fault(
        variant(lambda content: cell(0, "misdrijf é".encode("latin-1"))(content)),
        "Z-DEL-022",
        "encoding",
        "is not utf-8",
        row={"column": "SoortMisdrijf"},
    ),
    "wrong-encoding-in-header": Fault(
        variant(swap(b"Perioden", b"P\xe9rioden")), "Z-DEL-022", "encoding", "is not utf-8: line 1"
    ),
    "ragged-line": Fault(
        variant(cell(6, b"5;5")), "Z-DEL-023", "readable", "Expected Number of Columns"
    ),
    "quote-never-closed": Fault(
        variant(cell(0, b'"0')), "Z-DEL-023", "readable", "unterminated quote"
    ),
    "old-line-ends": Fault(
        variant(lambda content: content.replace(b"\n", b"\r")), "Z-DEL-023", "readable", "line 1:"
    ),
    "endless-header": Fault(
        variant(lambda content: b"a" * 200_000 + content), "Z-DEL-023", "readable", "field larger"
    ),
    "other-delimiter": Fault(
        variant(lambda content: content.replace(b";", b"\t")), "Z-DEL-101", "columns", "columns"
    ),
    "missing-column": Fault(
        variant(columns(lambda fields: fields[:-1])), "Z-DEL-101", "columns", "columns of the con"
    ),
    "extra-column": Fault(
        variant(columns(lambda fields: [*fields, b"5"])), "Z-DEL-101", "columns", "no more and no"
    ),
    "renamed-column": Fault(variant(renamed), "Z-DEL-101", "columns", "spelled as there"),
    "header-only": Fault(
        variant(lambda content: content.split(b"\n")[0] + b"\n"),
        "Z-DEL-102",
        "has_rows",
        "at least 1 row",
    ),
    "text-in-a-number": Fault(
        variant(cell(3, b"many")), "Z-DEL-103", "types", "has the type", row={"column": COUNT}
    ),
    "decimal-comma": Fault(
        variant(cell(4, b"93,1")),
        "Z-DEL-103",
        "types",
        "decimal point",
        row={"column": RATE, "value": "93,1"},
    ),
    "half-a-crime": Fault(
        variant(cell(3, b"99.6")),
        "Z-DEL-103",
        "types",
        "has the type",
        row={"column": COUNT, "value": "99.6"},
    ),
    "not-a-number": Fault(
        variant(cell(4, b"nan")), "Z-DEL-103", "types", "has the type", row={"value": "nan"}
    ),
    "underscore-in-a-number": Fault(
        variant(cell(3, b"1_000")), "Z-DEL-103", "types", "has the type", row={"value": "1_000"}
    ),
    "empty-key": Fault(
        variant(cell(1, b"   ")), "Z-DEL-104", "required", "Keys and", row={"column": "RegioS"}
    ),
    "duplicate-key": Fault(
        variant(repeated), "Z-DEL-105", "unique_key", "same key", row={"value": "0 / GM0363 / 2024"}
    ),
    "duplicate-key-but-for-padding": Fault(
        variant(padded_repeat),
        "Z-DEL-105",
        "unique_key",
        "same key",
        row={"value": "0 / GM0363 / 2024"},
    ),
    "rows-of-another-period": Fault(
        variant(swap(b"2024JJ00", b"2022JJ00")),
        "Z-DEL-106",
        "reference_period",
        "the descriptor states",
        row={"column": "Perioden", "value": "2022JJ00"},
    ),
    "unknown-municipality": Fault(
        variant(swap(b"GM0363", b"GM9999")),
        "Z-DEL-107",
        "known_region",
        "code list of",
        row={"column": "RegioS", "value": "GM9999"},
    ),
    "neighbourhood": Fault(
        variant(swap(b"GM0363", b"BU03630000")),
        "Z-DEL-108",
        "no_neighbourhood",
        "neighbourhood",
        row={"column": "RegioS", "value": "BU03630000"},
    ),
    "district": Fault(
        variant(swap(b"GM0363", b"WK036300")),
        "Z-DEL-108",
        "no_neighbourhood",
        "neighbourhood",
        row={"column": "RegioS", "value": "WK036300"},
    ),
    "neighbourhood-in-small-letters": Fault(
        variant(cell(0, b"bu03630000")),
        "Z-DEL-108",
        "no_neighbourhood",
        "neighbourhood",
        row={"column": "SoortMisdrijf", "value": "bu03630000"},
    ),
    "region-gone": Fault(
        variant(cell(3, b"100", region=b"GM0051")),
        "Z-DEL-109",
        "region_existed",
        "did not exist",
        row={"column": "RegioS", "value": "GM0051"},
    ),
    "negative-count": Fault(
        variant(cell(3, b"-5")), "Z-DEL-110", "range", "never negative", row={"column": COUNT}
    ),
    "not-rounded": Fault(
        variant(cell(3, b"101")),
        "Z-DEL-111",
        "rounding_base",
        "multiples of its base",
        row={"column": COUNT, "value": "101"},
    ),
    "code-not-listed": Fault(
        variant(cell(0, b"7")), "Z-DEL-112", "code_list", "contract's list", row={"value": "7"}
    ),
}


def content_of(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder: its bytes, or for a link where it leads to."""
    return {
        os.fsdecode(os.fsencode(path.relative_to(folder))): (
            f"link to {os.readlink(path)}"
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


@dataclass(frozen=True)
class Aftermath:
    """What is there after all faulty deliveries came in at once, with good ones between them."""

    settings: Settings
    dropped: Mapping[str, Mapping[str, bytes | str]]
    good: str
    before: frozenset[str]
    report: IntakeReport


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    settings = settings_at(tmp_path_factory.mktemp("refusals") / "home")
    drop_sample(settings, SOURCE, [FIRST])
    take_in_all(settings, sources=[SOURCE])
    before = frozenset(record.id for record in read_ledger(settings))
    dropped = {}
    for name, fault in FAULTS.items():
        fault.make(settings, name)
        dropped[name] = content_of(settings.landing / SOURCE / name)
    (good,) = drop_sample(settings, SOURCE, ["2024"])
    report = take_in_all(settings, sources=[SOURCE])[SOURCE]
    return Aftermath(settings, dropped, good.name, before, report)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_refused_for_its_own_reason(aftermath: Aftermath, name: str) -> None:
    fault = FAULTS[name]
    folder = aftermath.settings.quarantine / SOURCE / name
    report = json.loads((folder / REPORT).read_text())
    assert report["landing_name"] == name
    reasons = [reason for reason in report["reasons"] if reason["code"] == fault.code]
    assert reasons, report["reasons"]
    reason = reasons[0]
    assert reason["rule"] == fault.rule
    assert reason["file"] == fault.file
    assert fault.says in f"{reason['message']} {reason['remedy']}"
    assert reason["remedy"]
    if fault.row:
        row = reason["rows"][0]
        assert row["_row"] >= 1
        assert row["column"]
        assert {key: str(row[key]).strip()[:17] for key in fault.row} == {
            key: value[:17] for key, value in fault.row.items()
        }


@pytest.mark.parametrize("name", FAULTS)
def test_the_refused_delivery_is_kept_byte_for_byte(aftermath: Aftermath, name: str) -> None:
    kept = content_of(aftermath.settings.quarantine / SOURCE / name / PAYLOAD)
    assert kept == aftermath.dropped[name]


def test_only_the_fault_itself_is_reported(aftermath: Aftermath) -> None:
    for refusal in read_quarantine(aftermath.settings):
        codes = {reason["code"] for reason in refusal.reasons}
        # A code that stands for a neighbourhood is not in the code list of its column either.
        codes -= {"Z-DEL-112"} if refusal.folder.name.startswith("neighbourhood-in") else set()
        assert codes == {FAULTS[refusal.folder.name].code}, refusal.folder.name


def test_different_faults_read_differently(aftermath: Aftermath) -> None:
    """What a provider must cure differently never has the same code and message."""
    seen: dict[tuple[str, str, str], str] = {}
    alike = {
        "decimal-comma": "text-in-a-number",
        "half-a-crime": "text-in-a-number",
        "not-a-number": "text-in-a-number",
        "underscore-in-a-number": "text-in-a-number",
        "duplicate-key-but-for-padding": "duplicate-key",
        "district": "neighbourhood",
        "neighbourhood-in-small-letters": "neighbourhood",
        "extra-column": "missing-column",
        "renamed-column": "missing-column",
        "other-delimiter": "missing-column",
    }
    for refusal in read_quarantine(aftermath.settings):
        name = refusal.folder.name
        first = refusal.reasons[0]
        key = (first["code"], first["message"], json.dumps(first["observed"]))
        same = seen.setdefault(key, alike.get(name, name))
        assert same == alike.get(name, name), f"{name} reads like {same}"


def test_the_good_delivery_between_them_is_accepted(aftermath: Aftermath) -> None:
    assert aftermath.report.accepted == (aftermath.good,)
    after = {record.id for record in read_ledger(aftermath.settings)}
    assert after == aftermath.before | {aftermath.good}


def test_nothing_is_left_behind(aftermath: Aftermath) -> None:
    settings = aftermath.settings
    assert list((settings.landing / SOURCE).iterdir()) == []
    assert len(aftermath.report.refused) == len(FAULTS)
    assert not list(settings.home.rglob(".*"))
    assert not list(settings.scratch.rglob("*.duckdb"))


def test_status_shows_every_refusal(aftermath: Aftermath) -> None:
    shown = zicht("status", "--json", home=aftermath.settings.home)
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    listed = {Path(entry["folder"]).name: entry for entry in document["refused"]}
    assert set(listed) == set(FAULTS)
    for name, entry in listed.items():
        assert FAULTS[name].code in {reason["code"] for reason in entry["reasons"]}
    (row,) = (row for row in document["sources"] if row["source"] == SOURCE)
    assert (row["n_accepted"], row["n_refused"]) == (2, len(FAULTS))
    plain = zicht("status", home=aftermath.settings.home)
    assert plain.returncode == 0, plain.stderr
    assert "\x1b" not in plain.stdout


def test_a_second_run_changes_nothing(aftermath: Aftermath) -> None:
    before = content_of(aftermath.settings.home)
    report = take_in_all(aftermath.settings, sources=[SOURCE])[SOURCE]
    assert (report.accepted, report.refused, report.unchanged) == ((), (), ())
    assert content_of(aftermath.settings.home) == before


def test_without_its_descriptor_a_delivery_waits(settings: Settings) -> None:
    (folder,) = drop_sample(settings, SOURCE, ["2024"])
    descriptor = (folder / DESCRIPTOR).read_bytes()
    (folder / DESCRIPTOR).unlink()
    report = take_in_all(settings, sources=[SOURCE])[SOURCE]
    assert (report.accepted, report.refused, report.unchanged) == ((), (), ())
    assert (folder / FILE).exists()
    shown = json.loads(zicht("status", "--json", home=settings.home).stdout)
    assert [row["n_incomplete"] for row in shown["sources"] if row["source"] == SOURCE] == [1]
    (folder / DESCRIPTOR).write_bytes(descriptor)
    assert take_in_all(settings, sources=[SOURCE])[SOURCE].accepted == (folder.name,)
    assert not folder.exists()


def test_the_same_content_again_is_unchanged(settings: Settings) -> None:
    (folder,) = drop_sample(settings, SOURCE, ["2024"])
    take_in_all(settings, sources=[SOURCE])
    accepted = content_of(settings.raw / SOURCE / "reference_period=2024")
    drop_sample(settings, SOURCE, ["2024"])
    drop_variant(settings, model(), name="again")
    report = take_in_all(settings, sources=[SOURCE])[SOURCE]
    assert (report.accepted, report.refused) == ((), ())
    assert set(report.unchanged) == {folder.name, "again"}
    assert content_of(settings.raw / SOURCE / "reference_period=2024") == accepted
    assert [record.id for record in read_ledger(settings)] == [folder.name]
    assert list((settings.landing / SOURCE).iterdir()) == []


def test_figures_that_go_back_count_again(settings: Settings) -> None:
    first = drop_variant(settings, model(), name="first").name
    take_in_all(settings, fixed_clock(NOW), [SOURCE])
    for step, (name, change) in enumerate((("second", cell(3, b"100")), ("third", None)), start=1):
        drop_variant(settings, model(), name=name, change=change)
        clock = fixed_clock(NOW + timedelta(days=step))
        assert take_in_all(settings, clock, [SOURCE])[SOURCE].accepted == (name,)
    records = read_ledger(settings)
    assert [record.id for record in records] == [first, "second", "third"]
    key = (SOURCE, P("2024"), read_descriptor(model()).observation_status)
    for days, expected in ((0, first), (1, "second"), (2, "third")):
        assert latest(records, NOW + timedelta(days=days))[key].id == expected


@pytest.mark.parametrize("name", ["a*", "a[b]", "a?", "é " + "x" * 240, "-rf", "a;b'\"$(c)"])
def test_a_folder_may_have_any_name(settings: Settings, name: str) -> None:
    """A pattern in a folder's name never makes DuckDB read a neighbour's file."""
    base = settings.landing / SOURCE
    neighbour = drop_variant(settings, model(), name="ab", change=cell(3, b"101"))
    good = drop_variant(settings, sample_delivery(SOURCE, FIRST), name="good")
    os.replace(good, base / name)
    bad = drop_variant(settings, model(), name="bad", change=cell(3, b"102"))
    os.replace(bad, base / (name[:-1] + "2"))
    report = take_in_all(settings, sources=[SOURCE])[SOURCE]
    assert report.accepted == ("good",)
    assert set(report.refused) == {"bad", neighbour.name}
    assert list(base.iterdir()) == []
    (record,) = read_ledger(settings)
    content = (sample_delivery(SOURCE, FIRST) / FILE).read_bytes()
    assert record.rows == {"crime": len(content.splitlines()) - 1}
    assert len(read_quarantine(settings)) == 2


def test_a_contract_that_is_not_from_statline_has_its_own_rules(tmp_path: Path) -> None:
    """Semicolons, windows-1252 and a pattern: all of it follows from the contract."""
    text = (PROJECT / "expectations" / "contracts" / "cbs_crime.yaml").read_text()
    text = text.replace("id: cbs_crime", "id: other_crime").replace("utf-8", "windows-1252")
    start, end = text.index("  - property: statline"), text.index("schema:")
    text = text[:start] + text[end:]
    text = text.replace(
        "description: Period code, for example 2024JJ00.",
        'description: Period.\n        logicalTypeOptions: {pattern: "[0-9]{4}"}',
    )
    text += (
        "    quality:\n"
        "      - name: cleared_within_registered\n"
        "        description: Never more cleared than registered.\n"
        "        type: custom\n"
        "        engine: greatExpectations\n"
        "        severity: error\n"
        "        implementation:\n"
        "          rows: select _row, 'x' as \"column\", 1 as value from {{ relation }} where\n"
        "            TotaalOpgehelderdeMisdrijven_4 > TotaalGeregistreerdeMisdrijven_1\n"
    )
    path = tmp_path / "other_crime.yaml"
    path.write_text(text)
    contract = load_contract(path)
    settings = settings_at(tmp_path / "home")
    header = ";".join(column.name for column in contract.tables[0].columns)
    for name, row in {
        "good": "0;GM0363;2024;100;1.5;50;5",
        "pattern": "0;GM0363;2024JJ00;100;1.5;50;5",
        "own-rule": "0;GM0363;2024;100;1.5;105;5",
        "euro": "€;GM0363;2024;100;1.5;50;5",
    }.items():
        write_delivery(
            settings.landing / "other_crime",
            id=name,
            source="other_crime",
            reference_period=P("2024"),
            observation_status=ObservationStatus.FINAL,
            delivered_at=NOW,
            tables={FILE: f"{header}\n{row}\n".encode("cp1252")},
        )
    report = take_in(settings, contract, fixed_clock(NOW), silent)
    assert report.accepted == ("good",)
    reasons = {refusal.delivery: refusal.reasons[0] for refusal in read_quarantine(settings)}
    assert (reasons["pattern"]["code"], reasons["pattern"]["rule"]) == ("Z-DEL-113", "pattern")
    assert reasons["euro"]["rows"] == [{"_row": 1, "column": "SoortMisdrijf", "value": "€"}]
    own = reasons["own-rule"]
    assert (own["code"], own["rule"]) == ("Z-DEL-120", "cleared_within_registered")
    assert own["rows"] == [{"_row": 1, "column": "x", "value": 1}]
    assert own["remedy"]
