"""Searches published bytes for canaries: values that occur only in confidential data.

A canary that is found proves a path from confidential data to a release, whatever the tables say.
Every file is searched as raw bytes, in all spellings; packed files are unpacked first, and Parquet
and DuckDB files are also searched as decoded values, because they compress what they hold.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import mmap
import struct
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import duckdb

from zicht.attacker.complaints import unreadable
from zicht.attacker.findings import Finding, Kind, Severity
from zicht.attacker.published import no_pattern
from zicht.errors import AttackError

_FEWEST_DIGITS = 5
_FEWEST_CHARACTERS = 4
_SMALLEST_BINARY = 1 << 16
_MOST_NESTED = 4
_MOST_BYTES = 1 << 30

Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class CanaryHit:
    """A canary in a published file.

    Attributes:
        path: the file.
        member: where in it: a member of an archive, or a column of a table; empty for the bytes.
        canary: the value.
        spelling: how it was written.
        offset: at which byte; -1 for a decoded value.
    """

    path: str
    member: str
    canary: str
    spelling: str
    offset: int


def _number(canary: str) -> Decimal | None:
    try:
        value = Decimal(canary)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _check(canaries: Sequence[str]) -> None:
    for canary in canaries:
        value = _number(canary)
        if value is not None:
            short = sum(c.isdigit() for c in canary) < _FEWEST_DIGITS
            wanted = f"at least {_FEWEST_DIGITS} digits"
        else:
            short = len(canary) < _FEWEST_CHARACTERS
            wanted = f"at least {_FEWEST_CHARACTERS} characters"
        if short:
            raise AttackError(
                f"the canary {canary!r} is too short to be told from chance.",
                code="Z-ATT-015",
                remedy=f"Plant values of {wanted} that occur nowhere else.",
            )


def _grouped(whole: str, separator: str) -> str:
    head = len(whole) % 3
    parts = [whole[:head]] if head else []
    return separator.join([*parts, *(whole[i : i + 3] for i in range(head, len(whole), 3))])


def _number_texts(value: Decimal) -> dict[str, str]:
    """Spellings of a number as text."""
    plain = format(abs(value), "f")
    whole, _, fraction = plain.partition(".")
    fraction = fraction.rstrip("0")
    texts = {}
    for point, name in ((".", "point"), (",", "comma")):
        tail = f"{point}{fraction}" if fraction else ""
        texts[f"decimal {name}" if fraction else "digits"] = whole + tail
        for separator, group in (
            (".", "points"),
            (",", "commas"),
            (" ", "spaces"),
            ("\u00a0", "hard spaces"),
            ("\u202f", "thin spaces"),
            ("'", "apostrophes"),
            ("_", "underscores"),
        ):
            if separator != point and len(whole) > 3:
                texts[f"thousands by {group}, decimal {name}"] = _grouped(whole, separator) + tail
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0") or "0"
    exponent = (
        len(whole.lstrip("0")) - 1
        if whole.strip("0")
        else -(len(fraction) - len(fraction.lstrip("0")) + 1)
    )
    mantissas = {kept[0] + (f".{kept[1:]}" if len(kept) > 1 else "")}
    mantissas |= {m.replace(".", ",") for m in mantissas}
    for mantissa in sorted(mantissas):
        for sign in ("", "+"):
            for width in (1, 2):
                mark = f"e{sign}{exponent:0{width}d}" if exponent >= 0 else f"e{exponent}"
                texts[f"exponent {mantissa}{mark}"] = mantissa + mark
                texts[f"exponent {mantissa}{mark.upper()}"] = mantissa + mark.upper()
    if not fraction and int(whole) >= _SMALLEST_BINARY:
        texts["hexadecimal"] = f"{int(whole):x}"
        texts["hexadecimal, capitals"] = f"{int(whole):X}"
    return texts


def _number_bytes(value: Decimal) -> dict[str, bytes]:
    """Spellings of a number as bytes; small ones are left out, they occur by chance."""
    found: dict[str, bytes] = {}
    whole = int(value) if value == value.to_integral_value() else None
    if whole is not None and abs(whole) >= _SMALLEST_BINARY:
        for size, code, name in ((4, "i", "int32"), (4, "I", "uint32"), (8, "q", "int64")):
            try:
                found[f"{name}, little end first"] = struct.pack(f"<{code}", whole)
                found[f"{name}, big end first"] = struct.pack(f">{code}", whole)
            except struct.error:
                continue
            assert len(found[f"{name}, big end first"]) == size
    if whole is None or abs(whole) >= _SMALLEST_BINARY:
        found["double, little end first"] = struct.pack("<d", float(value))
        found["double, big end first"] = struct.pack(">d", float(value))
    return found


def _text_bytes(text: str) -> dict[str, bytes]:
    """Spellings of a text as bytes."""
    raw = text.encode("utf-8")
    found = {"utf-8": raw}
    for encoding in ("latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-32-le"):
        try:
            found[encoding] = text.encode(encoding)
        except UnicodeEncodeError:
            continue
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        # The first and last characters depend on what stands around the text.
        first = {0: 0, 1: 2, 2: 3}[shift]
        last = len(coded) - {0: 0, 1: 3, 2: 2}[(shift + len(raw)) % 3]
        core = coded[first:last]
        if len(core) >= _FEWEST_CHARACTERS:
            found[f"base64 at {shift}"] = core
            found[f"base64 for addresses at {shift}"] = core.translate(
                bytes.maketrans(b"+/", b"-_")
            )
    found["hexadecimal text"] = raw.hex().encode()
    found["hexadecimal text, capitals"] = raw.hex().upper().encode()
    quoted = urllib.parse.quote(text, safe="")
    found["address"] = quoted.encode()
    found["address, small letters"] = (
        urllib.parse.quote(text, safe="")
        .replace(
            quoted,
            "".join(
                c
                if c.isascii() and (c.isalnum() or c in "_.-~")
                else "".join(f"%{b:02x}" for b in c.encode())
                for c in text
            ),
        )
        .encode()
    )
    found["form"] = urllib.parse.quote_plus(text).encode()
    escaped = text.encode("unicode_escape").decode("ascii").replace("\\x", "\\u00")
    found["json"] = escaped.encode()
    found["html"] = text.encode("ascii", "xmlcharrefreplace")
    return found


def patterns_of(canary: str) -> dict[bytes, tuple[str, bool]]:
    """Byte patterns of a canary: per pattern how it is spelled, and whether it is digits.

    Digits count only where no other digit stands beside them.
    """
    found: dict[bytes, tuple[str, bool]] = {}
    value = _number(canary)
    if value is None:
        for text, case in ((canary, ""), (canary.lower(), "small"), (canary.upper(), "capitals")):
            for name, raw in _text_bytes(text).items():
                found.setdefault(raw, (f"{name}, {case}" if case else name, False))
        return found
    for name, text in _number_texts(value).items():
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
            try:
                raw = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            spelling = name if encoding == "utf-8" else f"{name}, {encoding}"
            found.setdefault(raw, (spelling, True))
    for name, raw in _text_bytes(canary).items():
        if name.startswith("base64"):
            found.setdefault(raw, (name, False))
    for name, raw in _number_bytes(value).items():
        found.setdefault(raw, (name, False))
    return found


def _beside_digit(buffer: Buffer, at: int, pattern: bytes) -> bool:
    """Whether the digits go on before or after: then it is another number."""
    wide = 2 if b"\0" in pattern[:2] else 1
    big = pattern[:1] == b"\0"
    before = at - (1 if wide == 1 or big else 2)
    after = at + len(pattern) + (1 if big else 0)
    letters = any(c in b"abcdefABCDEF" for c in pattern) and not any(c in b".,+" for c in pattern)
    more = b"0123456789abcdefABCDEF" if letters else b"0123456789"
    return (before >= 0 and buffer[before] in more) or (
        after < len(buffer) and buffer[after] in more
    )


def _search_bytes(
    buffer: Buffer, patterns: Mapping[str, Mapping[bytes, tuple[str, bool]]]
) -> Iterator[tuple[str, str, int]]:
    for canary, own in patterns.items():
        for pattern, (spelling, is_digits) in own.items():
            at = buffer.find(pattern)
            while at >= 0 and is_digits and _beside_digit(buffer, at, pattern):
                at = buffer.find(pattern, at + 1)
            if at >= 0:
                yield canary, spelling, at


def _unpacked(buffer: Buffer, name: str) -> Iterator[tuple[str, bytes]]:
    """What a packed file holds; nothing for a file that is not packed, or is damaged."""
    head = bytes(buffer[:6])
    try:
        if head[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(buffer[:])) as stream:
                yield "gzip", _limited(stream.read(_MOST_BYTES + 1), name)
        elif head[:3] == b"BZh":
            yield (
                "bzip2",
                _limited(bz2.BZ2Decompressor().decompress(buffer[:], _MOST_BYTES + 1), name),
            )
        elif head == b"\xfd7zXZ\0":
            yield (
                "xz",
                _limited(lzma.LZMADecompressor().decompress(buffer[:], _MOST_BYTES + 1), name),
            )
        elif head[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(buffer[:])) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        with archive.open(member) as stream:
                            yield member.filename, _limited(stream.read(_MOST_BYTES + 1), name)
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, lzma.LZMAError) as error:
        raise AttackError(
            f"{name}: is packed and cannot be unpacked: {error}.",
            code="Z-ATT-016",
            remedy="A published file that cannot be read cannot be searched: pack it again.",
        ) from error


def _limited(content: bytes, name: str) -> bytes:
    if len(content) > _MOST_BYTES:
        raise AttackError(
            f"{name}: holds more than {_MOST_BYTES >> 20} MiB in one member.",
            code="Z-ATT-016",
            remedy="Publish it unpacked, or in smaller files.",
        )
    return content


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _search_relation(
    connection: duckdb.DuckDBPyConnection, relation: str, canaries: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Canaries among the values of a relation: (column, canary, how)."""
    described = connection.execute(f"select * from {relation} limit 0").description or []
    wanted = []
    for canary in canaries:
        value = _number(canary)
        if value is None:
            wanted.append((canary, canary.lower()))
        else:
            texts = {t.lower() for name, t in _number_texts(value).items() if "hexa" not in name}
            wanted += [(canary, text) for text in sorted(texts)]
    connection.execute("create or replace temp table wanted (canary varchar, spelled varchar)")
    connection.executemany("insert into wanted values (?, ?)", wanted)
    for column in (one[0] for one in described):
        # Text may hold it anywhere; a number is compared as a number by its plain text.
        hits = connection.execute(
            f"""
            with seen as (
                select distinct lower(cast({_quoted(column)} as varchar)) as text from {relation}
                where {_quoted(column)} is not null
            )
            select distinct canary from wanted
            where exists (
                select 1 from seen
                where contains(seen.text, spelled)
                    and not regexp_matches(
                        seen.text,
                        case when regexp_full_match(spelled, '[0-9].*[0-9]')
                            then '[0-9]' || regexp_escape(spelled) || '|'
                                || regexp_escape(spelled) || '[0-9]'
                            else '$^' end
                    )
            )
            order by canary
            """
        ).fetchall()
        for (canary,) in hits:
            yield column, canary, "value"


