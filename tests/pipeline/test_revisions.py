"""Figures that wait, change or may not be made: what a release says of them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from support import (
    NOW,
    ObservationStatus,
    copy_project,
    drop_sample,
    released,
    run_refresh,
    settings_at,
    silent,
    take_in_all,
)
from zicht import refresh
from zicht.clock import fixed_clock
from zicht.contracts import load_contracts
from zicht.deliveries.package import write_delivery
from zicht.files import read_json
from zicht.periods import Period
from zicht.releases.store import current_release
from zicht.settings import Settings

LATER = NOW + timedelta(days=30)
TWO_SOURCES = "mart_drugs__crimes_per_100_dwellings"
"""A mart of two cubes: crimes of one source, dwellings of another."""

SQL = """
with numerator as (
    {{ selected_cells('cube_open_data__crime', 'n_registered_crimes') }}
),

denominator as (
    {{ selected_cells('cube_open_data__measures', 'n_dwellings') }}
)

{{ rate('numerator', 'denominator', per=100) }}
"""


def add_mart(project: Path) -> None:
    """Adds the mart of two sources, described as its neighbour is."""
    folder = project / "dbt_project" / "models" / "marts" / "drugs"
    model = "mart_drugs__registered_crime_per_1000"
    (folder / f"{TWO_SOURCES}.sql").write_text(SQL)
    document: dict[str, Any] = yaml.safe_load((folder / f"{model}.yml").read_text())
    (described,) = document["models"]
    described["name"] = TWO_SOURCES
    indicator = described["config"]["meta"]["indicator"]
    indicator |= {
        "id": "crimes_per_100_dwellings",
        "sources": ["cbs_crime", "cbs_measures"],
        "alignment": {"cube_open_data__measures": "same_period"},
        "plausible": {"min": 0, "max": 1000},
    }
    named = {"version": 2, "models": [described]}
    (folder / f"{TWO_SOURCES}.yml").write_text(yaml.safe_dump(named, sort_keys=False))


def figures(settings: Settings, period: str) -> list[tuple[Any, ...]]:
    """Status, flags and whether there is a value, of the indicator of two sources."""
    return released(
        settings,
        "select distinct obs_status, list_contains(string_split(obs_flags, ';'), 'awaited'), "
        "value is null from observations where indicator_id = 'crimes_per_100_dwellings' "
        f"and region_code = 'GM0855' and reference_period = '{period}'",
    )


def test_a_figure_waits_for_its_delivery_and_then_is_there(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    add_mart(project)
    settings = settings_at(tmp_path / "home", project)
    drop_sample(settings, "cbs_crime", ["2022", "2023", "2024"])
    drop_sample(settings, "cbs_measures", ["2023"])
    take_in_all(settings)
    said = run_refresh(settings, "one")
    assert any("indicator-periods await" in line for line in said)
    awaited = read_json(settings.runs / "one" / "plan.json")["awaited"]
    assert ("cbs_measures", "2024") in {(r["source"], r["awaited_period"]) for r in awaited}
    due = load_contracts(settings.contracts)["cbs_measures"].due(Period.parse("2024"))
    assert released(
        settings,
        "select indicator_id, reference_period, source, awaited_period, expected_on::varchar "
        "from awaited where indicator_id = 'crimes_per_100_dwellings'",
    ) == [("crimes_per_100_dwellings", "2024", "cbs_measures", "2024", due.isoformat())]
    ((status, is_awaited, is_empty),) = figures(settings, "2023")
    assert (is_awaited, is_empty) == (False, False)
    assert figures(settings, "2024") == [("O", True, True)]
    assert figures(settings, "2022") == [], "before the contract of the other source begins"
    regions = {
        period: released(
            settings,
            "select region_code from observations where reference_period = "
            f"'{period}' and indicator_id = 'crimes_per_100_dwellings' order by 1",
        )
        for period in ("2023", "2024")
    }
    assert regions["2023"] == regions["2024"]
    assert released(settings, "select count(*) from revisions") == [(0,)]

    drop_sample(settings, "cbs_measures", ["2024"])
    later = fixed_clock(LATER)
    take_in_all(settings, later, ["cbs_measures"])
    run_refresh(settings, "two", later)
    ((status, is_awaited, is_empty),) = figures(settings, "2024")
    assert (status in "AEP", is_awaited, is_empty) == (True, False, False)
    assert released(
        settings, "select count(*) from awaited where indicator_id = 'crimes_per_100_dwellings'"
    ) == [(0,)]
    rows = released(
        settings,
        "select sequence, value is null, cause, release_id from revisions "
        "where region_code = 'GM0855' and indicator_id = 'crimes_per_100_dwellings' order by 1",
    )
    releases = [r[0] for r in released(settings, "select release_id from releases order by 1")]
    assert sorted(row[3] for row in rows) == sorted(releases)
    assert [row[:3] for row in rows] == [(1, True, "first"), (2, False, "data")]
    changed = released(settings, "select distinct indicator_id from revisions")
    assert changed == [("crimes_per_100_dwellings",)], "no other figure changed"


AGREEMENT = """
id: example
title: {nl: Voorbeeld, en: Example}
parties: [A, B]
purpose: A test.
legal_basis: None.
sources: [duo]
themes: [armoede]
valid_from: 2020-01-01
valid_until: 2025-05-15
retention_days: 3650
"""
ENROLMENTS = (
    "person_key;municipality_code;level;is_early_leaver;has_basic_qualification\n"
    + "".join(
        f"P{number:09d};{region};mbo;0;1\n"
        for number, region in enumerate(["GM0363", "GM0599", "GM0518", "GM0344"] * 5, start=130_719)
    )
)


def drop_register(settings: Settings, *years: int) -> None:
    """Drops deliveries of a register on which no cube rests."""
    for year in years:
        write_delivery(
            settings.landing / "duo",
            id=f"duo-{year}",
            source="duo",
            reference_period=Period.parse(str(year)),
            observation_status=ObservationStatus.FINAL,
            delivered_at=NOW,
            tables={"enrolments.csv": ENROLMENTS.encode()},
            dialect={"delimiter": ";"},
        )


def test_a_register_is_looked_at_once_and_only_under_an_agreement(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    agreements = project / "expectations" / "agreements"
    shutil.rmtree(agreements)
    agreements.mkdir()
    (agreements / "example.yaml").write_text(AGREEMENT)
    # Without the marts that count what every register delivers, nothing rests on this one.
    for kind in ("cubes", "marts"):
        shutil.rmtree(project / "dbt_project" / "models" / kind / "coverage")
    settings = settings_at(tmp_path / "home", project)
    drop_sample(settings, "cbs_crime", ["2024"])
    take_in_all(settings)
    run_refresh(settings, "public")
    before = current_release(settings)
    assert before is not None

    drop_register(settings, 2021, 2022)
    reports = take_in_all(settings, sources=["duo"])
    assert reports["duo"].accepted == ("duo-2021", "duo-2022")
    assert refresh.pending(settings)
    said = run_refresh(settings, "registers")
    assert any("no figure rests on these" in line for line in said)
    outcome = read_json(settings.runs / "registers" / "outcome.json")
    assert outcome["state"] == "nothing_new"
    assert read_json(settings.runs / "registers" / "gate_2.json")["passed"]
    plan = read_json(settings.runs / "registers" / "plan.json")
    assert plan["new_deliveries"] == ["duo-2021", "duo-2022"]
    assert not (settings.runs / "registers" / "gate_3.json").exists()
    assert current_release(settings) == before
    assert not refresh.pending(settings)
    assert refresh.plan(settings, "again", fixed_clock(NOW), silent) is False

    # After the agreement has ended nothing more of it is processed; that is no error.
    drop_register(settings, 2023)
    assert take_in_all(settings, sources=["duo"])["duo"].accepted == ("duo-2023",)
    ended = NOW + timedelta(days=20)
    assert refresh.pending(settings, ended)
    progress: list[str] = []
    assert refresh.plan(settings, "ended", fixed_clock(ended), progress.append) is False
    plan = read_json(settings.runs / "ended" / "plan.json")
    assert plan["withheld"] == [
        {"source": "duo", "theme": None, "reason": "agreement_ended", "since": "2025-05-16"}
    ]
    assert any("withheld: duo" in line for line in progress)
    assert not refresh.pending(settings, ended)
