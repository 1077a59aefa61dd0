"""The hop ``protect``: every mart through the wall, and a candidate from what came out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from zicht.refresh.coverage import coverage_rows, low_coverage, write_coverage
from zicht.refresh.geography import successors
from zicht.refresh.modelling import fit_mart, table_of, write_modelled
from zicht.refresh.run import Say, run_folder
from zicht.refresh.tables import (
    MartTable,
    PublishedBefore,
    Regions,
    breakdown_keys,
    breakdown_text,
    mart_tables,
    part_id,
    parts_of,
    published_before,
    read_regions,
    release_rows,
)
from zicht.releases.register import Entry, entries
from zicht.settings import Settings
from zicht.sql import literal, quoted
from zicht.transform import relations

INTERNAL = "disclosure"
"""Folder of a run with what protection did and why; confidential."""
PROTECTION = "protection.json"
RATE_PARTS = "rate_parts.duckdb"
"""File of a run with the tables of counts behind its rates, as they might be shown."""

_CELLS = """
    indicator_id varchar, theme varchar, region_code varchar, region_level varchar,
    geo_year integer, breakdown varchar, reference_period varchar, vintage varchar, value double,
    is_provisional boolean, is_estimated boolean, is_missing boolean, known_at timestamptz,
    lag_days integer, is_suppressed boolean, explanation varchar,
    is_uncovered boolean default false
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
        is_share=table.mart.is_share,
    )


def _published_cells(table: MartTable, before: PublishedBefore) -> pd.DataFrame:
    """The cells of an earlier table, with a column per dimension."""
    keys = [breakdown_keys(text, table.dimensions) for text in before.cells["breakdown"]]
    return before.cells.drop(columns="breakdown").assign(
        **{name: [key[name] for key in keys] for name in table.dimensions}
    )


def _released(
    hop: _Hop, table: MartTable, before: Sequence[PublishedBefore]
) -> Sequence[Released] | Mapping[str, Sequence[Released]]:
    """What was ever published of a table, in the form of the wall."""

    def read(own: MartTable, past: Sequence[PublishedBefore]) -> list[Released]:
        return [Released.read(_published_cells(own, one), one.structure) for one in past]

    if table.is_additive:
        return read(table, before)
    parts = {part: table.part(part) for part in parts_of(table.mart)}
    return {part: read(own, published_before(own, hop.register)) for part, own in parts.items()}


def _keep_part(hop: _Hop, part: MartTable, cells: pd.DataFrame) -> None:
    """Keeps what a part of a rate might have shown, for the attacker and for later releases."""
    rows = release_rows(replace(part, missing=()), cells, hop.regions)
    hop.connection.register("part", rows)
    hop.connection.execute("insert into parts by name select * exclude (explanation) from part")
    hop.connection.unregister("part")
    hop.protection[part.name] = part.digest()


def _keep_parts_again(hop: _Hop, table: MartTable) -> None:
    for part in (table.part(name) for name in parts_of(table.mart)):
        for last in published_before(part, hop.register)[-1:]:
            _keep_part(hop, part, _published_cells(part, last))


def _write_parts(hop: _Hop, target: Path) -> None:
    """The parts of the rates in the form of a release: what the attacker reads."""
    target.unlink(missing_ok=True)
    hop.connection.execute(f"attach {literal(str(target))} as kept")
    rows = [
        (part_id(indicator, part), Kind.COUNTS.value, hop.policies[mart.name].id)
        for indicator, mart in sorted(hop.marts.items())
        for part in parts_of(mart)
    ]
    hop.connection.execute(
        "create table kept.indicators (indicator_id varchar, kind varchar, policy varchar)"
    )
    if rows:
        hop.connection.executemany("insert into kept.indicators values (?, ?, ?)", rows)
    hop.connection.execute(
        "delete from kept.indicators where indicator_id not in (select indicator_id from parts)"
    )
    flags = "case when is_provisional then 'provisional' else '' end"
    hop.connection.execute(
        "create table kept.observations as select indicator_id, theme, region_code, region_level, "
        "geo_year, breakdown, reference_period, case when not is_suppressed then value end as "
        "value, case when is_suppressed then 'Q' else 'A' end as obs_status, "
        f"{flags} as obs_flags, case when is_suppressed then 'C' else 'F' end as conf_status, "
        "known_at, vintage, lag_days, '' as release_id from parts order by all"
    )
    hop.connection.execute(
        "create table kept.regions as select * from w.main.dim_regions "
        f"where geo_year = {hop.settings.geo_year} order by region_code"
    )
    hop.connection.execute("detach kept")


