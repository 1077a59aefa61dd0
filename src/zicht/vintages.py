"""Vintages: which rows follow from which deliveries, and which of them are still to be computed.

A vintage is the hash of all that a cube's rows for one reference period follow from: deliveries,
definition, contract versions, geography. Rows are keyed by (reference_period, vintage) and computed
once; ``as_of`` selects vintages. What a mart needs and was not delivered yet is *awaited*; what may
not be processed for want of an agreement is *withheld*.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from zicht.agreements import Agreement, agreement_for, covers
from zicht.catalogue import Alignment, Catalogue, Cube, Input, Mart, source_of
from zicht.clock import format_moment
from zicht.contracts import Contract
from zicht.deliveries.ledger import Record, latest
from zicht.errors import ConfigurationError
from zicht.periods import Cadence, Period

_LENGTH = 16

Standing = Mapping[tuple[str, Period], Sequence[Record]]
"""Per source and period the deliveries that count: one per status."""


@dataclass(frozen=True)
class Awaited:
    """A delivery that a mart needs and that is not there yet.

    Attributes:
        source: who delivers it.
        period: the period of that source.
        expected_on: the day on which it is due by the contract; may lie in the past.
    """

    source: str
    period: Period
    expected_on: date


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
        periods: for a mart, the period of each cube that it reads.
        awaits: the deliveries that are not there yet; a pair that awaits any has no figures.
    """

    model: str
    reference_period: Period
    vintage: str
    deliveries: tuple[Record, ...]
    cubes: Mapping[str, str]
    inputs: Mapping[str, Any]
    periods: Mapping[str, Period] = field(default_factory=dict)
    awaits: tuple[Awaited, ...] = ()

    @property
    def known_at(self) -> datetime:
        """From when on all deliveries behind the rows were known."""
        return max(record.known_at for record in self.deliveries)

    @property
    def lag_days(self) -> int:
        """Largest lag, in days, of the deliveries behind the rows."""
        return max(record.lag_days for record in self.deliveries)


class Withholding(StrEnum):
    """Why a source may not be processed for a theme."""

    NO_AGREEMENT = "no_agreement"
    NOT_BEGUN = "agreement_not_begun"
    ENDED = "agreement_ended"


@dataclass(frozen=True)
class Withheld:
    """A source that is there and may not be processed.

    Attributes:
        source: the source.
        theme: the theme for which it may not be processed; None for any theme.
        reason: why.
        since: first day without an agreement; None when there never was one.
    """

    source: str
    theme: str | None
    reason: Withholding
    since: date | None

    def __str__(self) -> str:
        """One line for the progress of a refresh."""
        why = self.reason.value.replace("_", " ")
        since = f" (since {self.since})" if self.since else ""
        return f"{self.source} is not processed for {self.theme or 'any theme'}: {why}{since}"


