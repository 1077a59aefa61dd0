"""The hop ``protect``: every mart through the wall, and a candidate from what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from zicht.catalogue import TOTAL, Catalogue, Mart
from zicht.contracts import load_contracts
from zicht.disclosure.policies import Kind, Policy, load_policies
from zicht.disclosure.protecting import HeldBackError, Released
from zicht.disclosure.wall import Output, Passed, pass_public, protect, require_public
from zicht.errors import ConfigurationError, GateError, ReleaseError
from zicht.files import read_json, write_json
from zicht.refresh.contents import table_hashes
from zicht.refresh.geography import successors
from zicht.refresh.run import Say, run_folder
from zicht.refresh.tables import (
    MartTable,
    PublishedBefore,
    Regions,
    breakdown_keys,
    mart_tables,
    published_before,
    read_regions,
    release_rows,
)
from zicht.releases.register import Entry, entries
from zicht.settings import Settings
from zicht.sql import literal, quoted

INTERNAL = "disclosure"
"""Folder of a run with what protection did and why; confidential."""
PROTECTION = "protection.json"

_CELLS = """
    indicator_id varchar, theme varchar, region_code varchar, region_level varchar,
    geo_year integer, breakdown varchar, reference_period varchar, vintage varchar, value double,
    is_provisional boolean, is_estimated boolean, is_missing boolean, known_at timestamptz,
    lag_days integer, is_suppressed boolean, explanation varchar
