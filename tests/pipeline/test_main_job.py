"""The main job on the sample: released, repeated, revised, stopped, and looked back at."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from support import (
    NOW,
    PROJECT,
    SAMPLES,
    Period,
    drop_sample,
    drop_variant,
    parquet_bytes,
    released,
    run_refresh,
    sample_delivery,
    take_in_all,
)
from zicht import refresh
from zicht.clock import fixed_clock
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import ObservationStatus
from zicht.errors import DisclosureError, GateError, ReleaseError
from zicht.files import read_json, write_json
from zicht.releases.schema import load_schema
from zicht.releases.store import CURRENT, current_release, describe_files
from zicht.settings import Settings

LATER = NOW + timedelta(days=30)
TABLES = tuple(table.name for table in load_schema(Settings(home=PROJECT, project=PROJECT)).tables)


def sample_figure(table: str, column: str, region: str, year: int, region_column: str) -> float:
    """A figure as it stands in the sample's CSV."""
    path = SAMPLES / table / "TypedDataSet.csv"
    row = duckdb.execute(
        f"select {column} from read_csv('{path}', delim=';', all_varchar=true) "
        f"where trim({region_column}) = ? and Perioden = ? and {column} <> ''",
        [region, f"{year}JJ00"],
    ).fetchone()
    assert row is not None, f"{table} has no {column} for {region} in {year}"
    return float(row[0])


def test_release_holds_every_table_three_times(first_release: Settings) -> None:
    folder = first_release.releases / CURRENT
    names = {path.name for path in folder.iterdir()}
    expected = {f"{table}.{kind}" for table in TABLES for kind in ("csv", "parquet")}
    assert names == expected | {"marts.duckdb", "release.json"}
    for table in TABLES:
        counts = {
            released(first_release, f"select count(*) from {source}")[0][0]
            for source in (
                table,
                f"read_parquet('{folder}/{table}.parquet')",
                f"read_csv('{folder}/{table}.csv')",
            )
        }
        assert len(counts) == 1, f"{table} differs between DuckDB, Parquet and CSV: {counts}"


def test_release_document_says_where_it_came_from(first_release: Settings) -> None:
    document = current_release(first_release)
    assert document is not None
    assert len(document["inputs"]) == len(read_ledger(first_release)) == 29
    # How many rows a register has is a count that no wall has seen.
    assert not {"rows", "content_hash"} & {key for one in document["inputs"] for key in one}
    assert [gate["gate"] for gate in document["gates"]] == [1, 2, 3, 4]
    assert all(gate["passed"] for gate in document["gates"])
    files = {entry["path"] for entry in document["files"]}
    assert files == {path.name for path in (first_release.releases / CURRENT).iterdir()} - {
        "release.json"
    }


def test_release_is_read_only(first_release: Settings) -> None:
    folder = (first_release.releases / CURRENT).resolve()
    assert folder.stat().st_mode & 0o222 == 0
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())


def test_figures_follow_from_the_source(first_release: Settings) -> None:
    crimes = sample_figure("83648NED", "TotaalGeregistreerdeMisdrijven_1", "GM0855", 2024, "RegioS")
    population = duckdb.execute(
        "select population_1jan from read_csv(?) where geo_year = 2024 and region_code = 'GM0855'",
        [str(first_release.dbt_project / "seeds/geography/municipality_population.csv")],
    ).fetchall()[0][0]
    rows = released(
        first_release,
        "select value, unit, obs_status from observations where region_code = 'GM0855' "
        "and indicator_id = 'registered_crime_per_1000' and reference_period = '2024'",
    )
    assert rows == [(round(1000 * crimes / population, 1), "per_1000_inhabitants", "P")]


def test_merged_municipality_has_the_sum_of_its_parts(first_release: Settings) -> None:
    """Voorne aan Zee came from Brielle, Hellevoetsluis and Westvoorne on 1 January 2023."""
    parts = [
        sample_figure("83648NED", "TotaalGeregistreerdeMisdrijven_1", code, 2015, "RegioS")
        for code in ("GM0501", "GM0530", "GM0614")
    ]
    with duckdb.connect(str(first_release.warehouse), read_only=True) as connection:
        row = connection.execute(
            "select numerator, is_estimated from mart_drugs__registered_crime_per_1000 "
            "where region_code = 'GM1992' and reference_period = '2015'"
        ).fetchone()
    assert row == (sum(parts), False)


