"""From a mart to a table that the wall protects, and back to the rows of a release.

A table is one indicator in one reference period: regions of all levels by the categories of the
breakdown. The wall knows neither marts nor regions; this module puts one into the terms of the
other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import duckdb
import pandas as pd

from zicht.catalogue import TOTAL, Mart
from zicht.disclosure.policies import Kind, Policy
from zicht.disclosure.wall import COUNTED, PARTS, REST, SHARE, SPLIT
from zicht.releases.register import Entry
from zicht.sql import literal

COUNTRY = "NL01"
REGION = "region_code"
UNPUBLISHED = "*"
"""Ends the code of a region that is not published because a part of it was not delivered."""
_INNERMOST = "municipality"
_TOP = "country"


def breakdown_text(keys: Mapping[Any, str]) -> str:
    """``legal_form=stichting;n_directors=one`` of categories per dimension; totals left out."""
    parts = [f"{name}={code}" for name, code in keys.items() if code != TOTAL]
    return ";".join(parts) or TOTAL


def breakdown_keys(text: str, dimensions: Sequence[str]) -> dict[str, str]:
    """The category per dimension, from what :func:`breakdown_text` wrote."""
    named = dict(part.split("=", 1) for part in text.split(";")) if text != TOTAL else {}
    return {name: named.get(name, TOTAL) for name in dimensions}


def part_id(indicator: str, part: str) -> str:
    """What a table of counts behind a rate is called in the register."""
    return f"{indicator}.{part}"


def parts_of(mart: Mart) -> tuple[str, ...]:
    """The tables of counts behind a rate by itself; none of any other indicator."""
    if mart.indicator["kind"] != Kind.RATES or mart.of is not None:
        return ()
    return (SHARE,) if mart.is_share else PARTS


@dataclass(frozen=True)
class Regions:
    """The regions of a geography year.

    Attributes:
        geo_year: the year.
        frame: one row per region: ``region_code``, ``region_level``, and for municipalities
            ``<level>_code`` of the regions they lie in.
    """

    geo_year: int
    frame: pd.DataFrame

    @property
    def municipalities(self) -> pd.DataFrame:
        """The rows of municipalities, by code."""
        own = self.frame[self.frame["region_level"] == _INNERMOST]
        return own.set_index(REGION).sort_index()

    @property
    def level_of(self) -> dict[str, str]:
        """Level per code."""
        return dict(zip(self.frame[REGION], self.frame["region_level"], strict=True))


def read_regions(connection: duckdb.DuckDBPyConnection, relation: str, geo_year: int) -> Regions:
    """The regions of ``geo_year`` from a relation like ``dim_regions``."""
    frame = connection.execute(
        f"select * from {relation} where geo_year = {geo_year} order by region_code"
    ).df()
    return Regions(geo_year, frame)


@dataclass(frozen=True)
class MartTable:
    """One indicator in one reference period, before the wall.

    Attributes:
        mart: the mart.
        policy: its disclosure policy.
        reference_period: the period.
        cells: innermost cells: ``region_code``, the breakdown, ``<level>_code`` of the regions
            above, and the measures of the mart. Confidential.
        common: what is the same for all cells of the period: vintage, known_at, ….
        missing: municipalities that have a row without a value, or too little behind it.
        uncovered: those of them of which too little was delivered.
        levels: region levels above the municipality that the policy lets through.
    """

    mart: Mart
    policy: Policy
    reference_period: str
    cells: pd.DataFrame
    common: Mapping[str, Any]
    missing: tuple[str, ...]
    levels: tuple[str, ...]
    uncovered: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What messages and files call it: ``indicator@period``."""
        return f"{self.mart.indicator['id']}@{self.reference_period}"

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The breakdown."""
        return tuple(self.mart.breakdown)

    @property
    def axes(self) -> dict[str, dict[str, Any]]:
        """Its dimensions, as ``spec.yaml`` states them."""
        regions = {
            "hierarchies": [[REGION, *chain] for chain in self.chains] or [[REGION]],
            "total": self.top,
        }
        return {REGION: regions, **{name: {"total": TOTAL} for name in self.dimensions}}

    @property
    def is_additive(self) -> bool:
        """Whether its cells add up, so that earlier releases tie them."""
        return self.mart.indicator["kind"] in (Kind.COUNTS, Kind.MAGNITUDES)

    @property
    def top(self) -> str:
        """Code of the country; marked when it is not published."""
        return str(self.cells["country_code"].iloc[0])

    @property
    def chains(self) -> list[list[str]]:
        """The region levels as hierarchies: one above the other where every region lies in one."""
        chains: list[list[str]] = []
        for level in self.levels:
            column = f"{level}_code"
            for chain in chains:
                if self.cells.groupby(column)[chain[0]].nunique().max() == 1:
                    chain.insert(0, column)
                    break
            else:
                chains.append([column])
        return chains

    def part(self, name: str) -> MartTable:
        """A table behind a rate (:func:`parts_of`), as one of counts of its own."""
        own = self.mart.indicator
        meta = {**own, "id": part_id(own["id"], name), "kind": Kind.COUNTS.value}
        if name == SHARE:
            categories: dict[str, Any] = {COUNTED: {}, REST: {}}
            meta["breakdown"] = {**(own.get("breakdown") or {}), SPLIT: {"categories": categories}}
        return replace(self, mart=replace(self.mart, indicator=meta))

    def digest(self) -> str:
        """What the protected rows follow from, apart from earlier releases: inputs and policy."""
        content = {
            "vintage": self.common["vintage"],
            "policy": self.policy.to_parameters(),
            "protection": dict(self.policy.protection),
            "levels": self.levels,
            "breakdown": list(self.mart.breakdown),
            "regions": int(self.common["geo_year"]),
            "missing": self.missing,
        }
        if self.mart.is_share:
            # Protected with its complement; what was not is protected anew.
            content["parts"] = [SHARE]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


_COMMON = ("vintage", "geo_year", "known_at", "lag_days")


def mart_tables(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    mart: Mart,
    policy: Policy,
    regions: Regions,
    uncovered: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> list[MartTable]:
    """The tables of a mart that is not public, one per reference period.

    Args:
        uncovered: per reference period the municipalities of which a source behind the mart
            delivered too little: a figure of a part would pass for the whole.

    A region above the municipality is published only when every municipality in it has figures:
    the sum of a part would pass for the whole.
    """
    frame = connection.execute(f"select * from {relation}").df()
    order = ("province", "corop", "safety_region", "landsdeel")
    levels = tuple(level for level in order if level in policy.region_levels)
    tables = []
    for period, rows in frame.groupby("reference_period", sort=True):
        too_little = uncovered.get(str(period), frozenset())
        filled = rows[_is_there(mart, rows) & ~rows[REGION].isin(too_little)]
        missing = tuple(sorted(set(rows[REGION]) - set(filled[REGION])))
        if filled.empty:
            continue
        common = {key: rows[key].iloc[0] for key in _COMMON}
        common["is_provisional"] = bool(filled["is_provisional"].any())
        common["is_estimated"] = bool(filled["is_estimated"].any())
        cells = _with_parents(filled, levels, policy, regions)
        low = too_little & set(missing)
        tables.append(MartTable(mart, policy, str(period), cells, common, missing, levels, low))
    return tables


def _is_there(mart: Mart, rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row has what its kind adds up; a rate of no units still adds to those above."""
    if mart.indicator["kind"] == Kind.RATES:
        return rows["numerator"].notna() & rows["denominator"].notna()
    return ~rows["is_missing"].astype(bool)


