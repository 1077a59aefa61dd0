"""The ledger: which delivery counts at which moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.deliveries.ledger import (
    RECORD,
    Record,
    delivery_folder,
    latest,
    ledger_digest,
    read_ledger,
)
from zicht.deliveries.package import ObservationStatus
from zicht.files import write_json
from zicht.periods import Period
from zicht.settings import Settings

START = datetime(2025, 1, 1, tzinfo=UTC)
FINAL, PROVISIONAL = ObservationStatus.FINAL, ObservationStatus.PROVISIONAL
YEAR = Period.parse("2024")


def record(id: str, day: int = 0, **fields: Any) -> Record:
    """A record accepted ``day`` days after the start."""
    values: dict[str, Any] = {
        "id": id,
        "source": "s",
        "reference_period": YEAR,
        "observation_status": FINAL,
        "delivered_at": START + timedelta(days=day),
        "accepted_at": START + timedelta(days=day),
        "is_archive": False,
        "supersedes": None,
        "content_hash": id * 4,
        "contract_version": "1.0.0",
        "rows": {"t": 1},
        "warnings": ("x",),
    }
    return Record(**{**values, **fields})


def counting(records: list[Record], day: int) -> dict[str, str]:
    at = START + timedelta(days=day)
    return {status.value: r.id for (_, _, status), r in latest(records, at).items()}


def test_what_is_written_reads_back() -> None:
    for one in (
        record("a", supersedes="b", is_archive=True),
        record("a", reference_period=Period.parse("2024-Q3"), observation_status=PROVISIONAL),
    ):
        assert Record.from_json(one.to_json()) == one


def test_the_last_known_one_counts() -> None:
    records = [record("a", 0), record("b", 5)]
    assert [counting(records, day) for day in (-1, 0, 4, 5)] == [
        {},
        {"final": "a"},
        {"final": "a"},
        {"final": "b"},
    ]


def test_of_two_known_at_once_the_one_handed_over_last_counts() -> None:
    late = record("a", 5, delivered_at=START + timedelta(days=3))
    early = record("b", 5, delivered_at=START + timedelta(days=1))
    assert counting([late, early], 5) == counting([early, late], 5) == {"final": "a"}


def test_final_stands_beside_provisional() -> None:
    records = [record("p", 0, observation_status=PROVISIONAL), record("f", 5)]
    assert counting(records, 9) == {"provisional": "p", "final": "f"}


def test_a_final_one_may_supersede_a_provisional_one() -> None:
    records = [record("p", 0, observation_status=PROVISIONAL), record("f", 5, supersedes="p")]
    assert counting(records, 4) == {"provisional": "p"}
    assert counting(records, 5) == {"final": "f"}


def test_a_chain_of_corrections_ends_in_its_last() -> None:
    records = [record("a", 0), record("b", 1, supersedes="a"), record("c", 2, supersedes="b")]
    assert [counting(records, day)["final"] for day in (0, 1, 2, 9)] == ["a", "b", "c", "c"]


def test_an_older_copy_does_not_come_back_by_arriving_late() -> None:
    records = [record("b", 0), record("c", 1, supersedes="a"), record("a", 9)]
    assert counting(records, 9) == {"final": "c"}


def test_what_came_from_an_archive_was_known_when_it_was_made() -> None:
    archived = record("old", 9, delivered_at=START + timedelta(days=2), is_archive=True)
    records = [record("a", 5), archived]
    assert archived.known_at == START + timedelta(days=2)
    assert [counting(records, day) for day in (1, 2, 5)] == [{}, {"final": "old"}, {"final": "a"}]


def test_other_sources_and_periods_do_not_interfere() -> None:
    records = [
        record("a"),
        record("a", 1, source="other"),
        record("b", 2, reference_period=Period.parse("2023")),
        record("x", 3, source="third", supersedes="a"),
    ]
    assert len(latest(records, START + timedelta(days=9))) == 4


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 20),
        st.booleans(),
        st.sampled_from(ObservationStatus),
        st.none() | st.integers(0, 9),
    ),
    max_size=10,
).map(
    lambda rows: [
        record(
            f"d{i}",
            max(accepted, delivered),
            delivered_at=START + timedelta(days=min(accepted, delivered)),
            is_archive=archive,
            observation_status=status,
            # Only an earlier one can be superseded: that is what intake lets in.
            supersedes=f"d{old}" if old is not None and old < i else None,
        )
        for i, (accepted, delivered, archive, status, old) in enumerate(rows)
    ]
)


@given(RECORDS, st.integers(0, 25), st.randoms())
def test_the_order_of_the_records_makes_no_difference(
    records: list[Record], day: int, random: Any
) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    at = START + timedelta(days=day)
    assert latest(shuffled, at) == latest(records, at)
    assert ledger_digest(shuffled) == ledger_digest(records)


@given(RECORDS, st.integers(0, 25))
def test_only_what_was_known_and_stands_counts(records: list[Record], day: int) -> None:
    at = START + timedelta(days=day)
    known = [r for r in records if r.known_at <= at]
    chosen = latest(records, at).values()
    assert latest(known, at) == latest(records, at)
    superseded = {r.supersedes for r in known}
    for one in chosen:
        assert one in known
        assert one.id not in superseded
        rivals = [
            r
            for r in known
            if r.observation_status is one.observation_status and r.id not in superseded
        ]
        assert one.known_at == max(r.known_at for r in rivals)


def test_the_files_are_the_ledger(settings: Settings) -> None:
    assert read_ledger(settings) == []
    for one in (record("b", 3), record("a", 1), record("c", 2, source="other")):
        folder = delivery_folder(settings, one.source, one.reference_period, one.id)
        write_json(folder / RECORD, one.to_json())
    write_json(settings.raw / "s" / ".incoming-d" / RECORD, record("d").to_json())
    write_json(settings.raw / "s" / "unchanged" / "e.json", record("e").to_json())
    assert [one.id for one in read_ledger(settings)] == ["a", "c", "b"]
    assert [one.id for one in read_ledger(settings, "s")] == ["a", "b"]
    assert read_ledger(settings, "nobody") == []


@pytest.mark.parametrize("field", ["source", "id", "content_hash"])
def test_the_digest_follows_what_lies_there(field: str) -> None:
    other = replace(record("a"), **{field: "other"})
    assert ledger_digest([record("a")]) != ledger_digest([other])
    assert ledger_digest([record("a")]) != ledger_digest([record("a"), record("b")])


def test_lag_counts_from_the_end_of_the_period() -> None:
    assert record("a", delivered_at=datetime(2025, 3, 1, 23, tzinfo=UTC)).lag_days == 60