def test_split_municipality_is_estimated(first_release: Settings) -> None:
    """Haaren was split over four municipalities on 1 January 2021."""
    statuses = released(
        first_release,
        "select region_code, reference_period, obs_status, obs_flags from observations "
        "where indicator_id = 'suspects_per_10000' "
        "and region_code in ('GM0757', 'GM0824', 'GM0855', 'GM0865') "
        "and reference_period in ('2020', '2021') order by all",
    )
    before = [row for row in statuses if row[1] == "2020"]
    after = [row for row in statuses if row[1] == "2021"]
    assert [row[2] for row in before] == ["E"] * 4
    assert all("estimated" in row[3] for row in before)
    assert [row[2] for row in after] == ["A"] * 4


def test_changed_code_continues_under_the_new_one(first_release: Settings) -> None:
    """De Friese Meren (GM1921) became De Fryske Marren (GM1940) on 1 July 2015."""
    rows = released(
        first_release,
        "select reference_period, region_code from observations where "
        "indicator_id = 'suspects_per_10000' and region_code in ('GM1921', 'GM1940') order by 1",
    )
    assert [row[0] for row in rows] == [str(year) for year in range(2013, 2025)]
    assert {row[1] for row in rows} == {"GM1940"}


def test_rounded_zero_is_not_called_a_true_zero(first_release: Settings) -> None:
    rows = released(first_release, "select obs_flags from observations where value = 0")
    assert rows
    assert all("rounded_zero" in flags for (flags,) in rows)


def test_every_figure_says_how_old_it_is(first_release: Settings) -> None:
    rows = released(
        first_release,
        "select distinct reference_period, lag_days, cast(known_at at time zone 'UTC' as varchar) "
        "from observations where indicator_id = 'registered_crime_per_1000' order by 1",
    )
    # Delivered on 1 April 2025: 91 days after the end of 2024, and a year more for 2023.
    assert rows[-1] == ("2024", 91, "2025-05-01 09:00:00")
    assert rows[-2][1] == 457


def test_nothing_new_makes_no_release(first_release: Settings) -> None:
    before = current_release(first_release)
    said = run_refresh(first_release, "again")
    assert any("nothing to do" in line for line in said)
    assert current_release(first_release) == before
    assert not refresh.pending(first_release)


@pytest.fixture
def small(settings: Settings) -> Settings:
    """An installation with two years of crime, released."""
    drop_sample(settings, "cbs_crime", ["2022", "2023"])
    take_in_all(settings)
    run_refresh(settings, "one")
    return settings


def test_new_period_costs_one_pair_and_revision_supersedes(small: Settings) -> None:
    first = current_release(small)
    assert first is not None
    drop_sample(small, "cbs_crime", ["2024"])
    take_in_all(small, fixed_clock(LATER), ["cbs_crime"])
    assert refresh.pending(small)
    said = run_refresh(small, "two", fixed_clock(LATER))
    assert any("1 of them to compute" in line for line in said)
    assert released(small, "select count(*) from releases") == [(2,)]

    # The final figures of 2024 arrive: 100 crimes more in Tilburg.
    def revise(content: bytes) -> bytes:
        rows = []
        for line in content.decode().splitlines(keepends=True):
            fields = line.split(";")
            if fields[1].strip() == "GM0855":
                fields[3] = str(int(fields[3]) + 100)
            rows.append(";".join(fields))
        return "".join(rows).encode()

    drop_variant(
        small,
        sample_delivery("cbs_crime", "2024"),
        name="cbs_crime-2024-final-revised",
        change=revise,
        observation_status=ObservationStatus.FINAL,
        delivered_at=LATER,
    )
    much_later = fixed_clock(LATER + timedelta(days=30))
    provisional = _crimes(small, "GM0855")
    take_in_all(small, much_later, ["cbs_crime"])
    run_refresh(small, "three", much_later)
    assert _crimes(small, "GM0855") == provisional + 100
    assert released(
        small,
        "select distinct obs_status from observations where reference_period = '2024' "
        "and indicator_id = 'registered_crime_per_1000'",
    ) == [("A",)]

    # What was known before the revision can still be shown, byte for byte, and releases nothing.
    last = current_release(small)
    moments = {}
    for name in ("look-1", "look-2"):
        said = run_refresh(small, name, much_later, as_of=LATER.isoformat())
        folder = small.home / "as_of" / LATER.strftime("%Y-%m-%dT%H%M%SZ")
        moments[name] = parquet_bytes(folder)
        row = duckdb.execute(
            "select numerator from read_parquet(?) where region_code = 'GM0855' "
            "and reference_period = '2024'",
            [str(folder / "mart_drugs__registered_crime_per_1000.parquet")],
        ).fetchone()
        assert row == (provisional,)
        assert any("not released" in line for line in said)
    assert moments["look-1"] == moments["look-2"]
    assert current_release(small) == last


