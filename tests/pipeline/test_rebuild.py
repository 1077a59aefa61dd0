"""The warehouse is a cache: thrown away, it comes back from ``raw/`` with equal contents."""

from __future__ import annotations

import shutil
from datetime import timedelta

import duckdb
import pytest

from support import (
    NOW,
    ObservationStatus,
    drop_sample,
    drop_variant,
    run_refresh,
    sample_delivery,
    settings_at,
    share_manifest,
    silent,
    take_in_all,
)
from zicht import refresh
from zicht.backfill import find_scope, load_backfill, run_backfill
from zicht.clock import fixed_clock
from zicht.contracts import load_contracts
from zicht.files import read_json
from zicht.refresh.contents import table_hashes
from zicht.releases.store import current_release
from zicht.settings import Settings
from zicht.transform import build

LATER = NOW + timedelta(days=30)
STILL_LATER = NOW + timedelta(days=60)


def reported(change: bytes) -> bytes:
    """The figures of a delivery, with one crime more in Tilburg."""
    rows = []
    for line in change.decode().splitlines(keepends=True):
        fields = line.split(";")
        if fields[1].strip() == "GM0855":
            fields[3] = str(int(fields[3]) + 5)
        rows.append(";".join(fields))
    return "".join(rows).encode()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with two years of crime, and a revision of the newest."""
    settings = settings_at(tmp_path_factory.mktemp("lived") / "home")
    drop_sample(settings, "cbs_crime", ["2023", "2024"])
    take_in_all(settings, sources=["cbs_crime"])
    run_refresh(settings, "one")
    drop_variant(
        settings,
        sample_delivery("cbs_crime", "2024"),
        name="cbs_crime-2024-final",
        change=reported,
        observation_status=ObservationStatus.FINAL,
        delivered_at=LATER,
    )
    take_in_all(settings, fixed_clock(LATER), ["cbs_crime"])
    run_refresh(settings, "two", fixed_clock(LATER))
    return settings


def test_the_warehouse_is_rebuilt_from_raw(lived: Settings) -> None:
    clock = fixed_clock(STILL_LATER)
    before, release = table_hashes(lived.warehouse), current_release(lived)
    assert "cube_open_data__crime" in before
    assert len(before) > 8
    lived.warehouse.unlink()
    said = run_refresh(lived, "rebuilt", clock)
    assert any("every figure equals" in line for line in said)
    assert current_release(lived) == release
    assert not refresh.pending(lived)
    # The vintage that the revision replaced comes back when a look at the past asks for it.
    assert table_hashes(lived.warehouse) != before
    run_refresh(lived, "past", clock, as_of=NOW.isoformat())
    run_refresh_of_now(lived)
    assert table_hashes(lived.warehouse) == before


def run_refresh_of_now(settings: Settings) -> None:
    """Shows what is known now again, after a look at the past: stage and build are enough."""
    clock = fixed_clock(STILL_LATER)
    now = STILL_LATER.isoformat()
    refresh.plan(settings, "now", clock, silent, as_of=now)
    for hop in ("stage", "build"):
        getattr(refresh, hop)(settings, "now", clock, silent)


def test_a_restored_backup_says_what_the_lost_installation_said(
    lived: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the runbook: raw, releases and vintages are copied, everything else is made again."""
    restored = settings_at(tmp_path_factory.mktemp("restored") / "home")
    for name in ("raw", "releases", "vintages"):
        shutil.copytree(lived.home / name, restored.home / name, symlinks=True)
    said = run_refresh(restored, "restored", fixed_clock(STILL_LATER))
    assert any("every figure equals" in line for line in said)
    assert current_release(restored) == current_release(lived)
    marts = [name for name in table_hashes(lived.warehouse) if name.startswith("mart_")]
    assert table_hashes(restored.warehouse, marts) == table_hashes(lived.warehouse, marts)


REQUEST = """
id: again
sources: [cbs_crime]
periods: {from: "2024", to: "2024"}
reason: A test.
requester: A. Asker
reviewer: R. Reviewer
reviewed_on: 2025-05-01
"""


def test_a_backfill_computes_again_what_it_names(lived: Settings) -> None:
    clock = fixed_clock(STILL_LATER)
    request = lived.home / "again.yaml"
    request.write_text(REQUEST)
    backfill = load_backfill(request, load_contracts(lived.contracts), STILL_LATER.date())
    scope = find_scope(lived, backfill)
    assert {r.id.rsplit("-", 1)[0] for r in scope.deliveries} >= {"cbs_crime-2024"}
    assert {row.reference_period for row in scope.rows} == {"2024"}
    before, release = table_hashes(lived.warehouse), current_release(lived)
    share_manifest(lived)

    def again() -> None:
        run_refresh(lived, "backfilled", clock)

    record = run_backfill(lived, request, clock, silent, again)
    plan = read_json(lived.runs / "backfilled" / "plan.json")
    pairs = plan["variables"]["plan"]["cubes"]["cube_open_data__crime"]
    assert [pair["reference_period"] for pair in pairs] == ["2024"]
    assert set(plan["new_deliveries"]) == {delivery["id"] for delivery in pairs[0]["deliveries"]}
    made = [row for row in record["rows"] if row["sha256_after"]]
    assert made
    assert all(row["sha256_after"] == row["sha256_before"] for row in made)
    (kept,) = (lived.home / "backfills").iterdir()
    assert read_json(kept) == record
    assert record["state"] == "done"
    assert (record["requester"], record["reviewer"]) == ("A. Asker", "R. Reviewer")
    after = table_hashes(lived.warehouse)
    marts = [name for name in before if name.startswith("mart_")]
    assert {name: after[name] for name in marts} == {name: before[name] for name in marts}
    assert current_release(lived) == release


def test_a_yearly_stock_serves_the_quarters_of_its_year(lived: Settings) -> None:
    """The plan names the cube's own period where it is not the mart's."""
    variables = read_json(lived.runs / "two" / "plan.json")["variables"]
    mart, cube = "mart_drugs__registered_crimes", "cube_open_data__crime"
    (year,) = [p for p in variables["plan"]["marts"][mart] if p["reference_period"] == "2023"]
    assert year["periods"] == {cube: "2023"}
    quarters = [{**year, "reference_period": f"2023-Q{number}"} for number in (1, 2)]
    plan = {"cubes": {}, "marts": {mart: quarters}, "staging": []}
    build(lived, [mart], {**variables, "plan": plan}, silent, all_tests=False)
    with duckdb.connect(str(lived.warehouse), read_only=True) as connection:
        shown = connection.execute(
            f"select reference_period, count(*), sum(value) from {mart} group by 1 order by 1"
        ).fetchall()
        expected = connection.execute(
            f"select count(*), sum(value) from {cube} where reference_period = '2023' "
            "and vintage = ? and measure = 'n_registered_crimes'",
            [year["cubes"][cube]],
        ).fetchall()
    assert [row[0] for row in shown] == ["2023-Q1", "2023-Q2"]
    assert {row[1:] for row in shown} == set(expected)
