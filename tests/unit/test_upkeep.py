"""Upkeep: what may no longer be held goes, is recorded, and all else stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import NOW, PROJECT, STILL, released, run_refresh, silent
from zicht.agreements import Agreement, load_agreements
from zicht.clock import fixed_clock, format_moment
from zicht.contracts import load_contracts
from zicht.deliveries.ledger import RECORD, Record, delivery_folder, read_ledger
from zicht.deliveries.package import ObservationStatus, sha256_of
from zicht.deliveries.quarantine import read_quarantine
from zicht.errors import ConfigurationError
from zicht.expected import all_statuses
from zicht.files import read_json, write_json
from zicht.gates.model import CheckResult, GateResult, Severity
from zicht.periods import Period
from zicht.settings import Settings
from zicht.upkeep import cause_of, destroyed, read_destroyed, upkeep

CONTRACTS = load_contracts(PROJECT / "expectations" / "contracts")
AGREEMENTS = load_agreements(PROJECT / "expectations" / "agreements")
ACCEPTED = datetime(2024, 3, 1, 9, tzinfo=UTC)
AFTER_THE_END = datetime(2029, 1, 1, 3, tzinfo=UTC)
SECRET = "P123456782"
"""A key in the microdata: after upkeep it is in no byte below home."""
POINTS = (
    "upkeep-recorded",
    "upkeep-noted",
    "upkeep-derived",
    "upkeep-raw-moved",
    "upkeep-raw-removed",
    "upkeep-refused-recorded",
    "upkeep-refused-moved",
    "upkeep-refused-removed",
)


def record_of(source: str, period: str, accepted: datetime = ACCEPTED) -> Record:
    return Record(
        id=f"{source}-{period}",
        source=source,
        reference_period=Period.parse(period),
        observation_status=ObservationStatus.FINAL,
        delivered_at=accepted,
        accepted_at=accepted,
        is_archive=False,
        supersedes=None,
        content_hash="c0ffee",
        contract_version="1.0.0",
        rows={"t": 1},
    )


def hold(settings: Settings, source: str, period: str, accepted: datetime = ACCEPTED) -> Record:
    """An accepted delivery in ``raw/``."""
    record = record_of(source, period, accepted)
    folder = delivery_folder(settings, source, record.reference_period, record.id)
    folder.mkdir(parents=True)
    (folder / "t.parquet").write_bytes(f"PAR1 {SECRET if source == 'brp' else 'free'}".encode())
    write_json(folder / RECORD, record.to_json())
    return record


def derive(settings: Settings, relation: str, vintage: str, *records: Record) -> None:
    """Rows of a cube in the warehouse that rest on deliveries."""
    deliveries = [[r.source, r.id, "final", r.content_hash] for r in records]
    write_json(
        settings.home / "vintages" / f"{vintage}.json",
        {"model": relation, "vintage": vintage, "inputs": {"deliveries": deliveries}},
    )
    key = SECRET if any(r.source == "brp" for r in records) else "free"
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute(
            f"create table if not exists {relation} "
            "(reference_period varchar, vintage varchar, payload varchar)"
        )
        connection.execute(
            f"insert into {relation} values ('2024', ?, ?), ('2024', ?, ?)",
            [vintage, f"{key} {vintage}", vintage, f"{key} {vintage} 2"],
        )


def vintages(settings: Settings, relation: str) -> list[str]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        found = connection.execute(f"select distinct vintage from {relation} order by 1")
        return [vintage for (vintage,) in found.fetchall()]


def refused(settings: Settings, name: str, at: datetime) -> Path:
    folder = settings.quarantine / "brp" / name
    (folder / "payload").mkdir(parents=True)
    (folder / "payload" / "persons.csv").write_text(f"person_key\n{SECRET}\n")
    (folder / "payload" / "sneaky").symlink_to("/etc/hostname")
    reason = {"code": "Z-DEL-106", "rows": [{"_row": 1, "value": SECRET}], "observed": SECRET}
    write_json(
        folder / "report.json",
        {
            "delivery": name,
            "source": "brp",
            "reference_period": "2024",
            "refused_at": format_moment(at),
            "reasons": [reason],
        },
    )
    for page in ("gate_1.json", "report.html"):
        (folder / page).write_text(SECRET)
    return folder


def small_project(target: Path) -> Path:
    """The agreements and two of the contracts: all that upkeep reads of a project."""
    expectations = PROJECT / "expectations"
    (target / "expectations" / "contracts").mkdir(parents=True)
    shutil.copytree(expectations / "agreements", target / "expectations" / "agreements")
    for source in ("brp", "cbs_crime"):
        name = f"contracts/{source}.yaml"
        shutil.copy(expectations / name, target / "expectations" / name)
    return target


@pytest.fixture
def filled(settings: Settings, tmp_path: Path) -> Settings:
    """Registers and open data held, computed from, looked at by a gate, and refused."""
    settings = replace(settings, project=small_project(tmp_path / "project"))
    brp, crime = hold(settings, "brp", "2024"), hold(settings, "cbs_crime", "2024")
    derive(settings, "cube_drugs__persons", "aaaa", brp, crime)
    derive(settings, "cube_open_data__crime", "bbbb", crime)
    write_json(
        settings.home / "vintages" / "cccc.json",
        {"model": "mart_drugs__x", "inputs": {"cubes": {"cube_…": "aaaa"}}},
    )
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute(
            "create table mart_drugs__x as select '2024' as reference_period, "
            f"'cccc' as vintage, '{SECRET}' as payload"
        )
        connection.execute("create table dim_regions as select 'GM0363' as region_code")
        connection.execute("create view stg_brp__persons as select * from dim_regions")
        for moment, vintage in (("2024-05-01", "cccc"), ("2024-05-02", "bbbb")):
            folder = settings.home / "as_of" / moment
            folder.mkdir(parents=True)
            connection.execute(f"copy (select '{vintage}' as vintage) to '{folder / 'm.parquet'}'")
    (settings.home / "warehouse.run").write_text("under-way\n")
    write_json(settings.runs / "first" / "plan.json", {"inputs": [{"id": "brp-2024"}]})
    found = CheckResult(
        suite="s",
        relation="r",
        check="c",
        description="d",
        severity=Severity.WARN,
        success=False,
        remedy="m",
        rows=({"person_key": SECRET},),
    )
    gate = GateResult(gate=2, subject="first", checked_at=ACCEPTED, results=(found,))
    (settings.runs / "first" / "gate_2.json").write_text(gate.dumps())
    (settings.runs / "first" / "report.html").write_text(SECRET)
    (settings.releases / "r1").mkdir(parents=True)
    (settings.releases / "r1" / "marts.duckdb").write_text("published")
    refused(settings, "old", AFTER_THE_END - timedelta(days=91))
    refused(settings, "new", AFTER_THE_END - timedelta(days=89))
    return settings


def state(settings: Settings) -> dict[str, Any]:
    """All that is kept, with the warehouse by content; locks and working files aside."""
    files: dict[str, Any] = {}
    for path in sorted(settings.home.rglob("*")):
        place = str(path.relative_to(settings.home))
        if path.is_file() and not path.is_symlink() and not place.startswith(("locks/", "ware")):
            files[place] = path.read_bytes()
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        tables = connection.execute("select table_name from duckdb_tables() order by 1").fetchall()
        for (table,) in tables:
            files[f"table {table}"] = connection.execute(f"from {table} order by all").fetchall()
    return files


def where_secret(settings: Settings) -> list[str]:
    return [
        str(path.relative_to(settings.home))
        for path in sorted(settings.home.rglob("*"))
        if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes()
    ]


def test_after_an_agreement_ended_nothing_of_its_sources_is_left(filled: Settings) -> None:
    raw = delivery_folder(filled, "brp", "2024", "brp-2024") / "t.parquet"
    digest, size = sha256_of(raw), raw.stat().st_size
    assert {"warehouse.duckdb", "runs/first/gate_2.json"} <= set(where_secret(filled))
    report = upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    assert where_secret(filled) == []
    assert [record.id for record in read_ledger(filled)] == ["cbs_crime-2024"]
    assert vintages(filled, "cube_drugs__persons") == []
    assert vintages(filled, "mart_drugs__x") == []
    assert vintages(filled, "cube_open_data__crime") == ["bbbb"]
    assert [path.name for path in (filled.home / "as_of").iterdir()] == ["2024-05-02"]
    assert not (filled.home / "warehouse.run").exists(), "a refresh under way has to begin again"
    assert (filled.releases / "r1" / "marts.duckdb").read_text() == "published"
    assert (report.n_derived_rows, report.refused) == (3, ("brp/old", "brp/new"))

    (kept,) = read_destroyed(filled, "brp")
    assert destroyed(filled, "brp") == {"brp-2024"}
    assert destroyed(filled, "cbs_crime") == set()
    assert kept.document["why"] == {
        "reason": "agreement_ended",
        "text": "agreement zicht_op_ondermijning ended on 2028-12-31",
        "last_day": "2028-12-31",
    }
    assert {"path": "t.parquet", "bytes": size, "sha256": digest} in kept.document["files"]
    assert kept.document["destroyed_at"] == "2029-01-01T03:00:00Z"
    assert [(d["relation"], d["n_rows"]) for d in kept.document["derived"]] == [
        ("cube_drugs__persons", 2),
        ("mart_drugs__x", 1),
    ]
    assert GateResult.loads((filled.runs / "first" / "gate_2.json").read_text()).results[0].check


def end_on(settings: Settings, day: str, agreement: str = "*") -> None:
    """Changes the last day of agreements."""
    for path in settings.agreements.glob(f"{agreement}.yaml"):
        path.write_text(path.read_text().replace("2028-12-31", day))


def test_what_is_destroyed_is_not_asked_for_again(filled: Settings) -> None:
    """Not even when the agreement is taken up again."""
    upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    end_on(filled, "2029-02-01")
    only_brp = {"brp": CONTRACTS["brp"]}
    (status,) = all_statuses(filled, only_brp, read_ledger(filled), [], AFTER_THE_END)
    assert (status.last, status.agreement) == (None, "ends in 31 days")
    assert (str(status.next_period), status.missing) == ("2025", ())
    assert status.days_overdue > 1000


def test_a_second_run_finds_nothing_to_do(filled: Settings) -> None:
    upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    before = state(filled)
    report = upkeep(filled, fixed_clock(AFTER_THE_END + timedelta(hours=1)), silent)
    assert (report.deliveries, report.refused, report.n_derived_rows) == ((), (), 0)
    assert state(filled) == before


def test_a_dry_run_says_the_same_and_does_nothing(filled: Settings) -> None:
    before, said = state(filled), []
    planned = upkeep(filled, fixed_clock(AFTER_THE_END), said.append, dry_run=True)
    assert state(filled) == before
    assert any("would destroy brp-2024: agreement" in line for line in said)
    done = upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    assert [d["delivery"] for d in planned.deliveries] == [d["delivery"] for d in done.deliveries]
    assert (planned.refused, planned.n_derived_rows) == (done.refused, done.n_derived_rows)


def test_while_an_agreement_is_in_force_nothing_goes(filled: Settings) -> None:
    before = state(filled)
    report = upkeep(filled, fixed_clock(datetime(2028, 12, 1, tzinfo=UTC)), silent)
    assert (report.deliveries, report.refused) == ((), ())
    assert state(filled) == before


def test_no_agreement_at_all_is_no_reason_to_destroy(filled: Settings) -> None:
    for path in filled.agreements.iterdir():
        path.unlink()
    said: list[str] = []
    report = upkeep(filled, fixed_clock(datetime(2027, 1, 1, tzinfo=UTC)), said.append)
    assert (report.deliveries, report.without_agreement) == ((), ("brp",))
    assert any("brp is held and no agreement names it" in line for line in said)


def test_an_agreement_that_ends_for_one_theme_takes_that_themes_rows(filled: Settings) -> None:
    end_on(filled, "2025-12-31", "zicht_op_ondermijning")
    derive(filled, "cube_armoede__persons", "dddd", *read_ledger(filled, "brp"))
    upkeep(filled, fixed_clock(datetime(2026, 1, 1, tzinfo=UTC)), silent)
    assert [record.id for record in read_ledger(filled, "brp")] == ["brp-2024"]
    assert vintages(filled, "cube_drugs__persons") == []
    assert vintages(filled, "cube_armoede__persons") == ["dddd"]
    assert [path.name for path in (filled.home / "as_of").iterdir()] == ["2024-05-02"]
    note = read_json(filled.home / "destroyed" / "brp" / "themes" / "drugs.json")
    assert [d["vintage"] for d in note["derived"]] == ["aaaa", "cccc"]
    assert destroyed(filled, "brp") == set()


def test_an_export_that_cannot_be_read_goes_too(filled: Settings) -> None:
    (filled.home / "as_of" / "2024-05-02" / "broken.parquet").write_text(SECRET)
    upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    assert list((filled.home / "as_of").iterdir()) == []


def cause(source: str, today: date, agreements: dict[str, Agreement]) -> str | None:
    found = cause_of(CONTRACTS[source], record_of(source, "2024"), agreements, today)
    return found.text if found else None


def test_the_shortest_retention_counts_from_acceptance() -> None:
    days = CONTRACTS["brp"].retention_days
    until_2040 = {k: replace(a, valid_until=date(2040, 1, 1)) for k, a in AGREEMENTS.items()}
    short = {
        **until_2040,
        "zicht_op_armoede": replace(until_2040["zicht_op_armoede"], retention_days=30),
    }
    last = ACCEPTED.date() + timedelta(days=min(days, 1825))
    assert cause("brp", last, until_2040) is None
    assert "retention of" in (cause("brp", last + timedelta(days=1), until_2040) or "")
    assert cause("brp", date(2024, 3, 31), short) is None
    assert cause("brp", date(2024, 4, 1), short) == (
        "retention of 30 days (agreement zicht_op_armoede) passed on 2024-03-31"
    )
    assert cause("cbs_crime", date(2024, 4, 1), short) is None, "open data has no agreement"
    public = ACCEPTED.date() + timedelta(days=CONTRACTS["cbs_crime"].retention_days + 1)
    assert "contract cbs_crime" in (cause("cbs_crime", public, {}) or "")


CHILD = """
import json, os, sys
import duckdb
import zicht.gates.model
from zicht.clock import clock_from_environment
from zicht.settings import Settings
from zicht.upkeep import upkeep
codes = []
for home, point in json.loads(sys.argv[1]):
    process = os.fork()
    if process == 0:
        os.environ |= {"ZICHT_HOME": home, "ZICHT_KILL_AT": point}
        upkeep(Settings.from_environment(), clock_from_environment(), lambda line: None)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