def test_forecasts_are_laid_beside_the_figures_when_these_come(
    first_release: Settings, settings: Settings
) -> None:
    """A year later the figures of 2025 arrive: they are what they were in 2024."""
    shutil.copytree(first_release.home, settings.home, symlinks=True)
    first = current_release(settings)
    assert first is not None
    given = "indicator_id = 'registered_crimes' and reference_period = '2025' and obs_status = 'F'"
    (n_given,) = released(settings, f"select count(*) from forecasts where {given}")[0]
    assert n_given
    assert released(settings, "select count(*) from past_forecasts") == [(0,)]
    a_year_later = NOW + timedelta(days=365)
    drop_variant(
        settings,
        sample_delivery("cbs_crime", "2024"),
        name="cbs_crime-2025",
        change=lambda content: content.replace(b"2024JJ00", b"2025JJ00"),
        reference_period=Period.parse("2025"),
        delivered_at=a_year_later,
    )
    clock = fixed_clock(a_year_later)
    assert take_in_all(settings, clock, ["cbs_crime"])["cbs_crime"].accepted
    run_refresh(settings, "later", clock)
    where = "indicator_id = 'registered_crimes' and reference_period = '2025'"
    rows = released(
        settings,
        "select made_at, p.release_id, horizon, p.value = o.value, "
        "is_within_90 = (p.value between lower_90 and upper_90) "
        "from past_forecasts as p join observations as o "
        f"using (indicator_id, region_code, breakdown, reference_period) where {where} "
        "group by all",
    )
    assert rows == [(NOW, first["release_id"], 1, True, True)]
    assert released(settings, f"select count(*) from past_forecasts where {where}") == [(n_given,)]
    # A year ahead came true; two years ahead is kept, and waits.
    scored = released(
        settings,
        "select horizon, n_cases, n_real_time from forecast_scores "
        "where indicator_id = 'registered_crimes' and method = 'as_made'",
    )
    ((horizon, n_cases, n_real_time),) = scored
    assert (horizon, n_cases) == (1, n_real_time)
    assert 0 < n_cases <= n_given
    assert released(
        settings,
        "select distinct value from past_forecasts where indicator_id = 'registered_crimes' "
        "and reference_period > '2025'",
    ) == [(None,)]
    # Nothing came for suspects: what was forecast of them stays as it was made.
    assert released(
        settings,
        "select distinct made_at from forecasts where indicator_id = 'suspects_per_10000' "
        "and reference_period <= '2026' and obs_status = 'F'",
    ) == [(NOW,)]


def _crimes(settings: Settings, region: str) -> float:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        row = connection.execute(
            "select numerator from mart_drugs__registered_crime_per_1000 "
            "where region_code = ? and reference_period = '2024'",
            [region],
        ).fetchone()
    assert row is not None
    return float(row[0])


def test_a_failing_gate_stops_the_flow_and_keeps_the_release(small: Settings) -> None:
    before = current_release(small)

    def without_tilburg(content: bytes) -> bytes:
        return b"".join(line for line in content.splitlines(True) if b"GM0855" not in line)

    drop_variant(small, sample_delivery("cbs_crime", "2024"), change=without_tilburg)
    take_in_all(small, sources=["cbs_crime"])
    with pytest.raises(GateError) as stopped:
        run_refresh(small, "silent")
    assert stopped.value.code == "Z-GATE-003"
    assert "GM0855" in stopped.value.message
    assert current_release(small) == before
    outcome = read_json(small.runs / "silent" / "outcome.json")
    assert outcome["state"] == "refused_by_gate_3"
    assert "GM0855" in (small.runs / "silent" / "report.html").read_text()
    # Repeating it unchanged would stop there again: the sweep must not ring for it for ever.
    assert not refresh.pending(small)


