"""What is expected of a source and what came."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from support import drop_sample, drop_variant, sample_delivery, take_in_all
from zicht.contracts import load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import DESCRIPTOR
from zicht.deliveries.quarantine import read_quarantine
from zicht.expected import SourceStatus, all_statuses
from zicht.settings import Settings


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


def test_before_anything_came_the_first_period_is_expected(settings: Settings) -> None:
    status = crime(settings, datetime(2014, 4, 10, tzinfo=UTC))
    assert (status.last, str(status.next_period)) == (None, "2013")
    assert status.next_due == date(2014, 3, 31)
    assert status.days_overdue == 10
    assert crime(settings, datetime(2014, 3, 31, 23, tzinfo=UTC)).days_overdue == 0


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
    counts = (status.n_deliveries, status.n_refused, status.n_waiting, status.n_incomplete)
    assert counts == (2, 1, 1, 1)
    before = crime(settings, now - timedelta(seconds=1))
    assert (before.last, before.n_deliveries) == (None, 0)