def _with_parents(
    cells: pd.DataFrame, levels: Sequence[str], policy: Policy, regions: Regions
) -> pd.DataFrame:
    """The cells with the code of each region above, marked where that is not published."""
    municipalities = regions.municipalities.assign(country_code=COUNTRY)
    there = set(cells[REGION])
    cells = cells.copy()
    for level in (*levels, _TOP):
        codes = municipalities[f"{level}_code"]
        lacking = set(codes[[code not in there for code in codes.index]])
        if level not in policy.region_levels:
            lacking = set(codes)
        marked = {code: f"{code}{UNPUBLISHED}" if code in lacking else code for code in set(codes)}
        cells[f"{level}_code"] = cells[REGION].map(codes).map(marked)
    return cells.reset_index(drop=True)


def release_rows(table: MartTable, protected: pd.DataFrame, regions: Regions) -> pd.DataFrame:
    """The rows of a release from a protected table.

    Args:
        protected: ``region_code``, the breakdown, ``value``, ``obs_status``, ``explanation``.
    """
    shown = protected[~protected[REGION].str.endswith(UNPUBLISHED)]
    level_of = regions.level_of
    keys = shown[list(table.dimensions)].to_dict("records") if table.dimensions else []
    rows = pd.DataFrame(
        {
            REGION: shown[REGION].to_numpy(),
            "breakdown": [breakdown_text(key) for key in keys] or TOTAL,
            "value": pd.to_numeric(shown["value"], errors="coerce").to_numpy(dtype=float),
            "is_suppressed": (shown["obs_status"] == "Q").to_numpy(),
            "explanation": shown["explanation"].to_numpy() if "explanation" in shown else None,
            "is_missing": False,
            "is_uncovered": False,
        }
    )
    lacking = pd.DataFrame(
        {
            REGION: list(table.missing),
            "breakdown": TOTAL,
            "value": float("nan"),
            "is_suppressed": False,
            "explanation": None,
            "is_missing": True,
            "is_uncovered": [region in table.uncovered for region in table.missing],
        }
    )
    rows = pd.concat([rows, lacking]) if len(lacking) else rows
    meta = table.mart.indicator
    return rows.assign(
        indicator_id=meta["id"],
        theme=meta["theme"],
        region_level=rows[REGION].map(level_of),
        reference_period=table.reference_period,
        **table.common,
    )


