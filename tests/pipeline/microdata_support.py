"""For the tests of figures from microdata: synthetic deliveries as they lie in ``raw/``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dbt_support
import duckdb

from support import PROJECT, settings_at, silent, take_in_all
from zicht.agreements import load_agreements
from zicht.catalogue import Catalogue, read_catalogue
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.deliveries.ledger import Record, read_ledger
from zicht.deliveries.package import ObservationStatus
from zicht.periods import Period
from zicht.synthetic import Wanted, load_geography, plan_deliveries, scope_of, synthesise
from zicht.transform import read_manifest
from zicht.vintages import Plan, make_plan

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
SEED = 21
"""With it, every quarter has a cleared site."""
KEY = "ZICHT_KEY_ZICHT_OP_ONDERMIJNING"


def quarters(first: str, n: int) -> list[Period]:
    """``n`` quarters from the first one on."""
    found = [Period.parse(first)]
    while len(found) < n:
        found.append(found[-1].next())
    return found


DELIVERED = {
    "bag_woz": [Period.parse("2023")],
    "brp": [Period.parse("2023")],
    "cannabis_sites": quarters("2023-Q1", 4),
    "duo": [Period.parse("2023")],
    "kadaster": quarters("2022-Q1", 8),
    "nhr": quarters("2023-Q3", 2),
    "om_cases": quarters("2023-Q1", 4),
    "police_suspects": quarters("2021-Q4", 9),
    "rdw": [Period.parse("2023-Q4")],
    "tax_income": [Period.parse("2023")],
    "tax_wealth": [Period.parse("2023")],
    "uwv_svb": [Period.parse("2023-12")],
}
"""What every indicator on 2023 rests on."""


@dataclass(frozen=True)
class Themes:
    """An installation whose cubes and marts were planned by the planner and built by real dbt.

    Attributes:
        home: ``$ZICHT_HOME``.
        landing: the providers' own files: ``<source>/<delivery id>/<table>.<format>``.
        plan: what was computed and shown.
        catalogue: of the project.
        output: what dbt said.
    """

    home: Path
    landing: Path
    plan: Plan
    catalogue: Catalogue
    output: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of the warehouse."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as warehouse:
            return warehouse.execute(sql).fetchall()


def accept(home: Path, folder: Path, contract: Contract, wanted: Wanted) -> Record:
    """Puts a delivery into ``raw/``, typed as the contract says; intake has tests of its own."""
    target = (
        home / "raw" / wanted.source / f"reference_period={wanted.period}" / f"delivery={wanted.id}"
    )
    target.mkdir(parents=True)
    with duckdb.connect() as engine:
        for table in contract.tables:
            typed = ", ".join(
                f"strptime({c.name}, '{c.date_format}')::date as {c.name}"
                if c.date_format
                else f"cast({c.name} as {c.stored_type}) as {c.name}"
                for c in table.columns
            )
            path = next(folder.glob(f"{table.name}.*"))
            reader = (
                f"read_parquet('{path}')"
                if path.suffix == ".parquet"
                else f"read_csv('{path}', delim = ';', all_varchar = true)"
            )
            engine.execute(
                f"copy (select {typed} from {reader}) to '{target}/{table.name}.parquet'"
            )
    return Record(
        wanted.id,
        wanted.source,
        wanted.period,
        wanted.status,
        wanted.delivered_at,
        wanted.delivered_at,
        False,
        None,
        f"hash of {wanted.id}",
        contract.version,
        {},
    )


def build_themes(home: Path, regions: Sequence[str], seed: int = SEED) -> Themes:
    """Makes deliveries of every source, and every cube and mart that rests on them."""
    settings = settings_at(home)
    contracts = load_contracts(settings.contracts)
    for contract in contracts.values():
        ensure_source(settings, contract)
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), seed, regions)
    wanted = [
        one
        for source, periods in DELIVERED.items()
        for one in plan_deliveries(contracts, [source], periods, NOW)
    ]
    synthesise(settings.landing, contracts, scope, wanted, silent)
    landing = home / "delivered"
    shutil.copytree(settings.landing, landing)
    with patch.dict(os.environ, {KEY: "a key of thirty-two letters or so"}):
        reports = take_in_all(settings, lambda: NOW, list(DELIVERED))
    assert not any(report.refused for report in reports.values()), reports
    records = read_ledger(settings)
    sources = [dbt_support.MEASURES]
    for delivery in dbt_support.write_raw(home, dbt_support.SAMPLES, ["2023"], sources):
        period, status = Period.parse(delivery.period), ObservationStatus(delivery.status)
        version = contracts[delivery.source].version
        digest = f"hash of {delivery.id}"
        record = Record(
            delivery.id, delivery.source, period, status, NOW, NOW, False, None, digest, version, {}
        )
        records.append(record)
    catalogue = read_catalogue(read_manifest(settings, silent))
    plan = make_plan(
        catalogue,
        contracts,
        records,
        now=NOW,
        as_of=None,
        geo_year=2025,
        built={},
        agreements=load_agreements(settings.agreements),
    )
    run = dbt_support.dbt(
        home,
        "build",
        *("--exclude-resource-type", "unit_test"),
        plan=plan.variables()["plan"],
    )
    assert run.returncode == 0, run.output
    return Themes(home, landing, plan, catalogue, run.output)