def _through_the_wall(hop: _Hop, table: MartTable) -> tuple[pd.DataFrame, str] | None:
    """The rows of a release for one table, and the digest of what they were made of.

    What is internal goes to the folder of the run. A table that policy holds back keeps the figures
    of the last release, or is left out when there are none: it stops no other one.
    """
    before = published_before(table, hop.register)
    last = before[-1] if before else None
    regions = hop.regions
    if last and last.digest == table.digest():
        _keep_parts_again(hop, table)
        return release_rows(table, _published_cells(table, last), regions), last.digest
    years = [one.geo_year for one in before]
    moves = successors(hop.connection, "w.main.dim_recast", years, hop.settings.geo_year)
    internal = hop.folder / INTERNAL
    internal.mkdir(parents=True, exist_ok=True)
    try:
        passed = protect(_output(table, moves), _released(hop, table, before))
    except HeldBackError as error:
        write_json(internal / f"{table.name}.json", {"held": str(error)})
        if last is None:
            hop.say(f"  held back {table.name}, it is left out: {error}")
            return None
        hop.say(f"  held back {table.name}, the figures of {last.release_id} stay: {error}")
        held = replace(table, common=last.common, missing=())
        _keep_parts_again(hop, held)
        return release_rows(held, _published_cells(held, last), regions), last.digest
    _keep(hop.connection, passed, internal, table.name)
    for part, cells in passed.parts.items():
        _keep_part(hop, table.part(part), cells)
    hop.say(f"  {table.name}: {int((passed.cells['obs_status'] == 'Q').sum())} cells hidden")
    return release_rows(table, passed.cells, regions), table.digest()


def _keep(connection: duckdb.DuckDBPyConnection, passed: Passed, folder: Path, name: str) -> None:
    if len(passed.internal):
        target = literal(str(folder / f"{name}.parquet"))
        connection.register("internal", passed.internal)
        connection.execute(f"copy (select * from internal) to {target} (format parquet)")
        connection.unregister("internal")
    write_json(folder / f"{name}.json", dict(passed.report))


def _order(mart: Mart) -> tuple[int, str]:
    """Rates of published cells and models come after the counts that they rest on."""
    is_modelled = mart.indicator["kind"] == Kind.MODELLED
    rests = mart.of is not None or mart.shown_with is not None
    return (2 if is_modelled else int(rests), mart.name)


def _cell_text(mart: Mart, cell: Mapping[str, str]) -> str:
    return breakdown_text({dimension: cell.get(dimension, TOTAL) for dimension in mart.breakdown})