print(json.dumps(codes))
"""
"""Runs upkeep in processes that kill themselves; forked, so that importing is paid once."""


def run(settings: Settings, kills: list[tuple[Path, str]]) -> list[int]:
    """Exit codes of upkeep on each home, told to die at a checkpoint."""
    environment = {
        **os.environ,
        "ZICHT_PROJECT": str(settings.project),
        "ZICHT_CLOCK": format_moment(AFTER_THE_END),
    }
    asked = json.dumps([(str(home), point) for home, point in kills])
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, asked], env=environment, capture_output=True, text=True
    )
    return list(json.loads(answer.stdout))


def test_every_checkpoint_of_upkeep_is_killed_at_here() -> None:
    source = (PROJECT / "src" / "zicht" / "upkeep.py").read_text()
    assert set(re.findall(r'checkpoint\("([^"]+)"\)', source)) == set(POINTS)


def test_killed_at_each_point_and_run_again_the_end_is_the_same(
    filled: Settings, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", filled.home, tmp_path / "whole"], check=True)
    whole = replace(filled, home=tmp_path / "whole")
    upkeep(whole, fixed_clock(AFTER_THE_END), silent)
    for point in POINTS:
        subprocess.run(["cp", "-a", filled.home, tmp_path / point], check=True)
    kills = [(tmp_path / point, point) for point in POINTS]
    assert run(filled, kills) == [-signal.SIGKILL] * len(POINTS)
    for point in POINTS:
        killed = replace(filled, home=tmp_path / point)
        ids = [record.id for record in read_ledger(killed)]
        assert "cbs_crime-2024" in ids
        if "brp-2024" not in ids:
            assert destroyed(killed, "brp") == {"brp-2024"}, "gone without a record"
        upkeep(killed, fixed_clock(AFTER_THE_END), silent)
        assert state(killed) == state(whole), point
        assert where_secret(killed) == where_secret(whole), point
        assert len(read_quarantine(killed)) == 2


def test_prolonged_before_a_killed_run_went_on_it_is_spared(filled: Settings) -> None:
    assert run(filled, [(filled.home, "upkeep-recorded")]) == [-signal.SIGKILL]
    assert destroyed(filled, "brp") == {"brp-2024"}
    end_on(filled, "2029-02-01")
    report = upkeep(filled, fixed_clock(AFTER_THE_END), silent)
    assert (report.deliveries, destroyed(filled, "brp")) == ((), set())
    assert "brp-2024" in {record.id for record in read_ledger(filled)}
    assert vintages(filled, "cube_drugs__persons") == ["aaaa"]


@pytest.mark.parametrize("text", ["-1", "9.5", "many", "٣", "999999"])
def test_days_in_quarantine_are_whole(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ZICHT_QUARANTINE_DAYS", text)
    with pytest.raises(ConfigurationError) as caught:
        upkeep(settings, fixed_clock(AFTER_THE_END), silent)
    assert caught.value.code == "Z-CFG-055"


def test_days_in_quarantine_can_be_set(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_QUARANTINE_DAYS", "92")
    moment = datetime(2028, 12, 31, tzinfo=UTC)
    assert upkeep(filled, fixed_clock(moment), silent).refused == ()
    monkeypatch.setenv("ZICHT_QUARANTINE_DAYS", "30")
    report = upkeep(filled, fixed_clock(moment), silent)
    assert report.refused == ("brp/old", "brp/new")
    (old, new) = read_quarantine(filled)
    assert [reason["code"] for one in (old, new) for reason in one.reasons] == ["Z-DEL-106"] * 2
    note = json.loads((filled.home / "destroyed" / "brp" / "refused" / "old.json").read_text())
    assert [(f["path"], f["sha256"] is None) for f in note["files"]] == [
        ("persons.csv", False),
        ("sneaky", True),
    ]


def test_a_refresh_goes_on_without_what_was_destroyed(
    first_release: Settings, tmp_path: Path
) -> None:
    """On a real warehouse: figures of the years that stay are as they were."""
    settings = replace(first_release, home=tmp_path / "home")
    subprocess.run(["cp", "-a", first_release.home, settings.home], check=True)
    doomed = next(r for r in read_ledger(settings, "cbs_crime") if r.reference_period.year == 2014)
    folder = delivery_folder(settings, "cbs_crime", doomed.reference_period, doomed.id)
    long_ago = replace(doomed, accepted_at=NOW - timedelta(days=8000))
    write_json(folder / RECORD, long_ago.to_json())
    per_year = (
        "select reference_period, count(*), sum(value) from observations "
        "where indicator_id like '%crime%' group by all order by all"
    )
    before, old = released(settings, per_year), (settings.releases / "current").resolve()
    report = upkeep(settings, STILL, silent)
    assert [d["delivery"] for d in report.deliveries] == [doomed.id]
    assert report.n_derived_rows > 10
    assert "retention" in report.deliveries[0]["why"]["text"]
    run_refresh(settings, "after", fixed_clock(NOW + timedelta(days=1)))
    after = released(settings, per_year)
    assert {year for year, *_ in before} - {year for year, *_ in after} == {"2014"}
    assert [row for row in before if row[0] != "2014"] == after
    assert old.is_dir()
    assert (settings.releases / "current").resolve() != old
