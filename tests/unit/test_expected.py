"""What is expected of a source and what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import PROJECT, drop_sample, drop_variant, sample_delivery, take_in_all
from zicht.agreements import Agreement, load_agreements
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import DESCRIPTOR
from zicht.deliveries.quarantine import read_quarantine
from zicht.expected import (
    SourceStatus,
    State,
    agreement_state,
    all_statuses,
    expectations,
    months_later,
)
from zicht.periods import Period
from zicht.settings import Settings

CONTRACTS = load_contracts(PROJECT / "expectations" / "contracts")
AGREEMENTS = load_agreements(PROJECT / "expectations" / "agreements")


def crime(settings: Settings, now: datetime) -> SourceStatus:
    statuses = all_statuses(
        settings,
        load_contracts(settings.contracts),
        read_ledger(settings),
        read_quarantine(settings),
        now,
    )
    assert [status.source for status in statuses] == sorted(status.source for status in statuses)
    return next(status for status in statuses if status.source == "cbs_crime")


def lines(
    contract: Contract,
    received: Sequence[str],
    today: str,
    until: str | None = None,
    agreements: dict[str, Agreement] = AGREEMENTS,
) -> dict[str, str]:
    found = expectations(
        contract,
        {Period.parse(text) for text in received},
        agreements,
        date.fromisoformat(today),
        date.fromisoformat(until or today),
    )
    return {
        str(line.period): f"{line.state} {line.days_overdue}" if line.days_overdue else line.state
        for line in found
    }


def test_before_anything_came_the_first_period_is_expected(settings: Settings) -> None:
    status = crime(settings, datetime(2014, 4, 10, tzinfo=UTC))
    assert (status.last, str(status.next_period)) == (None, "2013")
    assert status.next_due == date(2014, 3, 31)
    assert status.days_overdue == 10
    assert crime(settings, datetime(2014, 3, 31, 23, tzinfo=UTC)).days_overdue == 0


def test_a_young_installation_does_not_miss_ten_years(settings: Settings) -> None:
    status = crime(settings, datetime(2025, 5, 1, tzinfo=UTC))
    assert (str(status.next_period), status.days_overdue, status.missing) == ("2024", 31, ())


def test_what_came_and_what_waits_is_counted(settings: Settings) -> None:
    drop_sample(settings, "cbs_crime", ["2022", "2023"])
    model = sample_delivery("cbs_crime", "2024")
    drop_variant(settings, model, name="bad", change=lambda c: c.replace(b"GM0363", b"GM9999"))
    now = datetime(2025, 5, 1, 9, tzinfo=UTC)
    assert crime(settings, now).n_waiting == 3
    take_in_all(settings, sources=["cbs_crime"])
    half = drop_variant(settings, model, name="half")
    (half / DESCRIPTOR).unlink()
    drop_variant(settings, model, name="whole")
    status = crime(settings, now)
    assert status.last is not None
    assert str(status.last.reference_period) == "2023"
    assert (str(status.next_period), status.next_due) == ("2024", date(2025, 3, 31))
    assert status.days_overdue == 31
    assert (status.agreement, status.covered_until) == ("not needed", None)
    counts = (status.n_deliveries, status.n_refused, status.n_waiting, status.n_incomplete)
    assert counts == (2, 1, 1, 1)
    before = crime(settings, now - timedelta(seconds=1))
    assert (before.last, before.n_deliveries) == (None, 0)


def test_each_state_of_a_quarterly_source() -> None:
    """Lag 45 days: 2024-Q3 is due on 14 November, 2024-Q4 on 14 February."""
    kadaster = CONTRACTS["kadaster"]
    assert lines(kadaster, ["2024-Q1", "2024-Q2"], "2024-10-30") == {
        "2024-Q1": "received",
        "2024-Q2": "received",
        "2024-Q3": "expected",
    }
    assert lines(kadaster, ["2024-Q2"], "2024-10-31")["2024-Q3"] == "due_soon"
    assert lines(kadaster, ["2024-Q2"], "2024-11-14")["2024-Q3"] == "due_soon"
    assert lines(kadaster, ["2024-Q2"], "2024-11-15")["2024-Q3"] == "overdue 1"
    assert lines(kadaster, ["2024-Q2", "2024-Q4"], "2025-02-20") == {
        "2024-Q2": "received",
        "2024-Q3": "missing 98",
        "2024-Q4": "received",
        "2025-Q1": "expected",
    }


def test_one_that_came_early_does_not_hide_the_one_before_it() -> None:
    kadaster = CONTRACTS["kadaster"]
    early = lines(kadaster, ["2024-Q2", "2024-Q4"], "2024-11-01")
    assert early == {"2024-Q2": "received", "2024-Q3": "due_soon", "2024-Q4": "received"}


def test_a_stock_is_due_from_its_first_day() -> None:
    found = expectations(
        CONTRACTS["brp"], {Period.parse("2024")}, AGREEMENTS, date(2024, 6, 1), date(2026, 12, 31)
    )
    assert [line.due for line in found] == [date(y, 1, 31) for y in (2024, 2025, 2026)]


def test_without_an_agreement_nothing_is_late() -> None:
    kadaster = CONTRACTS["kadaster"]
    assert lines(kadaster, ["2024-Q2"], "2025-02-20", agreements={}) == {
        "2024-Q2": "received",
        "2024-Q3": "not_covered",
        "2024-Q4": "not_covered",
    }
    ending = {k: replace(a, valid_until=date(2024, 12, 31)) for k, a in AGREEMENTS.items()}
    calendar = lines(kadaster, ["2024-Q2"], "2024-11-20", "2025-02-20", ending)
    assert calendar["2024-Q3"] == "overdue 6"
    assert calendar["2024-Q4"] == "not_covered"
    public = CONTRACTS["cbs_crime"]
    assert lines(public, ["2022"], "2024-12-31", agreements={})["2023"].startswith("overdue")


@pytest.mark.parametrize(
    ("last_day", "said"),
    [
        (None, "none"),
        (date(2025, 3, 2), "until 2025-03-02"),
        (date(2025, 3, 1), "ends in 60 days"),
        (date(2025, 1, 1), "ends in 1 day"),
        (date(2024, 12, 31), "ends today"),
    ],
)
def test_agreements_in_words(last_day: date | None, said: str) -> None:
    today = date(2024, 12, 31)
    assert agreement_state(CONTRACTS["brp"], last_day, today) == said
    assert agreement_state(CONTRACTS["cbs_crime"], last_day, today) == "not needed"


def test_months_later() -> None:
    assert months_later(date(2024, 1, 31), 1) == date(2024, 2, 29)
    assert months_later(date(2024, 12, 1), 12) == date(2025, 12, 1)


@given(
    st.sampled_from(sorted(CONTRACTS)),
    st.sets(st.integers(0, 40)),
    st.dates(date(2015, 1, 1), date(2024, 12, 31)),
    st.integers(0, 800),
)
def test_the_calendar_has_no_holes(source: str, came: set[int], today: date, ahead: int) -> None:
    """Whatever came, in whatever order: unbroken periods, each said once, one still to come."""
    contract = CONTRACTS[source]
    periods = [contract.first_period]
    for _ in range(41):
        periods.append(periods[-1].next())
    received = {periods[i] for i in came}
    until = today + timedelta(days=ahead)
    found = expectations(contract, received, AGREEMENTS, today, until)
    for one, after in pairwise(found):
        assert after.period == one.period.next()
    assert {x.period for x in found if x.state is State.RECEIVED} == received
    assert any(x.state not in (State.RECEIVED, State.MISSING) for x in found)
    for line in found:
        late = line.state in (State.OVERDUE, State.MISSING)
        assert (line.days_overdue > 0) == late
        if late:
            assert line.due + timedelta(days=line.days_overdue) == today