@dataclass(frozen=True)
class Plan:
    """What a refresh shows and what it has to compute for that.

    Attributes:
        as_of: the moment whose knowledge is shown; None for now.
        geo_year: geography year.
        cubes: the pairs that the marts rest on.
        missing: those of them that the warehouse does not hold yet.
        marts: the pairs that the marts show.
        awaited: the pairs that the marts cannot show yet, each with what it awaits.
        staging: deliveries that gate 2 has not passed and that no pair in ``missing`` has.
        withheld: what may not be processed.
    """

    as_of: datetime | None
    geo_year: int
    cubes: tuple[Pair, ...]
    missing: tuple[Pair, ...]
    marts: tuple[Pair, ...]
    awaited: tuple[Pair, ...] = ()
    staging: tuple[Record, ...] = ()
    withheld: tuple[Withheld, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over what the marts show and await: equal plans make equal releases."""
        shown = [[p.model, str(p.reference_period), p.vintage] for p in self.marts]
        return _hash([shown, [[p.model, p.inputs] for p in self.awaited]], 64)

    @property
    def new_deliveries(self) -> tuple[Record, ...]:
        """The deliveries that gate 2 looks at: of the missing pairs, and for staging alone."""
        found = {(r.source, r.id): r for pair in self.missing for r in pair.deliveries}
        found |= {(r.source, r.id): r for r in self.staging}
        return tuple(found[key] for key in sorted(found))

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
                    "periods": {cube: str(period) for cube, period in pair.periods.items()},
                }
            )
        staging = [
            {"source": r.source, "id": r.id, "reference_period": str(r.reference_period)}
            for r in self.staging
        ]
        plan = {"cubes": cubes, "marts": marts, "staging": staging}
        return {"geo_year": self.geo_year, "plan": plan}


def _hash(content: Any, length: int = _LENGTH) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def align(period: Period, alignment: Alignment, cadence: Cadence) -> Period:
    """The period of an input (with its cadence) that belongs to a period of a cube or mart.

    ``same_period`` is the period of the input in which that of the cube lies; ``stock_1_january``
    the stock at the beginning of its year; the other alignments end with the period of the input
    that ends with that of the cube.
    """
    if alignment is Alignment.STOCK_1_JANUARY:
        return Period(period.year, 1, Cadence.YEARLY)
    months = period.cadence.months
    if alignment is Alignment.SAME_PERIOD:
        month = (period.number - 1) * months
        return Period(period.year, month // cadence.months + 1, cadence)
    return Period(period.year, period.number * months // cadence.months, cadence)


def _aligned(model: str, what: str, period: Period, alignment: Alignment, own: Cadence) -> Period:
    """As :func:`align`, after seeing that it can be done.

    Raises:
        ConfigurationError: Z-CFG-034 if the input's periods are too short or too long for the
            alignment, or no stock of a year.
    """
    encloses = alignment in (Alignment.SAME_PERIOD, Alignment.STOCK_1_JANUARY)
    too_short = encloses and own.months < period.cadence.months
    too_long = not encloses and own.months > period.cadence.months
    no_year = alignment is Alignment.STOCK_1_JANUARY and own is not Cadence.YEARLY
    if too_short or too_long or no_year:
        raise ConfigurationError(
            f"{model} has {period.cadence.value} periods and takes the {own.value} {what} "
            f"as {alignment.value}.",
            code="Z-CFG-034",
            remedy="same_period and stock_1_january take an input with periods as long as the "
            "model's or longer, a stock one of years; end_of_period, within_period and trailing "
            "take one with periods as long or shorter.",
        )
    return align(period, alignment, own)


def _needs_of(
    cube: Cube,
    one: Input,
    period: Period,
    contracts: Mapping[str, Contract],
    standing: Collection[tuple[str, Period]],
) -> list[Period]:
    """The periods of one input that the cube's rows for ``period`` rest on, the newest first."""
    own = contracts[one.source].cadence
    newest = _aligned(cube.name, one.source, period, one.alignment, own)
    if one.alignment is Alignment.WITHIN_PERIOD:
        return [newest.before(n) for n in range(period.cadence.months // own.months)]
    found = []
    for n in range(one.periods):
        wanted = newest.before(n)
        if n >= one.at_least and (one.source, wanted) not in standing:
            break
        found.append(wanted)
    return found


def _needs(
    cube: Cube,
    period: Period,
    contracts: Mapping[str, Contract],
    standing: Collection[tuple[str, Period]],
) -> list[tuple[str, Period]]:
    """The source and period of each delivery that the cube's rows for ``period`` rest on."""
    return [
        (one.source, wanted)
        for one in cube.inputs
        for wanted in _needs_of(cube, one, period, contracts, standing)
    ]


def _cube_pairs(
    cube: Cube, standing: Standing, contracts: Mapping[str, Contract], geo_year: int
) -> list[Pair]:
    pairs = []
    for period in _periods_of(cube, standing):
        needs = _needs(cube, period, contracts, standing)
        if not all(need in standing for need in needs):
            continue
        found = {(r.source, r.id): r for need in needs for r in standing[need]}
        deliveries = [found[key] for key in sorted(found)]
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


def _periods_of(cube: Cube, standing: Standing) -> list[Period]:
    """The periods of a cube: those that its first source has delivered."""
    return sorted(period for source, period in standing if source == cube.inputs[0].source)


def _cadence(cube: Cube, contracts: Mapping[str, Contract]) -> Cadence:
    return contracts[cube.inputs[0].source].cadence


def _periods_of_mart(
    mart: Mart, cubes: Sequence[Cube], standing: Standing, contracts: Mapping[str, Contract]
) -> list[Period]:
    """The periods of a mart: the shortest of the cubes whose periods are the mart's own."""
    same = Alignment.SAME_PERIOD
    flows = [cube for cube in cubes if mart.alignment.get(cube.name, same) is same]
    cadences = {cube.name: _cadence(cube, contracts) for cube in flows or cubes}
    shortest = min(cadences.values(), key=lambda cadence: cadence.months, default=None)
    leading = [cube for cube in cubes if cadences.get(cube.name) is shortest]
    return sorted({period for cube in leading for period in _periods_of(cube, standing)})


def _begin(source: str, contracts: Mapping[str, Contract], standing: Standing) -> Period:
    """From which period on deliveries of a source are awaited.

    What lies before the first that was ever delivered may come as an archive; nobody promised it.
    """
    delivered = (period for own, period in standing if own == source)
    first = contracts[source].first_period
    return max(first, min(delivered, default=first))


def _mart_pairs(
    mart: Mart,
    cubes: Sequence[Cube],
    by_cube: Mapping[tuple[str, Period], Pair],
    standing: Standing,
    contracts: Mapping[str, Contract],
    geo_year: int,
    destroyed: Collection[tuple[str, Period]],
) -> list[Pair]:
    """The pairs of a mart, those that await a delivery included."""
    pairs = []
    for period in _periods_of_mart(mart, cubes, standing, contracts):
        periods = {
            cube.name: _aligned(
                mart.name,
                cube.name,
                period,
                mart.alignment.get(cube.name, Alignment.SAME_PERIOD),
                _cadence(cube, contracts),
            )
            for cube in cubes
        }
        needs = {
            need for cube in cubes for need in _needs(cube, periods[cube.name], contracts, standing)
        }
        lacking = sorted(need for need in needs if need not in standing)
        if any(
            (source, wanted) in destroyed or wanted < _begin(source, contracts, standing)
            for source, wanted in lacking
        ):
            # It never comes: there is nothing to await.
            continue
        found = {(r.source, r.id): r for need in needs for r in standing.get(need, ())}
        records = tuple(found[key] for key in sorted(found))
        inputs: dict[str, Any] = {
            "mart": mart.name,
            "reference_period": str(period),
            "definition": mart.definition,
            "geography": [mart.geography, geo_year],
        }
        if lacking:
            awaits = tuple(
                Awaited(source, wanted, contracts[source].due(wanted)) for source, wanted in lacking
            )
            inputs |= {
                "cubes": {},
                "deliveries": [
                    [r.source, r.id, r.observation_status.value, r.content_hash] for r in records
                ],
                "awaits": [[a.source, str(a.period), a.expected_on.isoformat()] for a in awaits],
            }
            pairs.append(
                Pair(mart.name, period, _hash(inputs), records, {}, inputs, periods, awaits)
            )
            continue
        vintages = {name: by_cube[(name, own)].vintage for name, own in periods.items()}
        inputs["cubes"] = vintages
        pairs.append(Pair(mart.name, period, _hash(inputs), records, vintages, inputs, periods))
    return pairs


@dataclass(frozen=True)
class _Permissions:
    """What the agreements in force on a day allow."""

    agreements: Mapping[str, Agreement]
    contracts: Mapping[str, Contract]
    on: date

    def needed_for(self, sources: Collection[str]) -> list[str]:
        """The sources that need an agreement."""
        known = [s for s in sorted(sources) if s in self.contracts]
        return [s for s in known if self.contracts[s].needs_agreement]

    def refused(self, sources: Collection[str], theme: str) -> list[str]:
        """The sources that may not be processed for a theme."""
        needed = self.needed_for(sources)
        return [s for s in needed if not covers(self.agreements, s, theme, self.on)]

    def may_stage(self, source: str) -> bool:
        """Whether a source may be looked at for any theme."""
        contract = self.contracts[source]
        if not contract.needs_agreement:
            return True
        return agreement_for(self.agreements, source, self.on) is not None

    def withheld(self, source: str, theme: str | None) -> Withheld:
        """Why a source is withheld, and since when."""
        own = [
            agreement
            for agreement in self.agreements.values()
            if source in agreement.sources and (theme is None or theme in agreement.themes)
        ]
        ended = [a.valid_until for a in own if a.valid_until < self.on]
        if ended:
            since = max(ended) + timedelta(days=1)
            return Withheld(source, theme, Withholding.ENDED, since)
        reason = Withholding.NOT_BEGUN if own else Withholding.NO_AGREEMENT
        return Withheld(source, theme, reason, None)


def _theme_in_name(cube: str) -> str:
    return cube.removeprefix("cube_").split("__")[0]


def _permitted(
    catalogue: Catalogue, permissions: _Permissions
) -> tuple[list[Mart], list[Cube], set[tuple[str, str]]]:
    """The marts and cubes that may be processed, and the (source, theme) that may not.

    A cube that marts of several themes read is processed when it is for one of them.
    """
    refused: set[tuple[str, str]] = set()
    marts = []
    for _, mart in sorted(catalogue.marts.items()):
        theme = str(mart.indicator.get("theme", ""))
        inputs = {i.source for name in mart.cubes for i in catalogue.cubes[name].inputs}
        if mart.is_coverage:
            # What was delivered is counted for whichever theme it may be processed for.
            wrong = [s for s in sorted({*mart.sources, *inputs}) if not permissions.may_stage(s)]
            if not wrong:
                marts.append(mart)
            continue
        wrong = permissions.refused({*mart.sources, *inputs}, theme)
        refused |= {(source, theme) for source in wrong}
        if not wrong:
            marts.append(mart)
    cubes = []
    for name, cube in sorted(catalogue.cubes.items()):
        sources = {i.source for i in cube.inputs}
        if not sources <= set(permissions.contracts):
            continue
        if any(name in mart.cubes for mart in catalogue.marts.values()):
            is_permitted = any(name in mart.cubes for mart in marts)
        else:
            theme = _theme_in_name(name)
            wrong = permissions.refused(sources, theme)
            refused |= {(source, theme) for source in wrong}
            is_permitted = not wrong
        if is_permitted:
            cubes.append(cube)
    there = {cube.name for cube in cubes}
    return [mart for mart in marts if set(mart.cubes) <= there], cubes, refused


def make_plan(
    catalogue: Catalogue,
    contracts: Mapping[str, Contract],
    records: Sequence[Record],
    *,
    now: datetime,
    as_of: datetime | None,
    geo_year: int,
    built: Mapping[str, Collection[tuple[str, str]]],
    agreements: Mapping[str, Agreement] = MappingProxyType({}),
    checked: Mapping[str, Collection[str]] = MappingProxyType({}),
    destroyed: Collection[tuple[str, Period]] = frozenset(),
) -> Plan:
    """Works out what the marts show at ``as_of`` (or now) and what is not computed yet.

    Args:
        built: per cube the (reference_period, vintage) pairs that the warehouse holds.
        agreements: those of the project. What counts is what is in force now, also for a look at
            the past: it is now that the data is processed.
        checked: per source the deliveries that have passed gate 2.
        destroyed: source and period of what was here and may no longer be; it is not awaited.

    Raises:
        ConfigurationError: Z-CFG-034 if a model aligns an input in a way that cannot be done.
    """
    standing: dict[tuple[str, Period], list[Record]] = {}
    known = [
        record for record in latest(records, as_of or now).values() if record.source in contracts
    ]
    for record in known:
        # A figure of a later division than the marts' cannot be recast backwards.
        if record.reference_period.year <= geo_year:
            standing.setdefault((record.source, record.reference_period), []).append(record)
    permissions = _Permissions(agreements, contracts, now.date())
    permitted_marts, permitted_cubes, refused = _permitted(catalogue, permissions)
    cubes = [
        pair
        for cube in permitted_cubes
        for pair in _cube_pairs(cube, standing, contracts, geo_year)
    ]
    by_cube = {(pair.model, pair.reference_period): pair for pair in cubes}
    of_marts = [
        pair
        for mart in permitted_marts
        for pair in _mart_pairs(
            mart,
            [catalogue.cubes[name] for name in mart.cubes],
            by_cube,
            standing,
            contracts,
            geo_year,
            destroyed,
        )
    ]
    missing = [
        pair
        for pair in cubes
        if (str(pair.reference_period), pair.vintage) not in built.get(pair.model, ())
    ]
    present = {source for source, _ in standing}
    barred = {source for source in present if not permissions.may_stage(source)}
    withheld = [permissions.withheld(source, None) for source in sorted(barred)]
    withheld += [
        permissions.withheld(source, theme)
        for source, theme in sorted(refused)
        if source in present - barred
    ]
    computed = {(r.source, r.id) for pair in missing for r in pair.deliveries}
    staged = {source_of(name) for name in catalogue.staging}
    staging = [
        record
        for record in known
        if as_of is None
        # Microdata is placed by address, on no division but that of its own day.
        and (record.reference_period.year <= geo_year or contracts[record.source].needs_agreement)
        and record.source in staged - barred
        and record.id not in checked.get(record.source, ())
        and (record.source, record.id) not in computed
    ]
    return Plan(
        as_of=as_of,
        geo_year=geo_year,
        cubes=tuple(cubes),
        missing=tuple(missing),
        marts=tuple(pair for pair in of_marts if not pair.awaits),
        awaited=tuple(pair for pair in of_marts if pair.awaits),
        staging=tuple(sorted(staging, key=lambda r: (r.source, r.id))),
        withheld=tuple(withheld),
    )
