"""A flood of history leads to few refreshes, and one more delivery costs what it brings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from support import (
    NOW,
    drop_sample,
    drop_variant,
    sample_delivery,
    settings_at,
    share_manifest,
    silent,
    take_in_all,
)
from zicht import refresh
from zicht.clock import fixed_clock
from zicht.deliveries.ledger import read_ledger
from zicht.files import read_json
from zicht.settings import Settings

CLOCK = fixed_clock(NOW)
SOURCES = ("cbs_crime", "cbs_suspects")
YEARS = range(2013, 2023)
# `make bench-bulk` has 20, which makes 400 deliveries.
N_VERSIONS = int(os.environ.get("ZICHT_FLOOD_VERSIONS", "1"))
pytestmark = pytest.mark.skipif(N_VERSIONS == 1, reason="make bench-bulk runs these")
N_DELIVERIES = len(SOURCES) * len(YEARS) * N_VERSIONS
MOST_REFRESHES = 10


def version(number: int) -> Callable[[bytes], bytes]:
    """Makes the figures of a version: so many tens more in one figure of Tilburg."""

    def change(content: bytes) -> bytes:
        lines = content.decode().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if "GM0855" in line)
        lines[at] = re.sub(
            r";(\d+);", lambda found: f";{int(found[1]) + 10 * number};", lines[at], count=1
        )
        return "".join(lines).encode()

    return change


def drop_history(settings: Settings) -> int:
    """Drops the archive of ten years: every figure in all its versions, with their own dates."""
    dropped = 0
    for source in SOURCES:
        for year in YEARS:
            model = sample_delivery(source, str(year))
            for number in range(N_VERSIONS):
                drop_variant(
                    settings,
                    model,
                    name=f"{source}-{year}-{number:02d}",
                    change=version(number),
                    delivered_at=datetime(year + 1, 2, 1, tzinfo=UTC) + timedelta(days=number),
                    is_archive=True,
                )
                dropped += 1
    return dropped


def hop(settings: Settings, run_id: str, *names: str) -> None:
    """Runs some hops of a refresh."""
    share_manifest(settings)
    assert refresh.plan(settings, run_id, CLOCK, silent)
    for name in names:
        getattr(refresh, name)(settings, run_id, CLOCK, silent)


def opened(settings: Settings, source: str) -> list[str]:
    """The deliveries whose files staging opens, as dbt compiled it."""
    folder = settings.dbt_target / "target" / "compiled" / "zicht" / "models" / "staging" / source
    text = "".join(path.read_text() for path in sorted(folder.glob("*.sql")))
    return [name for name in re.findall(r"delivery=([^/']+)/", text) if name != "none"]


def planned(settings: Settings, run_id: str) -> list[tuple[str, str]]:
    """The cube and period of every pair that a run has to compute."""
    cubes = read_json(settings.runs / run_id / "plan.json")["variables"]["plan"]["cubes"]
    return [(cube, pair["reference_period"]) for cube, pairs in cubes.items() for pair in pairs]


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation in which many archived deliveries were dropped at once."""
    settings = settings_at(tmp_path_factory.mktemp("flooded") / "home")
    assert drop_history(settings) == N_DELIVERIES
    return settings


def test_many_deliveries_at_once_lead_to_few_refreshes(flooded: Settings) -> None:
    """As Airflow does: every intake takes all of its source, and rings once when it has."""
    n_refreshes = 0
    for source in SOURCES:
        reports = take_in_all(flooded, CLOCK, [source])
        assert len(reports[source].accepted) == N_DELIVERIES / len(SOURCES), reports[source].refused
        while refresh.pending(flooded):
            n_refreshes += 1
            assert n_refreshes <= MOST_REFRESHES
            hop(flooded, f"flood-{n_refreshes}", *refresh.HOPS)
    records = read_ledger(flooded)
    assert len(records) == N_DELIVERIES
    assert all(record.known_at == record.delivered_at < NOW for record in records)
    # Of all versions the last one counts, and only that one was computed.
    assert n_refreshes == len(SOURCES)
    with duckdb.connect(str(flooded.warehouse), read_only=True) as connection:
        pairs = connection.execute(
            "select count(distinct (reference_period, vintage)) from cube_open_data__crime"
        ).fetchall()
    assert pairs == [(len(YEARS),)]
    inputs = read_json(flooded.runs / "flood-2" / "plan.json")["inputs"]
    assert {item["id"].rsplit("-", 1)[1] for item in inputs} == {f"{N_VERSIONS - 1:02d}"}


def test_one_more_delivery_costs_the_same_after_one_year_and_after_ten(
    flooded: Settings, settings: Settings
) -> None:
    drop_sample(settings, "cbs_crime", ["2022"])
    costs = []
    for installation in (settings, flooded):
        take_in_all(installation, CLOCK, ["cbs_crime"])
        if not installation.warehouse.exists():
            hop(installation, "history", "stage", "gate_2", "build")
    for installation in (settings, flooded):
        drop_sample(installation, "cbs_crime", ["2023"])
        take_in_all(installation, CLOCK, ["cbs_crime"])
        hop(installation, "trickle", "stage")
        costs.append((planned(installation, "trickle"), opened(installation, "cbs_crime")))
    assert costs[0] == costs[1]
    pairs, files = costs[0]
    assert pairs == [("cube_open_data__crime", "2023")]
    assert len(files) == 1
    assert files[0].startswith("cbs_crime-2023-provisional")
