"""All themes on synthetic deliveries, three refreshes in a row through the DAGs, each attacked.

``python bench/themes.py PV29`` takes a province; ``python bench/themes.py`` the whole country (18
million persons; tens of gigabytes of disk). Every round drops what came since the one before, with
revisions of earlier quarters, runs the DAGs of intake and refresh, and says how long they took,
what was published and whether the attacker found anything in it, beside the rounds before.
``ZICHT_BENCH_ROUNDS`` (3) says how many rounds; ``ZICHT_BENCH_HOME`` keeps the installation there.
With ``ZICHT_BENCH_LEAN=1`` one round of the newest moment and of large registers one delivery each:
what looks back further (purchases, dwellings passed on, feature profiles) has to wait.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from zicht.contracts import Contract, load_contracts
from zicht.demo import KEY, known_year, periods_for
from zicht.releases.store import CURRENT, current_release
from zicht.settings import GEO_YEAR, Settings
from zicht.synthetic import Options, Wanted, load_geography, make, plan_deliveries, scope_of

PROJECT = Path(__file__).resolve().parents[1]
SEED = 7
MOMENTS = (
    datetime(2025, 8, 25, 9, tzinfo=UTC),
    datetime(2025, 11, 25, 9, tzinfo=UTC),
    datetime(2026, 2, 25, 9, tzinfo=UTC),
)
SMALL = ("cannabis_sites", "om_cases", "police_suspects")
"""Registers of which a lean run has all quarters as well."""
REVISED = ("kadaster", "nhr", "om_cases", "police_suspects", "tax_income")


def come_by(contracts: Mapping[str, Contract], moment: datetime) -> list[Wanted]:
    """What has been delivered at a moment; the last quarter but one of some is revised by then."""
    registers = {s: c for s, c in contracts.items() if c.needs_agreement}
    years = (known_year(registers.values(), moment), GEO_YEAR)
    lean = bool(os.environ.get("ZICHT_BENCH_LEAN"))
    options = Options(revised=() if lean else REVISED)
    found: list[Wanted] = []
    for source, contract in registers.items():
        periods = periods_for(contract, years, moment)
        if lean:
            periods = [period for period in periods if period.end.year <= years[0]]
            periods = periods if source in SMALL else periods[-1:]
        found += plan_deliveries(contracts, [source], periods, moment, options)
    return found


def published(settings: Settings) -> tuple[int, int, int, float]:
    """Indicators with figures, figures, signals, and the share of hidden figures in per cent."""
    database = settings.releases / CURRENT / "marts.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        row = connection.execute(
            "select (select count(distinct indicator_id) from observations where value is not null)"
            " + (select count(distinct indicator_id) from feature_profiles where lift is not null)"
            " + (select count(distinct indicator_id) from signals where expected is not null), "
            "count(*), (select count_if(is_signal) from signals), "
            "100.0 * count_if(obs_status = 'Q') / count(*) from observations"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2] or 0), float(row[3])


def attacked(settings: Settings) -> dict[str, int]:
    """What the attacker found in the newest release, by severity."""
    newest = max(settings.runs.glob("*/attack.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, int] = {}
    for one in json.loads(newest.read_text(encoding="utf-8"))["attacks"]:
        for finding in one["findings"]:
            found[finding["severity"]] = found.get(finding["severity"], 0) + 1
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the rounds."""
    from zicht.orchestration.local import run_dag_here

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regions", nargs="*", help="codes such as PV29; the country when omitted")
    regions = parser.parse_args(arguments).regions
    home = Path(os.environ.get("ZICHT_BENCH_HOME") or tempfile.mkdtemp(prefix="zicht-themes-"))
    settings = Settings(home=home, project=PROJECT, geo_year=GEO_YEAR)
    contracts = load_contracts(settings.contracts)
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), SEED, regions)
    os.environ[KEY] = secrets.token_urlsafe(48)
    dropped: set[str] = set()
    rounds = int(os.environ.get("ZICHT_BENCH_ROUNDS", "3"))
    moments = MOMENTS[-1:] if os.environ.get("ZICHT_BENCH_LEAN") else MOMENTS[:rounds]
    for number, moment in enumerate(moments, 1):
        os.environ["ZICHT_CLOCK"] = moment.isoformat().replace("+00:00", "Z")
        wanted = [one for one in come_by(contracts, moment) if one.id not in dropped]
        dropped |= {one.id for one in wanted}
        started = time.monotonic()
        made = list(make(settings.landing, contracts, scope, wanted, lambda _: None))
        n_rows = sum(sum(one.rows.values()) for one in made)
        seconds = time.monotonic() - started
        print(f"round {number}: {len(made)} deliveries, {n_rows:,} rows, made in {seconds:.0f} s")
        for name, dags in (
            ("intake", [f"intake_{source}" for source in contracts]),
            ("refresh", ["refresh"]),
        ):
            started = time.monotonic()
            for dag in dags:
                run_dag_here(settings, dag, say=lambda line: print(f"    {line}", flush=True))
            print(f"  {name} took {time.monotonic() - started:.0f} s", flush=True)
        release = current_release(settings)
        assert release is not None
        n_indicators, n_figures, n_signals, hidden = published(settings)
        print(
            f"  {release['release_id']}: {n_indicators} indicators, {n_figures:,} figures, "
            f"{hidden:.1f}% hidden, {n_signals} signals; attack: {attacked(settings) or 'nothing'}"
        )


if __name__ == "__main__":
    main()
