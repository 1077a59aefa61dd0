"""Canaries are found however they are spelled, and nothing else is."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import urllib.parse
import zipfile
from pathlib import Path

import duckdb
import pytest

from zicht.attacker import canary_findings, search_canaries
from zicht.attacker.canaries import read_canaries
from zicht.errors import AttackError

NUMBER = "1234567"
TEXT = "Zoë Kanarie"

NUMBERS = {
    "plain": b"a,1234567,b",
    "decimals": b"1234567.0",
    "points": b"1.234.567",
    "commas": b"1,234,567",
    "spaces": b"1 234 567",
    "hard spaces": "1\u00a0234\u00a0567".encode(),
    "thin spaces": "1\u202f234\u202f567".encode(),
    "exponent": b"1.234567E6",
    "small exponent": b"1.234567e+06",
    "comma exponent": b"1,234567E+6",
    "hexadecimal": b"0x12d687 ",
    "int32": b"\xff" + struct.pack("<i", 1234567) + b"\xff",
    "int32 big": b"\xff" + struct.pack(">i", 1234567) + b"\xff",
    "int64": b"\xff" + struct.pack("<q", 1234567) + b"\xff",
    "double": b"\xff" + struct.pack("<d", 1234567.0) + b"\xff",
    "utf-16": "x1234567y".encode("utf-16-le"),
    "utf-16 big": "x1234567y".encode("utf-16-be"),
}
TEXTS = {
    "utf-8": TEXT.encode(),
    "capitals": TEXT.upper().encode(),
    "latin-1": TEXT.encode("latin-1"),
    "utf-16": TEXT.encode("utf-16-le"),
    "utf-32": TEXT.encode("utf-32-le"),
    "address": urllib.parse.quote(TEXT).encode(),
    "address, small letters": b"Zo%c3%ab%20Kanarie",
    "form": urllib.parse.quote_plus(TEXT).encode(),
    "json": b'"Zo\\u00eb Kanarie"',
    "html": b"Zo&#235; Kanarie",
    **{
        f"base64 at {n}": base64.b64encode(b"abc"[:n] + TEXT.encode() + b" and more")
        for n in range(4)
    },
}


@pytest.mark.parametrize("case", NUMBERS)
def test_spellings_of_a_number(tmp_path: Path, case: str) -> None:
    (tmp_path / "f.bin").write_bytes(b"before " + NUMBERS[case] + b" after")
    hits = search_canaries([tmp_path], [NUMBER, "7654321"])
    assert {hit.canary for hit in hits} == {NUMBER}


@pytest.mark.parametrize("case", TEXTS)
def test_spellings_of_a_text(tmp_path: Path, case: str) -> None:
    (tmp_path / "f.bin").write_bytes(b"before " + TEXTS[case] + b" after")
    hits = search_canaries([tmp_path], [TEXT, "Piet Kanarie"])
    assert {hit.canary for hit in hits} == {TEXT}


def test_decimals(tmp_path: Path) -> None:
    for text in (
        b"1234.56789",
        b"1234,56789",
        b"1.234,56789",
        b"1.23456789e3",
        struct.pack("<d", 1234.56789),
    ):
        (tmp_path / "f").write_bytes(b"x " + text + b" y")
        assert search_canaries([tmp_path / "f"], ["1234.56789"]), text


def test_other_numbers_are_not_canaries(tmp_path: Path) -> None:
    for text in (b"12345678", b"91234567", b"1.234.5678", b"123456", b"2d12d687", b"1234568"):
        (tmp_path / "f").write_bytes(b"x " + text + b" y")
        assert not search_canaries([tmp_path / "f"], [NUMBER]), text


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", content)
    return stream.getvalue()


def test_packed_files(tmp_path: Path) -> None:
    many = b"nothing to see " * 50 + b"1.234.567 " + b"nothing to see " * 50
    (tmp_path / "a.gz").write_bytes(gzip.compress(many))
    (tmp_path / "b.zip").write_bytes(zipped(gzip.compress(many)))
    hits = search_canaries([tmp_path], [NUMBER])
    assert {(Path(h.path).name, h.member) for h in hits} == {
        ("a.gz", "gzip"),
        ("b.zip", "inner.txt/gzip"),
    }
    (tmp_path / "b.zip").write_bytes(zipped(many)[:-40])
    with pytest.raises(AttackError, match="cannot be unpacked"):
        search_canaries([tmp_path / "b.zip"], [NUMBER])


def test_parquet_and_duckdb(tmp_path: Path) -> None:
    rows = "select (range * 37)::bigint as n, 'region ' || range as label from range(5000)"
    planted = "select 1234567, 'of Zoë Kanarie'"
    parquet, clean = tmp_path / "t.parquet", tmp_path / "clean.parquet"
    duckdb.execute(f"copy ({rows} union all {planted}) to '{parquet}' (compression zstd)")
    duckdb.execute(f"copy ({rows} where range <> 33366) to '{clean}' (compression zstd)")
    hits = search_canaries([parquet], [NUMBER, TEXT])
    assert {(h.member, h.canary) for h in hits if h.offset < 0} == {("n", NUMBER), ("label", TEXT)}
    assert not search_canaries([clean], [NUMBER, TEXT])
    database = tmp_path / "m.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"create table t as {rows} union all {planted}")
        connection.execute("create table empty (x integer)")
        connection.execute("comment on table empty is 'for Zoë Kanarie'")
    decoded = {
        (h.member, h.canary) for h in search_canaries([database], [NUMBER, TEXT]) if h.offset < 0
    }
    assert decoded == {("t.n", NUMBER), ("t.label", TEXT), ("duckdb_tables()", TEXT)}
    inside = tmp_path / "p.zip"
    inside.write_bytes(zipped(parquet.read_bytes()))
    assert {h.member for h in search_canaries([inside], [NUMBER]) if h.offset < 0} == {
        "inner.txt: n"
    }


def test_findings_and_names(tmp_path: Path) -> None:
    (tmp_path / "of 1234567.txt").write_text("1234567 and 1.234.567")
    (one,) = canary_findings(search_canaries([tmp_path], [NUMBER]))
    assert one.message == "holds the canary 1234567"
    assert one.evidence[:2] == ("as name", "as digits at byte 0")
    (tmp_path / "empty").write_bytes(b"")
    assert not search_canaries([tmp_path / "empty"], [NUMBER])


def test_canaries_must_be_rare(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("12 abc")
    for canary in ("12", "abc", "1e9"):
        with pytest.raises(AttackError, match="too short"):
            search_canaries([tmp_path / "f"], [canary])
    with pytest.raises(AttackError, match="no such file"):
        search_canaries([tmp_path / "none"], [NUMBER])
    with pytest.raises(AttackError, match="cannot be read"):
        read_canaries(tmp_path / "none")
    (tmp_path / "f").write_text("\n")
    with pytest.raises(AttackError, match="holds no canary"):
        read_canaries(tmp_path / "f")
