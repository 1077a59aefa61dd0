"""Quarantine: refused deliveries whole, with reasons, and the way back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from support import NOW, drop_variant, sample_delivery, take_in_all
from zicht.clock import fixed_clock
from zicht.commands import requeue
from zicht.deliveries.ledger import GATE_1, read_ledger
from zicht.deliveries.package import read_descriptor
from zicht.deliveries.quarantine import (
    PAGE,
    PAYLOAD,
    REPORT,
    Reason,
    read_quarantine,
    recover_quarantine,
    refuse,
)
from zicht.errors import DeliveryError, UsageError
from zicht.files import read_json
from zicht.settings import Settings

SOURCE = "cbs_crime"
REASON = Reason("Z-DEL-999", "crime.csv", "some_rule", "what is wrong", "what to do", 1, ({},))


def refused(settings: Settings, name: str, days: int = 0) -> Path:
    folder = drop_variant(settings, sample_delivery(SOURCE, "2024"), name=name)
    now = NOW + timedelta(days=days)
    return refuse(settings, SOURCE, folder, read_descriptor(folder), [REASON], now)


def test_a_refused_delivery_lies_there_whole(settings: Settings) -> None:
    folder = refused(settings, "one")
    assert folder == settings.quarantine / SOURCE / "one"
    assert sorted(path.name for path in folder.iterdir()) == sorted([REPORT, PAGE, GATE_1, PAYLOAD])
    report = read_json(folder / REPORT)
    assert report["delivery"] == "one"
    assert report["reference_period"] == "2024"
    assert report["refused_at"] == "2025-05-01T09:00:00Z"
    assert report["reasons"] == [REASON.to_json()]
    assert "what is wrong" in (folder / PAGE).read_text()
    model = sample_delivery(SOURCE, "2024")
    for path in (folder / PAYLOAD).glob("*.csv"):
        assert path.read_bytes() == (model / path.name).read_bytes()


def test_a_second_one_of_the_same_name_stands_beside_it(settings: Settings) -> None:
    names = [refused(settings, "one", days).name for days in range(3)]
    assert names == ["one", "one.2", "one.3"]
    assert [refusal.folder.name for refusal in read_quarantine(settings)] == names
    assert [refusal.folder.name for refusal in read_quarantine(settings, "cbs_suspects")] == []


def test_a_move_that_was_cut_short_is_finished_or_forgotten(settings: Settings) -> None:
    base = settings.quarantine / SOURCE
    refused(settings, "one").rename(base / ".incoming-one")
    (base / ".incoming-two").mkdir()
    (base / ".removing-three" / PAYLOAD).mkdir(parents=True)
    assert read_quarantine(settings) == []
    recover_quarantine(settings, SOURCE)
    assert [path.name for path in base.iterdir()] == ["one"]
    assert [refusal.delivery for refusal in read_quarantine(settings)] == ["one"]


def test_an_error_tells_file_rule_and_rows() -> None:
    row = {"_row": 3, "column": "a", "value": "x"}
    error = DeliveryError("m", code="Z-DEL-023", remedy="r", file="f", rule="readable", rows=[row])
    reason = Reason.from_error(error)
    assert reason == Reason("Z-DEL-023", "f", "readable", "m", "r", 1, (row,))
    assert Reason.from_error(DeliveryError("m")).n_rows is None


def test_a_requeued_delivery_is_judged_again(settings: Settings) -> None:
    refused(settings, "one")
    back = requeue(settings, "one")
    assert back == settings.landing / SOURCE / "one"
    assert read_quarantine(settings) == []
    assert list((settings.quarantine / SOURCE).iterdir()) == []
    assert take_in_all(settings, sources=[SOURCE])[SOURCE].accepted == ("one",)
    assert [record.id for record in read_ledger(settings)] == ["one"]


def test_of_several_the_last_is_requeued_by_id_and_any_by_folder(settings: Settings) -> None:
    for days in range(3):
        refused(settings, "one", days)
    assert requeue(settings, "one").name == "one.3"
    assert requeue(settings, "one.2").name == "one.2"
    assert [refusal.folder.name for refusal in read_quarantine(settings)] == ["one"]


def test_what_cannot_be_requeued_is_said(settings: Settings) -> None:
    with pytest.raises(UsageError, match="'nothing'") as caught:
        requeue(settings, "nothing")
    assert caught.value.code == "Z-USE-006"
    refused(settings, "one")
    drop_variant(settings, sample_delivery(SOURCE, "2024"), name="one")
    with pytest.raises(UsageError, match="is there already") as caught:
        requeue(settings, "one")
    assert caught.value.code == "Z-USE-006"
    assert [refusal.delivery for refusal in read_quarantine(settings)] == ["one"]


def test_a_requeue_that_was_cut_short_is_not_offered_again(settings: Settings) -> None:
    folder = refused(settings, "one")
    (folder / PAYLOAD).rename(settings.landing / SOURCE / "one")
    take_in_all(settings, fixed_clock(NOW), [SOURCE])
    with pytest.raises(UsageError, match="'one' lies in quarantine"):
        requeue(settings, "one")