def test_publish_trusts_no_task_state(small: Settings) -> None:
    """A gate's task set to success by hand has not passed the gate."""
    before = current_release(small)
    drop_sample(small, "cbs_crime", ["2024"])
    take_in_all(small, sources=["cbs_crime"])
    clock = fixed_clock(LATER)
    for hop in ("plan", "stage", "build", "gate_3", "protect", "forecast", "gate_4"):
        getattr(refresh, hop)(small, "cheated", clock, lambda _: None)
    with pytest.raises(GateError) as refused:
        refresh.publish(small, "cheated", clock, lambda _: None)
    assert refused.value.code == "Z-GATE-005"
    assert current_release(small) == before


@pytest.mark.parametrize(
    ("table", "leak", "check"),
    [
        (
            "observations",
            "update observations set region_code = 'BU03630001' where region_code = 'GM0855'",
            "no_neighbourhood",
        ),
        (
            "observations",
            "update observations set region_level = 'district' where region_code = 'GM0855'",
            "region_level_allowed",
        ),
        (
            "indicators",
            "update indicators set label_nl = '123456782'",
            "no_identifier",
        ),
        (
            "observations",
            "alter table observations add column n_contributors integer",
            "published_columns",
        ),
        (
            "observations",
            "update observations set obs_status = 'Q' where region_code = 'GM0855'",
            "hidden_has_no_value",
        ),
        (
            "observations",
            "update observations set value = 3; "
            "update indicators set kind = 'counts', policy = 'default'",
            "no_small_cell",
        ),
    ],
)
def test_gate_4_finds_a_leak(
    first_release: Settings, settings: Settings, table: str, leak: str, check: str
) -> None:
    run, release_id = "leaky", "2025-05-01-00000000"
    folder = settings.candidates / release_id
    folder.mkdir(parents=True)
    shutil.copytree(first_release.home / "forecasts", settings.home / "forecasts")
    source = first_release.releases / CURRENT / "marts.duckdb"
    (folder / "marts.duckdb").write_bytes(source.read_bytes())
    with duckdb.connect(str(folder / "marts.duckdb")) as connection:
        connection.execute(leak)
    plan = read_json(first_release.runs / "first" / "plan.json")
    write_json(settings.runs / run / "plan.json", plan)
    files = describe_files(folder)
    write_json(settings.runs / run / "candidate.json", {"release_id": release_id, "files": files})
    with pytest.raises(GateError) as stopped:
        refresh.gate_4(settings, run, fixed_clock(NOW), lambda _: None)
    assert check in stopped.value.message
    result = json.loads((settings.runs / run / "gate_4.json").read_text())
    failed = {(r["relation"], r["check"]) for r in result["results"] if not r["success"]}
    assert (table, check) in failed or ("observations", check) in failed


@pytest.mark.parametrize("where", ["observations.csv", "raw", "extra.csv"])
def test_gate_4_refuses_files_that_were_not_built(
    first_release: Settings, settings: Settings, where: str
) -> None:
    run, release_id = "touched", "2025-05-01-00000000"
    folder = settings.candidates / release_id
    shutil.copytree(first_release.releases / CURRENT, folder)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    (folder / "release.json").unlink()
    plan = read_json(first_release.runs / "first" / "plan.json")
    write_json(settings.runs / run / "plan.json", plan)
    files = describe_files(folder)
    write_json(settings.runs / run / "candidate.json", {"release_id": release_id, "files": files})
    if where == "raw":
        (folder / where).mkdir()
    else:
        with (folder / where).open("a") as stream:
            stream.write("BU03630000,secret\n")
    with pytest.raises(ReleaseError) as refused:
        refresh.gate_4(settings, run, fixed_clock(NOW), lambda _: None)
    assert refused.value.code in ("Z-REL-003", "Z-REL-006")


def test_a_label_is_no_way_around_the_wall(tmp_path: Path) -> None:
    """An indicator that calls itself public and rests on a source that is not is not published."""
    from support import copy_project, settings_at

    project = copy_project(tmp_path / "project")
    contract = project / "expectations" / "contracts" / "cbs_crime.yaml"
    text = contract.read_text()
    assert "{property: kind, value: public}" in text
    installation = settings_at(tmp_path / "home", project)
    drop_sample(installation, "cbs_crime", ["2024"])
    take_in_all(installation)
    contract.write_text(text.replace("value: public}", "value: microdata}", 1))
    agreement = installation.agreements / "zicht_op_ondermijning.yaml"
    covered = agreement.read_text().replace("sources:\n", "sources:\n  - cbs_crime\n", 1)
    agreement.write_text(covered)
    with pytest.raises(DisclosureError) as refused:
        run_refresh(installation, "labelled")
    assert refused.value.code == "Z-DIS-003"
    assert current_release(installation) is None