"""


def _figures(mart: Mart) -> str:
    """The cells of a public mart, as a query."""
    meta = mart.indicator
    return f"""
        select {literal(meta["id"])} as indicator_id, {literal(meta["theme"])} as theme,
            region_code, region_level, geo_year, {literal(TOTAL)} as breakdown,
            reference_period, vintage, value, is_provisional, is_estimated, is_missing,
            known_at, lag_days
        from w.main.{quoted(mart.name)}
    """


def _awaited(mart: Mart, awaited: Sequence[Mapping[str, Any]]) -> list[str]:
    """Queries for a missing cell per region and period that cannot be shown yet."""
    meta = mart.indicator
    pairs = {row["vintage"]: row for row in awaited if row["mart"] == mart.name}
    return [
        f"""
        select distinct {literal(meta["id"])} as indicator_id, {literal(meta["theme"])} as theme,
            region_code, region_level, geo_year, {literal(TOTAL)} as breakdown,
            {literal(row["reference_period"])} as reference_period,
            {literal(vintage)} as vintage, cast(null as double) as value,
            false as is_provisional, false as is_estimated, true as is_missing,
            cast({literal(row["known_at"])} as timestamptz) as known_at,
            cast({int(row["lag_days"])} as integer) as lag_days
        from w.main.{quoted(mart.name)}
        """
        for vintage, row in sorted(pairs.items())
    ]


def _policy_of(mart: Mart, policies: Mapping[str, Policy], kinds: Mapping[str, str]) -> Policy:
    """The policy of a mart, after seeing that its kind is what its sources say."""
    meta = mart.indicator
    rests_on = {*meta["sources"], *mart.sources}
    require_public(meta["id"], Kind(meta["kind"]), {s: kinds.get(s, "") for s in rests_on})
    if meta["policy"] not in policies:
        raise ConfigurationError(
            f"indicator {meta['id']} has an unknown policy {meta['policy']!r}.",
            code="Z-CFG-041",
            remedy=f"Choose one of: {', '.join(policies)}.",
        )
    return policies[meta["policy"]]


def _output(table: MartTable, moves: Sequence[tuple[str, str]]) -> Output:
    meta = table.mart.indicator
    return Output(
        name=table.name,
        kind=Kind(meta["kind"]),
        policy=table.policy,
        cells=table.cells,
        dimensions=table.axes,
        successors=moves,
        per=float(meta["factor"]),
        decimals=int(meta["decimals"]),
    )


def _published_cells(table: MartTable, before: PublishedBefore) -> pd.DataFrame:
    """The cells of an earlier table, with a column per dimension."""
    keys = [breakdown_keys(text, table.dimensions) for text in before.cells["breakdown"]]
    return before.cells.drop(columns="breakdown").assign(
        **{name: [key[name] for key in keys] for name in table.dimensions}
    )


def _through_the_wall(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    table: MartTable,
    regions: Regions,
    register: Sequence[Entry],
    folder: Path,
    say: Say,
) -> tuple[pd.DataFrame, str] | None:
    """The rows of a release for one table, and the digest of what they were made of.

    What is internal goes to the folder of the run. A table that policy holds back keeps the figures
    of the last release, or is left out when there are none: it stops no other one.
    """
    before = published_before(table, register)
    last = before[-1] if before else None
    if last and last.digest == table.digest():
        return release_rows(table, _published_cells(table, last), regions), last.digest
    years = [one.geo_year for one in before]
    output = _output(table, successors(connection, "w.main.dim_recast", years, settings.geo_year))
    past = before if table.is_additive else []
    tied = [Released.read(_published_cells(table, one), one.structure) for one in past]
    try:
        passed = protect(output, tied)
    except HeldBackError as error:
        (folder / INTERNAL).mkdir(parents=True, exist_ok=True)
        write_json(folder / INTERNAL / f"{table.name}.json", {"held": str(error)})
        if last is None:
            say(f"  held back {table.name}, it is left out: {error}")
            return None
        say(f"  held back {table.name}, the figures of {last.release_id} stay: {error}")
        held = replace(table, common=last.common, missing=())
        return release_rows(held, _published_cells(held, last), regions), last.digest
    _keep(connection, passed, folder / INTERNAL, table.name)
    say(f"  {table.name}: {int((passed.cells['obs_status'] == 'Q').sum())} cells hidden")
    return release_rows(table, passed.cells, regions), table.digest()


def _keep(connection: duckdb.DuckDBPyConnection, passed: Passed, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if len(passed.internal):
        target = literal(str(folder / f"{name}.parquet"))
        connection.register("internal", passed.internal)
        connection.execute(f"copy (select * from internal) to {target} (format parquet)")
        connection.unregister("internal")
    write_json(folder / f"{name}.json", dict(passed.report))


def protect_marts(
    settings: Settings,
    run_id: str,
    catalogue: Catalogue,
    awaited: Sequence[Mapping[str, Any]],
    target: Path,
    say: Say,
) -> None:
    """Sends every mart through the wall and writes what came out, in a fixed order.

    Raises:
        ConfigurationError: Z-CFG-041 if an indicator names a policy that is not there.
        DisclosureError: if an indicator cannot be protected under its policy.
    """
    folder = run_folder(settings, run_id)
    policies = load_policies(settings.policies)
    kinds = {name: c.kind for name, c in load_contracts(settings.contracts).items()}
    register = entries(settings)
    protection: dict[str, str] = {}
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(str(settings.warehouse))} as w (read_only)")
        connection.execute(f"create table protected ({_CELLS})")
        regions = read_regions(connection, "w.main.dim_regions", settings.geo_year)
        for _, mart in sorted(catalogue.marts.items()):
            policy = _policy_of(mart, policies, kinds)
            if mart.indicator["kind"] == Kind.PUBLIC:
                _pass(
                    connection,
                    policy,
                    " union all ".join([_figures(mart), *_awaited(mart, awaited)]),
                )
                continue
            relation = f"w.main.{quoted(mart.name)}"
            for table in mart_tables(connection, relation, mart, policy, regions):
                passed = _through_the_wall(
                    settings, connection, table, regions, register, folder, say
                )
                if passed is None:
                    continue
                rows, protection[table.name] = passed
                connection.register("passed", rows)
                connection.execute("insert into protected by name select * from passed")
                connection.unregister("passed")
            for query in _awaited(mart, awaited):
                connection.execute(
                    "insert into protected by name "
                    f"select *, false as is_suppressed, null as explanation from ({query})"
                )
        connection.execute(
            # Why a cell is hidden is internal, and no figure: it makes no other release.
            "copy (select * exclude (explanation) from protected "
            "order by indicator_id, region_code, breakdown, reference_period) "
            f"to {literal(str(target))} (format parquet, compression zstd)"
        )
    write_json(folder / PROTECTION, protection)


def _pass(connection: duckdb.DuckDBPyConnection, policy: Policy, query: str) -> None:
    connection.execute(f"create or replace temp view cells as {query}")
    pass_public(connection, policy, "cells", "protected")


def export_regions(settings: Settings, target: Path) -> None:
    """Writes the regions of the geography year, which are public, as Parquet."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set threads = 1")
        connection.execute(
            f"copy (select * from dim_regions where geo_year = {settings.geo_year} "
            f"order by region_code) to {literal(str(target))} (format parquet)"
        )


def require_as_checked(settings: Settings, run_id: str) -> None:
    """The marts must be those that gate 3 looked at.

    Raises:
        GateError: Z-GATE-005 if gate 3 kept no record of them.
        ReleaseError: Z-REL-007 naming the marts that changed.
    """
    record = run_folder(settings, run_id) / "marts.json"
    if not record.exists():
        raise GateError(
            f"run {run_id} has no marts that gate 3 has passed.",
            code="Z-GATE-005",
            remedy="Run the gates; a task that was marked as a success has not passed them.",
        )
    checked = read_json(record)
    found = table_hashes(settings.warehouse, checked)
    changed = sorted(name for name in checked if found[name] != checked[name])
    if changed:
        raise ReleaseError(
            f"{', '.join(changed)} changed after gate 3 looked at it.",
            code="Z-REL-007",
            remedy="Run the refresh again, and find out who wrote in warehouse.duckdb.",
        )