def _of_published(mart: Mart, whole: Mart, policy: Policy) -> str:
    """Rates of cells that are published already, as a query: shown where both cells are.

    What the policy asks of a denominator is asked of the least that the published one can be. Where
    counts are rounded a nought is none to divide: it would pass for none at all.
    """
    meta, part = mart.indicator, mart.of
    assert part is not None
    half = (policy.rounding_base or 0) / 2
    least = float(policy.protection.get("minimum_denominator", 0)) + half
    hidden = "lower_part.is_suppressed or upper_part.is_suppressed"
    hidden += f" or coalesce(lower_part.value between 0.5 and {least - 0.5}, false)"
    if policy.rounding_base:
        hidden += " or coalesce(upper_part.value = 0 and lower_part.value > 0, false)"

    rows = f"(select * from protected where indicator_id = {literal(part.indicator)})"
    own = f"{literal(meta['id'])} as indicator_id, {literal(meta['theme'])} as theme"
    return f"""
        select {own}, lower_part.* exclude (indicator_id, theme, breakdown, value, is_suppressed,
            is_missing, explanation), {literal(TOTAL)} as breakdown,
            case when not ({hidden}) then
                round({float(meta["factor"])} * upper_part.value / nullif(lower_part.value, 0),
                    {int(meta["decimals"])}) end as value,
            {hidden} as is_suppressed,
            coalesce(lower_part.value = 0, false) as is_missing, null as explanation
        from {rows} as lower_part
        inner join {rows} as upper_part using (region_code, reference_period)
        where not lower_part.is_missing
            and lower_part.breakdown = {literal(_cell_text(whole, part.denominator))}
            and upper_part.breakdown = {literal(_cell_text(whole, part.numerator))}
        union all by name
        select {own}, missing.* exclude (indicator_id, theme)
        from {rows} as missing
        where missing.is_missing
    """


@dataclass(frozen=True)
class _Hop:
    """What every mart of the hop needs.

    Attributes:
        connection: has the warehouse as ``w``, and the table ``protected``.
        marts: the indicator marts by the id of the indicator.
        policies: per mart its policy.
        rests_on: per mart and period the source and period of the deliveries behind it.
        low: source, period and municipality of which too little was delivered.
        protection: per table the digest of what it was made of; grows.
    """

    settings: Settings
    connection: duckdb.DuckDBPyConnection
    marts: Mapping[str, Mart]
    policies: Mapping[str, Policy]
    regions: Regions
    register: Sequence[Entry]
    folder: Path
    say: Say
    rests_on: Mapping[str, Mapping[str, Sequence[Sequence[str]]]]
    low: Collection[tuple[str, str, str]]
    protection: dict[str, str] = field(default_factory=dict)

    def insert(self, query: str) -> None:
        """Adds rows that may be published."""
        self.connection.execute(f"insert into protected by name {query}")

    def uncovered(self, mart: Mart) -> dict[str, frozenset[str]]:
        """Per period the municipalities of which a source behind the mart delivered too little."""
        return {
            period: frozenset(region for source, of, region in self.low if [source, of] in behind)
            for period, behind in self.rests_on.get(mart.name, {}).items()
        }

    def shown(self, indicator: str) -> dict[tuple[str, str], float]:
        """The published totals of a counts indicator, by period and municipality."""
        rows = self.connection.execute(
            "select reference_period, region_code, value from protected where indicator_id = ? "
            "and breakdown = ? and region_level = 'municipality' and not is_suppressed "
            "and not is_missing",
            [indicator, TOTAL],
        ).fetchall()
        return {(str(period), str(region)): float(value) for period, region, value in rows}


def _hide_beside(hop: _Hop, mart: Mart) -> None:
    """Hides a rate where the published cell with the units of its denominator is not shown."""
    beside = mart.shown_with
    assert beside is not None
    own = mart.indicator["id"]
    cell = literal(_cell_text(hop.marts[beside.indicator], beside.cell))
    shown = (
        f"select region_code, reference_period from protected where indicator_id = "
        f"{literal(beside.indicator)} and breakdown = {cell} and not is_suppressed "
        "and not is_missing"
    )
    behind = [part_id(own, part) for part in parts_of(mart)]
    for table in ("protected", "parts"):
        ids = ", ".join(map(literal, [own, *behind]))
        hop.connection.execute(
            f"update {table} set is_suppressed = true, value = null where indicator_id in ({ids}) "
            f"and not is_missing and (region_code, reference_period) not in ({shown})"
        )


