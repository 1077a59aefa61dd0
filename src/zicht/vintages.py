"""Vintages: which rows follow from which deliveries, and which of them are still to be computed.

A vintage is the hash of all that a cube's rows for one reference period follow from: deliveries,
definition, contract versions, geography. Rows are keyed by (reference_period, vintage) and computed
once; ``as_of`` selects vintages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zicht.catalogue import Alignment, Catalogue, Cube, Input, Mart
from zicht.clock import format_moment
from zicht.contracts import Contract
from zicht.deliveries.ledger import Record, latest
from zicht.periods import Cadence, Period

_LENGTH = 16


@dataclass(frozen=True)
class Pair:
    """One (reference period, vintage) of a cube or mart.

    Attributes:
        model: the cube or mart.
        reference_period: what the rows describe.
        vintage: hash of ``inputs``.
        deliveries: the deliveries that the rows follow from, in order of source and id.
        cubes: for a mart, the vintage of each cube that it reads.
        inputs: what was hashed, readable.
    """

    model: str
    reference_period: Period
    vintage: str
    deliveries: tuple[Record, ...]
    cubes: Mapping[str, str]
    inputs: Mapping[str, Any]

    @property
    def known_at(self) -> datetime:
        """From when on all deliveries behind the rows were known."""
        return max(record.known_at for record in self.deliveries)

    @property
    def lag_days(self) -> int:
        """Largest lag, in days, of the deliveries behind the rows."""
        return max(record.lag_days for record in self.deliveries)


@dataclass(frozen=True)
class Plan:
    """What a refresh shows and what it has to compute for that.

    Attributes:
        as_of: the moment whose knowledge is shown; None for now.
        geo_year: geography year.
        cubes: the pairs that the marts rest on.
        missing: those of them that the warehouse does not hold yet.
        marts: the pairs that the marts show.
    """

    as_of: datetime | None
    geo_year: int
    cubes: tuple[Pair, ...]
    missing: tuple[Pair, ...]
    marts: tuple[Pair, ...]

    @property
    def digest(self) -> str:
        """sha256 over what the marts show: equal plans make equal marts."""
        return _hash([[p.model, str(p.reference_period), p.vintage] for p in self.marts], 64)

    def variables(self) -> dict[str, Any]:
        """The variables for dbt, see ``docs/reference/dbt-variables.md``."""
        cubes: dict[str, list[dict[str, Any]]] = {}
        for pair in self.missing:
            cubes.setdefault(pair.model, []).append(
                {
                    "reference_period": str(pair.reference_period),
                    "vintage": pair.vintage,
                    "deliveries": [
                        {
                            "source": r.source,
                            "id": r.id,
                            "status": r.observation_status.value,
                            "reference_period": str(r.reference_period),
                        }
                        for r in pair.deliveries
                    ],
                }
            )
        marts: dict[str, list[dict[str, Any]]] = {}
        for pair in self.marts:
            marts.setdefault(pair.model, []).append(
                {
                    "reference_period": str(pair.reference_period),
                    "vintage": pair.vintage,
                    "known_at": format_moment(pair.known_at),
                    "lag_days": pair.lag_days,
                    "cubes": dict(pair.cubes),
                }
            )
        return {"geo_year": self.geo_year, "plan": {"cubes": cubes, "marts": marts}}


def _hash(content: Any, length: int = _LENGTH) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def align(period: Period, alignment: Alignment, cadence: Cadence) -> Period:
    """The period of an input (with its cadence) that belongs to a period of the cube."""
    if alignment is Alignment.STOCK_1_JANUARY or cadence is Cadence.YEARLY:
        return Period(period.year, 1, Cadence.YEARLY)
    return period


def _deliveries(
    standing: Mapping[tuple[str, Period], Sequence[Record]],
    contracts: Mapping[str, Contract],
    inputs: Sequence[Input],
    period: Period,
) -> list[Record] | None:
    """All deliveries that the cube's rows for ``period`` rest on; None while an input lacks."""
    found: list[Record] = []
    for item in inputs:
        wanted = align(period, item.alignment, contracts[item.source].cadence)
        records = standing.get((item.source, wanted))
        if not records:
            return None
        found += records
    return sorted(found, key=lambda r: (r.source, r.id))


def _cube_pairs(
    cube: Cube,
    standing: Mapping[tuple[str, Period], Sequence[Record]],
    contracts: Mapping[str, Contract],
    geo_year: int,
) -> list[Pair]:
    lead = cube.inputs[0].source
    pairs = []
    for source, period in sorted(standing, key=lambda key: (key[0], key[1])):
        if source != lead:
            continue
        deliveries = _deliveries(standing, contracts, cube.inputs, period)
        if deliveries is None:
            continue
        inputs = {
            "cube": cube.name,
            "reference_period": str(period),
            "deliveries": [
                [r.source, r.id, r.observation_status.value, r.content_hash] for r in deliveries
            ],
            "definition": cube.definition,
            "contracts": sorted({f"{r.source} {r.contract_version}" for r in deliveries}),
            "geography": [cube.geography, geo_year],
        }
        pairs.append(Pair(cube.name, period, _hash(inputs), tuple(deliveries), {}, inputs))
    return pairs


def _mart_pairs(
    mart: Mart, by_cube: Mapping[tuple[str, Period], Pair], geo_year: int
) -> list[Pair]:
    periods = {period for name, period in by_cube if name in mart.cubes}
    pairs = []
    for period in sorted(periods):
        parts = [by_cube.get((name, period)) for name in mart.cubes]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            continue
        cubes = {pair.model: pair.vintage for pair in found}
        inputs = {
            "mart": mart.name,
            "reference_period": str(period),
            "cubes": cubes,
            "definition": mart.definition,
            "geography": [mart.geography, geo_year],
        }
        deliveries = {(r.source, r.id): r for pair in found for r in pair.deliveries}
        records = tuple(deliveries[key] for key in sorted(deliveries))
        pairs.append(Pair(mart.name, period, _hash(inputs), records, cubes, inputs))
    return pairs


def make_plan(
    catalogue: Catalogue,
    contracts: Mapping[str, Contract],
    records: Sequence[Record],
    *,
    now: datetime,
    as_of: datetime | None,
    geo_year: int,
    built: Mapping[str, Collection[tuple[str, str]]],
) -> Plan:
    """Works out what the marts show at ``as_of`` (or now) and what is not computed yet.

    Args:
        built: per cube the (reference_period, vintage) pairs that the warehouse holds.
    """
    standing: dict[tuple[str, Period], list[Record]] = {}
    for (source, period, _), record in latest(records, as_of or now).items():
        # A figure of a later division than the marts' cannot be recast backwards.
        if period.year <= geo_year and source in contracts:
            standing.setdefault((source, period), []).append(record)
    cubes = [
        pair
        for _, cube in sorted(catalogue.cubes.items())
        for pair in _cube_pairs(cube, standing, contracts, geo_year)
    ]
    by_cube = {(pair.model, pair.reference_period): pair for pair in cubes}
    marts = [
        pair
        for _, mart in sorted(catalogue.marts.items())
        for pair in _mart_pairs(mart, by_cube, geo_year)
    ]
    missing = [
        pair
        for pair in cubes
        if (str(pair.reference_period), pair.vintage) not in built.get(pair.model, ())
    ]
    return Plan(as_of, geo_year, tuple(cubes), tuple(missing), tuple(marts))
