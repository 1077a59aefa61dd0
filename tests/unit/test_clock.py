"""Moments: always with a zone, always UTC, always whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.clock import (
    clock_from_environment,
    fixed_clock,
    format_moment,
    parse_moment,
    system_clock,
)
from zicht.errors import ConfigurationError

MOMENTS = st.datetimes(
    min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)
)


@given(MOMENTS)
def test_what_is_written_reads_back_to_the_second(moment: datetime) -> None:
    assert parse_moment(format_moment(moment)) == moment.replace(microsecond=0)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_the_zone_in_which_it_was_written_makes_no_difference(
    moment: datetime, minutes: int
) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_moment(elsewhere.isoformat()) == moment.replace(microsecond=0)
    assert format_moment(elsewhere) == format_moment(moment)


def test_a_date_is_its_end() -> None:
    assert parse_moment("2024-06-30") == datetime(2024, 6, 30, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-06-31",
        "2024-06-30T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٤-٠٦-٣٠",
    ],
)
def test_what_is_no_moment_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"month|zone|isoformat|ISO|calendar"):
        parse_moment(text)


def test_the_clock_can_be_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_CLOCK", "2025-04-30T11:00:00+02:00")
    assert clock_from_environment()() == datetime(2025, 4, 30, 9, 0, tzinfo=UTC)
    monkeypatch.setenv("ZICHT_CLOCK", "noon")
    with pytest.raises(ConfigurationError, match="'noon'") as caught:
        clock_from_environment()
    assert caught.value.code == "Z-CFG-002"
    assert caught.value.remedy
    monkeypatch.setenv("ZICHT_CLOCK", "")
    assert clock_from_environment() is system_clock


def test_clocks_tell_utc() -> None:
    assert system_clock().tzinfo is UTC
    assert system_clock().microsecond == 0
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    assert fixed_clock(moment)() == moment
