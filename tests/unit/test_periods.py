"""Reference periods: reading, writing, following each other, and when they are due."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.periods import Cadence, Period


@st.composite
def periods(draw: st.DrawFn) -> Period:
    cadence = draw(st.sampled_from(Cadence))
    number = draw(st.integers(1, 12 // cadence.months))
    return Period(draw(st.integers(1, 9998)), number, cadence)


@given(periods())
def test_what_is_written_reads_back(period: Period) -> None:
    assert Period.parse(str(period)) == period


@given(periods())
def test_periods_follow_each_other_without_gap_or_overlap(period: Period) -> None:
    following = period.next()
    assert following.start == period.end + timedelta(days=1)
    assert following > period
    assert following.cadence is period.cadence
    assert period.start <= period.end


@given(periods())
def test_a_year_has_whole_periods(period: Period) -> None:
    days = (period.end - period.start).days + 1
    per_month = {Cadence.YEARLY: (365, 366), Cadence.QUARTERLY: (90, 92), Cadence.MONTHLY: (28, 31)}
    low, high = per_month[period.cadence]
    assert low <= days <= high


@given(periods(), st.integers(0, 200))
def test_what_arrives_on_the_day_it_is_due_has_the_agreed_lag(period: Period, days: int) -> None:
    assert period.lag(period.due(days)) == days


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2024-Q1", date(2024, 1, 1), date(2024, 3, 31)),
        ("2023-Q4", date(2023, 10, 1), date(2023, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2023-12", date(2023, 12, 1), date(2023, 12, 31)),
    ],
)
def test_known_periods(text: str, start: date, end: date) -> None:
    period = Period.parse(text)
    assert (period.start, period.end) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "2024-13",
        "2024-00",
        "2024-Q0",
        "2024-Q5",
        "2024-1",
        "0000",
        "2024\n",
        " 2024",
        "٢٠٢٤",
        "2024-q1",
        "20240",
    ],
)
def test_what_is_no_period_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a reference period"):
        Period.parse(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("2024JJ00", "2024"),
        ("2024KW01", "2024-Q1"),
        ("2024KW04", "2024-Q4"),
        ("2024MM12", "2024-12"),
        ("2024JJ00  ", "2024"),
    ],
)
def test_statline_codes(code: str, text: str) -> None:
    assert Period.from_statline(code) == Period.parse(text)


@pytest.mark.parametrize(
    "code", ["2024", "2024KW05", "2024KW00", "2024MM13", "2024JJ05", "2024HJ01"]
)
def test_other_statline_codes_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        Period.from_statline(code)
