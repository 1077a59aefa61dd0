"""The descriptor of a delivery: what is written reads back, and files are what it says."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.deliveries.package import (
    DESCRIPTOR,
    Descriptor,
    ObservationStatus,
    Resource,
    printable,
    read_descriptor,
    sha256_of,
    verify_files,
    write_delivery,
)
from zicht.errors import DeliveryError
from zicht.periods import Cadence, Period

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}", fullmatch=True)
TEXTS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
RESOURCES = st.builds(
    Resource,
    name=TEXTS,
    path=NAMES.filter(lambda name: name != DESCRIPTOR),
    size=st.integers(0, 2**50),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    dialect=st.fixed_dictionaries({}, optional={"delimiter": st.sampled_from(",;|")}),
    encoding=st.sampled_from(["utf-8", "windows-1252"]),
)
DESCRIPTORS = st.builds(
    Descriptor,
    id=NAMES,
    source=TEXTS,
    reference_period=st.builds(
        Period, st.integers(1, 9999), st.integers(1, 4), st.just(Cadence.QUARTERLY)
    ),
    observation_status=st.sampled_from(ObservationStatus),
    delivered_at=st.datetimes(
        datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
    ).map(lambda moment: moment.replace(microsecond=0)),
    resources=st.lists(RESOURCES, min_size=1, max_size=3).map(tuple),
    supersedes=st.none() | NAMES,
    contract_version=st.none() | TEXTS,
    is_archive=st.booleans(),
)


@given(DESCRIPTORS)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, descriptor: Descriptor
) -> None:
    folder = tmp_path_factory.mktemp("descriptor")
    (folder / DESCRIPTOR).write_text(json.dumps(descriptor.to_json()), encoding="utf-8")
    assert read_descriptor(folder) == descriptor


@given(DESCRIPTORS, st.randoms())
def test_the_content_hash_is_about_the_content_only(descriptor: Descriptor, random: object) -> None:
    other = Descriptor(
        "other",
        descriptor.source,
        descriptor.reference_period.next(),
        ObservationStatus.FINAL,
        descriptor.delivered_at,
        tuple(sorted(descriptor.resources, key=lambda r: r.name, reverse=True)),
    )
    if len({r.name for r in descriptor.resources}) == len(descriptor.resources):
        assert other.content_hash == descriptor.content_hash
    first = descriptor.resources[0]
    changed = Resource(first.name, first.path, first.size, hashlib.sha256(b"!").hexdigest())
    assert (
        Descriptor(
            descriptor.id,
            descriptor.source,
            descriptor.reference_period,
            descriptor.observation_status,
            descriptor.delivered_at,
            (changed, *descriptor.resources[1:]),
        ).content_hash
        != descriptor.content_hash
    )


def deliver(folder: Path, **tables: bytes) -> Path:
    return write_delivery(
        folder,
        id="one",
        source="cbs_crime",
        reference_period=Period.parse("2024"),
        observation_status=ObservationStatus.FINAL,
        delivered_at=datetime(2025, 3, 1, tzinfo=UTC),
        tables={f"{name}.csv": content for name, content in tables.items()},
        dialect={"delimiter": ";"},
    )


def test_a_written_delivery_verifies(tmp_path: Path) -> None:
    source = tmp_path / "elsewhere.csv"
    source.write_bytes(b"x" * 3_000_000)
    folder = write_delivery(
        tmp_path / "landing",
        id="two",
        source="cbs_crime",
        reference_period=Period.parse("2024"),
        observation_status=ObservationStatus.PROVISIONAL,
        delivered_at=datetime(2025, 3, 1, tzinfo=UTC),
        tables={"crime.csv": source, "more.part.csv": b"y"},
    )
    descriptor = read_descriptor(folder)
    verify_files(folder, descriptor)
    assert [resource.name for resource in descriptor.resources] == ["crime", "more"]
    assert descriptor.resources[0].sha256 == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == [
        "crime.csv",
        DESCRIPTOR,
        "more.part.csv",
    ]


def test_the_descriptor_follows_the_standard(tmp_path: Path) -> None:
    document = json.loads((deliver(tmp_path, crime=b"a;b\n") / DESCRIPTOR).read_text())
    assert document["$schema"] == "https://datapackage.org/profiles/2.0/datapackage.json"
    (resource,) = document["resources"]
    assert resource["path"] == "crime.csv"
    assert resource["bytes"] == 4
    assert resource["hash"] == "sha256:" + hashlib.sha256(b"a;b\n").hexdigest()
    assert resource["dialect"] == {"delimiter": ";"}


def test_a_file_listed_twice_is_refused(tmp_path: Path) -> None:
    folder = deliver(tmp_path, crime=b"a")
    document = json.loads((folder / DESCRIPTOR).read_text())
    document["resources"] *= 2
    (folder / DESCRIPTOR).write_text(json.dumps(document))
    with pytest.raises(DeliveryError, match="listed twice") as caught:
        verify_files(folder, read_descriptor(folder))
    assert (caught.value.code, caught.value.rule) == ("Z-DEL-003", "descriptor_is_complete")


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0" * (1 << 20) + b"end")
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_cannot_be_printed_is_escaped() -> None:
    assert printable("Fryslân-2024.csv") == "Fryslân-2024.csv"
    assert printable("a\x1b[2Jb\n\udce9") == r"a\x1b[2Jb\n\udce9"