def _pass_mart(hop: _Hop, mart: Mart, awaited: Sequence[Mapping[str, Any]]) -> list[pd.DataFrame]:
    """One mart through the wall: into ``protected``, or as frames when it is modelled."""
    policy = hop.policies[mart.name]
    relation = f"w.main.{quoted(mart.name)}"
    if mart.indicator["kind"] == Kind.PUBLIC:
        query = " union all ".join([_figures(mart), *_awaited(mart, awaited)])
        hop.connection.execute(f"create or replace temp view cells as {query}")
        pass_public(hop.connection, policy, "cells", "protected")
        return []
    if mart.indicator["kind"] == Kind.MODELLED:
        return [fit_mart(hop.connection, relation, mart, policy, hop.shown, hop.regions)]
    if mart.of is not None:
        # What the counts await, their rates await: it is among the missing rows of the counts.
        hop.insert(_of_published(mart, hop.marts[mart.of.indicator], policy))
        return []
    low = hop.uncovered(mart)
    for table in mart_tables(hop.connection, relation, mart, policy, hop.regions, low):
        passed = _through_the_wall(hop, table)
        if passed is None:
            continue
        rows, hop.protection[table.name] = passed
        hop.connection.register("passed", rows)
        hop.insert("select * from passed")
        hop.connection.unregister("passed")
    if mart.shown_with is not None:
        _hide_beside(hop, mart)
    for query in _awaited(mart, awaited):
        hop.insert(
            f"select *, false as is_suppressed, null as explanation, false as is_uncovered "
            f"from ({query})"
        )
    return []


def protect_marts(
    settings: Settings,
    run_id: str,
    catalogue: Catalogue,
    state: Mapping[str, Any],
    target: Path,
    say: Say,
) -> dict[str, Path]:
    """Sends every mart through the wall and writes what came out, in a fixed order.

    Args:
        state: what was planned: what figures rest on, and what they await.
        target: Parquet file for the observations; what is no observation goes beside it.

    Returns:
        Per other table that is made here (``coverage``, and those of modelled output) the file
        with its rows.

    Raises:
        ConfigurationError: Z-CFG-041 if an indicator names a policy that is not there, Z-CFG-048
            if a modelled one names no method that there is.
        DisclosureError: if an indicator cannot be protected under its policy.
    """
    folder = run_folder(settings, run_id)
    policies = load_policies(settings.policies)
    kinds = {name: c.kind for name, c in load_contracts(settings.contracts).items()}
    built = set(relations(settings.warehouse))
    marts = sorted((m for m in catalogue.indicators.values() if m.name in built), key=_order)
    modelled: dict[str, list[pd.DataFrame]] = {}
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(str(settings.warehouse))} as w (read_only)")
        connection.execute(f"create table protected ({_CELLS})")
        connection.execute("create table parts as select * exclude (explanation) from protected")
        regions = read_regions(connection, "w.main.dim_regions", settings.geo_year)
        coverage = coverage_rows(connection, catalogue, policies, regions, say, "w.main")
        hop = _Hop(
            settings,
            connection,
            {mart.indicator["id"]: mart for mart in marts},
            {mart.name: _policy_of(mart, policies, kinds) for mart in marts},
            regions,
            entries(settings),
            folder,
            say,
            state["rests_on"],
            low_coverage(coverage),
        )
        for mart in marts:
            frames = _pass_mart(hop, mart, state["awaited"])
            if frames:
                modelled.setdefault(table_of(mart), []).extend(frames)
        connection.execute(
            # Why a cell is hidden is internal, and no figure: it makes no other release.
            "copy (select * exclude (explanation) from protected "
            "order by indicator_id, region_code, breakdown, reference_period) "
            f"to {literal(str(target))} (format parquet, compression zstd)"
        )
        files = write_modelled(connection, modelled, target.parent)
        files["coverage"] = target.parent / "coverage.parquet"
        write_coverage(connection, coverage, files["coverage"])
        _write_parts(hop, folder / RATE_PARTS)
    write_json(folder / PROTECTION, hop.protection)
    return files


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
