"""A register that fails gate 2, and on which no figure rests, stops nobody else."""

from __future__ import annotations

from datetime import timedelta

from support import NOW, ObservationStatus, Period, drop_sample, released, run_refresh, take_in_all
from zicht.clock import fixed_clock
from zicht.deliveries.package import write_delivery
from zicht.files import read_json
from zicht.refresh.checked import passed_gate_2
from zicht.settings import Settings

TRANSFER = "T000000001V00000000120240115    250000GM0363\n"


def right(owner_kind: str, owner_key: str) -> str:
    """A line of the land registry: fixed width, decimal comma."""
    return f"R000000001V000000001{owner_kind:12}{owner_key:10}100,0020200101GM0363\n"


def drop_rights(settings: Settings, name: str, line: str, **fields: str) -> None:
    write_delivery(
        settings.landing / "kadaster",
        id=name,
        source="kadaster",
        reference_period=Period.parse("2024-Q1"),
        observation_status=ObservationStatus.FINAL,
        delivered_at=NOW,
        tables={"rights.txt": line.encode(), "transfers.txt": TRANSFER.encode()},
        **fields,
    )


def test_what_fails_alone_is_held_alone(settings: Settings) -> None:
    drop_sample(settings, "cbs_crime", ["2024"])
    # A person with the key of a legal entity: each field is in order, together they cannot be.
    drop_rights(settings, "mixed-up", right("person", "E000000001"))
    reports = take_in_all(settings)
    assert reports["kadaster"].accepted == ("mixed-up",)
    said = "\n".join(run_refresh(settings, "one"))
    assert "held      kadaster: it fails gate 2" in said
    assert released(settings, "select count(*) > 0 from observations") == [(True,)]
    gate_2 = read_json(settings.runs / "one" / "gate_2.json")
    assert (gate_2["passed"], gate_2["n_failures"]) == (True, 0)
    (hit,) = (
        one
        for one in gate_2["results"]
        if one["check"] == "owner_fits_its_kind" and not one["success"]
    )
    assert (hit["severity"], hit["rows"][0]["delivery_id"]) == ("warn", "mixed-up")
    assert passed_gate_2(settings, "kadaster") == frozenset()
    assert len(passed_gate_2(settings, "cbs_crime")) == 1

    later = fixed_clock(NOW + timedelta(days=1))
    drop_rights(settings, "mended", right("person", "P000000001"), supersedes="mixed-up")
    take_in_all(settings, later)
    assert "  held  " not in "\n".join(run_refresh(settings, "two", later))
    assert passed_gate_2(settings, "kadaster") == {"mended"}