def _search_parquet(path: Path, canaries: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    with duckdb.connect() as connection:
        name = no_pattern(path).replace("'", "''")
        relation = f"read_parquet('{name}', hive_partitioning = false)"
        yield from _search_relation(connection, relation, canaries)


def _search_duckdb(path: Path, canaries: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    with duckdb.connect() as connection:
        name = str(path).replace("'", "''")
        connection.execute(f"attach '{name}' as published (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'published' "
            "union all select schema_name, view_name from duckdb_views() "
            "where database_name = 'published' and not internal order by all"
        ).fetchall()
        for schema, table in tables:
            relation = f"published.{_quoted(schema)}.{_quoted(table)}"
            for column, canary, how in _search_relation(connection, relation, canaries):
                yield f"{table}.{column}", canary, how
        for catalogue in ("duckdb_tables()", "duckdb_columns()", "duckdb_views()"):
            relation = f"(select * from {catalogue} where database_name = 'published')"
            for column, canary, _ in _search_relation(connection, relation, canaries):
                if column in ("comment", "sql", "table_name", "column_name", "view_name"):
                    yield catalogue, canary, column


def _decoded(path: Path, head: bytes, canaries: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    try:
        if head[:4] == b"PAR1":
            yield from _search_parquet(path, canaries)
        elif head[8:12] == b"DUCK":
            yield from _search_duckdb(path, canaries)
    except duckdb.Error as error:
        raise AttackError(
            f"{path}: cannot be read: {str(error).splitlines()[0]}",
            code="Z-ATT-016",
            remedy="A published file that cannot be read cannot be searched: write it again.",
        ) from error


def _search_content(
    buffer: Buffer,
    path: Path,
    member: str,
    patterns: Mapping[str, Mapping[bytes, tuple[str, bool]]],
    depth: int,
) -> Iterator[CanaryHit]:
    for canary, spelling, at in _search_bytes(buffer, patterns):
        yield CanaryHit(str(path), member, canary, spelling, at)
    head = bytes(buffer[:12])
    if head[:4] == b"PAR1" or head[8:12] == b"DUCK":
        if member:
            # DuckDB reads files only: what lay in an archive is put on disk for a moment.
            with tempfile.NamedTemporaryFile(prefix="zicht-canary-") as stream:
                stream.write(buffer[:])
                stream.flush()
                found = list(_decoded(Path(stream.name), head, list(patterns)))
        else:
            found = list(_decoded(path, head, list(patterns)))
        for where, canary, how in found:
            inner = f"{member}: {where}" if member else where
            yield CanaryHit(str(path), inner, canary, how, -1)
    if depth < _MOST_NESTED:
        for name, content in _unpacked(buffer, str(path)):
            inner = f"{member}/{name}" if member else name
            if _holds(name, patterns):
                yield CanaryHit(str(path), inner, _holds(name, patterns), "name", -1)
            yield from _search_content(content, path, inner, patterns, depth + 1)


def _holds(name: str, patterns: Mapping[str, object]) -> str:
    return next((canary for canary in patterns if canary.lower() in name.lower()), "")


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(p for p in path.rglob("*") if p.is_file()))
        elif path.is_file():
            found[path] = None
        else:
            raise unreadable(
                f"{path}: there is no such file or folder.",
                "Name the published files, or the folder that they lie in.",
            )
    return list(found)


def search_canaries(paths: Sequence[Path], canaries: Sequence[str]) -> list[CanaryHit]:
    """Searches files, and all files in folders, for canaries.

    Numbers are sought with and without separators, with exponents, in hexadecimal, as 32 and 64
    bit integers and as doubles; texts in UTF-8, UTF-16, UTF-32, Latin-1, base64, hexadecimal, and
    as addresses, JSON and HTML write them. Zip, gzip, bzip2 and xz are unpacked, also within each
    other; Parquet and DuckDB files are searched as bytes and as values. Not found: what was deleted
    from a DuckDB file but still lies there compressed, and what is encrypted.

    Args:
        paths: files and folders.
        canaries: values that occur only in confidential data; a number is one that Decimal reads.

    Returns:
        Hits in order of file; per file one for every spelling.

    Raises:
        AttackError: Z-ATT-001 no such file, Z-ATT-015 a canary that is too short, Z-ATT-016 a file
            that cannot be unpacked or read.
    """
    _check(canaries)
    patterns = {canary: patterns_of(canary) for canary in dict.fromkeys(canaries)}
    hits: list[CanaryHit] = []
    for path in _files(paths):
        named = _holds(path.name, patterns)
        if named:
            hits.append(CanaryHit(str(path), "", named, "name", -1))
        if not path.stat().st_size:
            continue
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            hits += _search_content(content, path, "", patterns, 0)
    return hits


def canary_findings(hits: Sequence[CanaryHit]) -> list[Finding]:
    """One finding per file, place and canary; spellings are its evidence."""
    grouped: dict[tuple[str, str, str], list[CanaryHit]] = {}
    for hit in hits:
        grouped.setdefault((hit.path, hit.member, hit.canary), []).append(hit)
    return [
        Finding(
            Kind.CANARY,
            Severity.FAIL,
            path,
            {},
            None,
            None,
            f"holds the canary {canary}" + (f" in {member}" if member else ""),
            tuple(
                f"as {one.spelling}" + (f" at byte {one.offset}" if one.offset >= 0 else "")
                for one in own[:5]
            ),
        )
        for (path, member, canary), own in grouped.items()
    ]


def read_canaries(path: Path) -> list[str]:
    """Reads canaries, one a line.

    Raises:
        AttackError: Z-ATT-001 if the file cannot be read, Z-ATT-015 if it is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(
            f"{path}: cannot be read: {error}.", "Give a text file in UTF-8 with one canary a line."
        ) from error
    canaries = [line.strip() for line in lines if line.strip()]
    if not canaries:
        raise AttackError(
            f"{path}: holds no canary.", code="Z-ATT-015", remedy="Write one canary a line."
        )
    return canaries
