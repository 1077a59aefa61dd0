"""The DAGs as Airflow reads them, the landing trigger, and single DAGs run in one process."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from service_support import probe

from support import PROJECT, drop_sample
from zicht.contracts import load_contracts
from zicht.settings import Settings

RUN_NAMES = {
    "asset_triggered__2025-04-30T09:00:00.123456+00:00_x7Yz": (
        "20250430T090000.123456-asset_triggered-x7Yz"
    ),
    "manual__2025-04-30T09:00:00+00:00": "20250430T090000-manual",
    "manual-20250430T090000": "manual-20250430T090000",
    "../../etc/passwd": "etc-passwd",
    "...": "run",
}


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Airflow makes of ``dags/``, asked once."""
    home = tmp_path_factory.mktemp("wiring")
    return probe(Settings(home, PROJECT), "wiring", *RUN_NAMES)


class TestDags:
    """As Airflow reads them."""

    def test_there_is_one_for_every_contract(self, wiring: Any, settings: Settings) -> None:
        assert wiring["import_errors"] == {}
        contracts = load_contracts(settings.contracts)
        fetched = [name for name, contract in contracts.items() if contract.statline]
        expected = {"refresh", "sweep", "calendar", "upkeep"}
        expected |= {f"intake_{name}" for name in contracts} | {f"fetch_{name}" for name in fetched}
        assert set(wiring["dags"]) == expected
        for source in contracts:
            assert wiring["dags"][f"intake_{source}"]["assets"] == [f"landing_{source}"]
            assert wiring["dags"][f"intake_{source}"]["paused"] is False
        for source in fetched:
            assert wiring["dags"][f"fetch_{source}"]["paused"] is True, "it uses the internet"

    def test_reading_them_is_cheap(self, wiring: Any) -> None:
        assert wiring["heavy"] == [], "DAG files are read every minute: import these inside tasks"

    def test_a_refresh_starts_on_any_source_and_is_one_chain(
        self, wiring: Any, settings: Settings
    ) -> None:
        refresh = wiring["dags"]["refresh"]
        sources = load_contracts(settings.contracts)
        assert refresh["assets"] == sorted(["ledger", *(f"raw_{source}" for source in sources)])
        assert refresh["pools"] == ["warehouse"]
        assert wiring["hops"]["dag"] == [h for h in wiring["hops"]["platform"] if h != "plan"]
        order = ["plan", *wiring["hops"]["dag"]]
        assert refresh["tasks"] == order
        for before, after in pairwise(order):
            assert refresh["upstream"][after] == [before]

    def test_each_says_what_to_do_when_it_is_red(self, wiring: Any) -> None:
        for dag_id, dag in wiring["dags"].items():
            assert "**Red**" in dag["doc"] or "is red**" in dag["doc"], dag_id

    def test_each_has_limits_and_an_owner(self, wiring: Any) -> None:
        for dag_id, dag in wiring["dags"].items():
            assert dag["runs"] == 1, dag_id
            assert all(dag["limits"]), f"{dag_id}: a task without a time limit"
            assert dag["owners"] == ["platform"], dag_id
            assert dag["tags"], dag_id


def test_runs_get_names_that_are_folders(wiring: Any) -> None:
    assert dict(zip(RUN_NAMES, wiring["names"], strict=True)) == RUN_NAMES


def test_only_errors_that_may_pass_are_tried_again(wiring: Any) -> None:
    ends = wiring["errors"]
    assert ends.pop("GateError") == "AirflowFailException: Z-GATE-001: row 3"
    for name, end in ends.items():
        assert end.startswith(f"{name}:"), "it must reach Airflow as it is"


SCENARIOS: dict[str, list[tuple[float, str, str]]] = {
    "nothing_complete": [(0.2, "half", "a"), (2.0, "end", "")],
    "left_lying": [(0.5, "drop", "a"), (4.2, "end", "")],
    "a_further_one": [
        (0.2, "drop", "a"),
        (0.7, "drop", "b"),
        (1.1, "take", "a"),
        (1.1, "take", "b"),
        (3.5, "end", ""),
    ],
    "unreadable": [(0.2, "break", ""), (0.7, "mend", ""), (1.2, "drop", "a"), (1.9, "end", "")],
}


class TestLandingTrigger:
    """Rings at once, repeats while something lies there, is silent when nothing does."""

    @pytest.fixture(scope="class")
    def found(self, tmp_path_factory: pytest.TempPathFactory) -> Any:
        home = tmp_path_factory.mktemp("rings")
        return probe(
            Settings(home, PROJECT), "rings", "0.05", "1.0", SCENARIOS=json.dumps(SCENARIOS)
        )

    def test_silent_when_nothing_is_complete(self, found: Any) -> None:
        assert found["rung"]["nothing_complete"] == []

    def test_at_once_and_again_with_growing_intervals(self, found: Any) -> None:
        assert found["rung"]["left_lying"] == pytest.approx([0.5, 1.5, 3.5], abs=0.35)

    def test_a_further_delivery_rings_at_once(self, found: Any) -> None:
        assert found["rung"]["a_further_one"] == pytest.approx([0.2, 0.7], abs=0.3)

    def test_a_landing_that_cannot_be_read_does_not_end_it(self, found: Any) -> None:
        assert found["rung"]["unreadable"] == pytest.approx([1.2], abs=0.3)

    def test_its_form_in_the_database_makes_the_same_trigger(self, found: Any) -> None:
        first, again = found["again"]
        assert first == again
        assert first[0] == "zicht.orchestration.triggers.LandingTrigger"


def test_dags_one_after_the_other_in_one_process(settings: Settings) -> None:
    drop_sample(settings, "cbs_measures", ["2024"])
    (bad,) = drop_sample(settings, "cbs_crime", ["2020"])
    payload = next(path for path in bad.iterdir() if path.suffix == ".csv")
    payload.write_bytes(payload.read_bytes() + b"\n")

    dag_ids = ["refresh", "nonsense", "fetch_cbs_crime", "sweep"]
    dag_ids += ["intake_cbs_crime", "intake_cbs_measures", "intake_cbs_measures"]
    nothing, unknown, failed, swept, refused, accepted, again = probe(
        settings, "run", *dag_ids, ZICHT_STATLINE_URL="ftp://example.org"
    )

    # Nothing accepted yet: planned, and all after it skipped.
    assert nothing["tasks"].pop("plan") == "success"
    assert set(nothing["tasks"].values()) == {"skipped"}
    assert nothing["said"][-1] == "nothing new: the current release stands"
    # An error of the platform comes out as it went in, not as "a task failed".
    assert unknown["error"] == "Z-ORC-005"
    assert "intake_cbs_crime" in unknown["message"]
    assert failed["error"].startswith(("Z-CFG", "Z-NET", "Z-USE")), failed
    # The sweep rings for what lies there, and only for that.
    assert swept["rung"] == ["landing_cbs_crime", "landing_cbs_measures"]
    # A refused delivery is a result: the task succeeds, names it, and starts no refresh.
    assert refused["state"] == "success"
    assert any("refused" in line and bad.name in line for line in refused["said"])
    assert refused["rung"] == swept["rung"]
    # An accepted one rings once; an intake that finds nothing rings nothing.
    assert accepted["rung"] == [*swept["rung"], "raw_cbs_measures"]
    assert again["state"] == "success"
    assert again["rung"] == accepted["rung"]
