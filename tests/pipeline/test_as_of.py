"""What was known at a past moment: the same bytes, whenever they are made."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from support import (
    NOW,
    ObservationStatus,
    copy_project,
    drop_sample,
    drop_variant,
    parquet_bytes,
    run_refresh,
    sample_delivery,
    settings_at,
    take_in_all,
)
from zicht import refresh
from zicht.clock import fixed_clock
from zicht.files import read_json
from zicht.releases.store import CURRENT, current_release
from zicht.settings import Settings

MOMENTS = [NOW + timedelta(days=30 * number) for number in range(6)]
MART = "mart_drugs__registered_crime_per_1000"


def accept(settings: Settings, at: datetime) -> None:
    """Takes in what lies in landing, at a moment."""
    reports = take_in_all(settings, fixed_clock(at), ["cbs_crime"])
    assert reports["cbs_crime"].accepted
    assert not reports["cbs_crime"].refused


def look(settings: Settings, run_id: str, at: datetime, now: datetime) -> dict[str, bytes]:
    """The marts as known at a moment, made now."""
    run_refresh(settings, run_id, fixed_clock(now), as_of=at.isoformat())
    return parquet_bytes(settings.home / "as_of" / at.strftime("%Y-%m-%dT%H%M%SZ"))


def n_computed(settings: Settings, run_id: str) -> int:
    """How many cube vintages a run had to compute."""
    plan = read_json(settings.runs / run_id / "plan.json")
    return sum(len(pairs) for pairs in plan["variables"]["plan"]["cubes"].values())


def more_crimes(region: str, number: int) -> Callable[[bytes], bytes]:
    """Changes a delivery: so many crimes more in one region."""

    def change(content: bytes) -> bytes:
        rows = []
        for line in content.decode().splitlines(keepends=True):
            fields = line.split(";")
            if fields[1].strip() == region:
                fields[3] = str(int(fields[3]) + number)
            rows.append(";".join(fields))
        return "".join(rows).encode()

    return change


def crimes(files: dict[str, bytes], folder: Path, region: str, period: str) -> float:
    """A numerator in the marts of a look."""
    path = folder / "look.parquet"
    path.write_bytes(files[f"{MART}.parquet"])
    rows = duckdb.execute(
        f"select numerator from '{path}' where region_code = ? and reference_period = ?",
        [region, period],
    ).fetchall()
    return float(rows[0][0])


def test_a_past_moment_looks_as_it_did_across_revision_and_correction(
    settings: Settings, tmp_path: Path
) -> None:
    first, second, third = MOMENTS[:3]
    drop_sample(settings, "cbs_crime", ["2023", "2024"])
    accept(settings, first)
    then = look(settings, "then", first, first)
    provisional = crimes(then, tmp_path, "GM0855", "2024")
    before = crimes(then, tmp_path, "GM0855", "2023")

    # 2024 becomes final, and a correction supersedes 2023.
    drop_variant(
        settings,
        sample_delivery("cbs_crime", "2024"),
        name="cbs_crime-2024-final",
        change=more_crimes("GM0855", 100),
        observation_status=ObservationStatus.FINAL,
        delivered_at=second,
    )
    corrected = sample_delivery("cbs_crime", "2023")
    drop_variant(
        settings,
        corrected,
        name="cbs_crime-2023-corrected",
        change=more_crimes("GM0855", 10),
        supersedes=corrected.name,
        delivered_at=second,
    )
    accept(settings, second)
    run_refresh(settings, "release", fixed_clock(second))
    released = current_release(settings)
    assert n_computed(settings, "release") == 2

    again = look(settings, "again", first, third)
    assert again == then
    assert n_computed(settings, "again") == 0
    now = look(settings, "now", second, third)
    assert crimes(now, tmp_path, "GM0855", "2024") == provisional + 100
    assert crimes(now, tmp_path, "GM0855", "2023") == before + 10

    # Also when the rows of that moment are gone.
    settings.warehouse.unlink()
    assert look(settings, "rebuilt", first, third) == then
    assert n_computed(settings, "rebuilt") == 2

    # Looking back misleads no refresh that follows: the figures of now are shown again.
    said = run_refresh(settings, "after", fixed_clock(third))
    assert n_computed(settings, "after") == 2
    assert any("every figure equals" in line for line in said)
    assert current_release(settings) == released
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            f"select numerator from {MART} where region_code = 'GM0855' "
            "and reference_period = '2024'"
        ).fetchall()
    assert rows == [(provisional + 100,)]
    assert not refresh.pending(settings)


def forget_years_after(seeds: Path, year: int) -> None:
    """Cuts the geography seeds to what was known in the division of a year.

    The list of codes stays whole: the sample's tables name later municipalities in every year.
    """
    first_day = f"{year}-01-01"
    keep: dict[str, Callable[[dict[str, str]], bool]] = {
        "municipality_divisions": lambda row: int(row["first_year"]) <= year,
        "municipality_population": lambda row: int(row["geo_year"]) <= year,
        "municipality_transitions": lambda row: row["valid_from"] <= first_day,
    }
    for name, is_kept in keep.items():
        path = seeds / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if is_kept(row)]
        for row in rows:
            if "last_year" in row:
                row["last_year"] = str(min(int(row["last_year"]), year))
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def regions(settings: Settings) -> set[str]:
    """The municipalities that the current release has figures for."""
    path = settings.releases / CURRENT / "observations.parquet"
    rows = duckdb.execute(f"select distinct region_code from '{path}'").fetchall()
    return {row[0] for row in rows}


def test_a_past_moment_looks_as_it_did_across_a_redivision(tmp_path: Path) -> None:
    """Brielle, Hellevoetsluis and Westvoorne became Voorne aan Zee on 1 January 2023."""
    first, second, third = MOMENTS[:3]
    project = copy_project(tmp_path / "project")
    seeds = project / "dbt_project" / "seeds" / "geography"
    whole = {path: path.read_bytes() for path in seeds.glob("*.csv")}
    forget_years_after(seeds, 2022)
    old = replace(settings_at(tmp_path / "home", project), geo_year=2022)
    drop_sample(old, "cbs_crime", ["2021", "2022"])
    accept(old, first)
    then = look(old, "then", first, first)
    run_refresh(old, "before", fixed_clock(first))
    assert {"GM0501", "GM0530", "GM0614"} <= regions(old)

    for path, content in whole.items():
        path.write_bytes(content)
    new = replace(old, geo_year=2025)
    drop_sample(new, "cbs_crime", ["2023", "2024"])
    accept(new, second)
    run_refresh(new, "after", fixed_clock(second))
    assert "GM1992" in regions(new)
    assert not {"GM0501", "GM0530", "GM0614"} & regions(new)

    assert look(old, "again", first, third) == then
    assert n_computed(old, "again") == 0

    # What was withdrawn and what changed says that the geography did it.
    path = new.releases / CURRENT / "revisions.parquet"
    found = duckdb.execute(
        f"select distinct region_code, cause, value is null from '{path}' "
        "where region_code in ('GM0501', 'GM1992') order by all"
    ).fetchall()
    assert found == [("GM0501", "first", False), ("GM0501", "geography", True)]