@dataclass(frozen=True)
class PublishedBefore:
    """One table as an earlier release published it.

    Attributes:
        release_id: the release.
        geo_year: its geography year.
        digest: of the :class:`MartTable` that it was made from.
        cells: ``region_code``, ``breakdown``, ``value``, ``obs_status``, ``conf_status``.
        common: what was the same for all its cells: vintage, known_at, ….
        structure: which region lies in which, as the sidecar of ``zicht protect``.
    """

    release_id: str
    geo_year: int
    digest: str
    cells: pd.DataFrame
    common: Mapping[str, Any]
    structure: pd.DataFrame


def published_before(table: MartTable, entries: Sequence[Entry]) -> list[PublishedBefore]:
    """What earlier releases said of the same indicator and period, oldest first.

    An entry that says the same as the one before it adds nothing and is left out.
    """
    found: list[PublishedBefore] = []
    for entry in entries:
        one = _read_published(table, entry) or _laid_together(table, entry)
        if one is None:
            continue
        if found and one.cells.equals(found[-1].cells):
            found.pop()
        found.append(one)
    return found


def _laid_together(table: MartTable, entry: Entry) -> PublishedBefore | None:
    """What an entry says of a share that was protected as two tables, without its complement.

    The rest is in neither of them. It counts as hidden; where both are shown it was given away.
    """
    if SPLIT not in table.dimensions:
        return None
    meta = table.mart.indicator
    rate = meta["id"].removesuffix(part_id("", SHARE))
    counted, whole = (
        _read_published(
            replace(table, mart=replace(table.mart, indicator={**meta, "id": part_id(rate, part)})),
            entry,
        )
        for part in PARTS
    )
    if counted is None or whole is None:
        return None

    def of(category: str) -> list[str]:
        keys = (breakdown_keys(text, table.dimensions) for text in counted.cells["breakdown"])
        return [breakdown_text({**key, SPLIT: category}) for key in keys]

    rest = counted.cells.assign(
        breakdown=of(REST), value=float("nan"), obs_status="Q", conf_status="C"
    )
    cells = pd.concat([whole.cells, counted.cells.assign(breakdown=of(COUNTED)), rest])
    return replace(counted, cells=cells.reset_index(drop=True))


def _read_published(table: MartTable, entry: Entry) -> PublishedBefore | None:
    if table.name not in entry.protection:
        return None
    with duckdb.connect(str(entry.database), read_only=True) as connection:
        return _published_in(connection, table, entry)


def _published_in(
    connection: duckdb.DuckDBPyConnection, table: MartTable, entry: Entry
) -> PublishedBefore:
    where = (
        f"indicator_id = {literal(table.mart.indicator['id'])} "
        f"and reference_period = {literal(table.reference_period)} "
        "and obs_status not in ('O', 'M')"
    )
    cells = connection.execute(
        "select region_code, breakdown, value, obs_status, conf_status from observations "
        f"where {where} order by all"
    ).df()
    common = connection.execute(
        "select min(vintage) as vintage, min(geo_year) as geo_year, min(known_at) as known_at, "
        "min(lag_days) as lag_days, bool_or(contains(obs_flags, 'provisional')) as is_provisional, "
        f"bool_or(contains(obs_flags, 'estimated')) as is_estimated from observations where {where}"
    ).df()
    regions = read_regions(connection, "regions", entry.geo_year)
    return PublishedBefore(
        entry.release_id,
        entry.geo_year,
        entry.protection[table.name],
        cells,
        {name: common[name].iloc[0] for name in common.columns},
        _structure(regions, set(cells[REGION]), table.chains),
    )


def _structure(regions: Regions, there: set[str], chains: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The sidecar of a published table: which of its regions lies in which."""
    own = regions.municipalities.reset_index()
    own = own[own[REGION].isin(there)]
    steps = []
    for chain in chains:
        for level, parent_level in zip([REGION, *chain], chain, strict=False):
            pairs = own[[level, parent_level]].drop_duplicates()
            steps += [
                (REGION, level, code, parent_level, parent)
                for code, parent in pairs.itertuples(index=False)
            ]
    columns = ["dimension", "level", "code", "parent_level", "parent"]
    return pd.DataFrame(sorted(set(steps)), columns=columns)
