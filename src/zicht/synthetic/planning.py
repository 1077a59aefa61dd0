"""Which deliveries come when: as in life, with late, revised and provisional ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256

from zicht.contracts import Contract
from zicht.deliveries.package import ObservationStatus
from zicht.errors import UsageError
from zicht.periods import Period
from zicht.synthetic.geography import Geography, resolve_regions

NEEDS: Mapping[str, tuple[str, ...]] = {
    "brp": (),
    "bag_woz": ("premises",),
    "kadaster": ("premises", "heads", "entities"),
    "nhr": ("heads", "entities"),
    "police_suspects": (),
    "om_cases": (),
    "cannabis_sites": ("premises",),
    "uwv_svb": (),
    "tax_income": ("heads",),
    "tax_wealth": ("heads", "premises"),
    "duo": (),
    "rdw": ("entities",),
}
"""The sources that can be made up, and what each takes beside the people."""
EARLIEST, LATEST = -3, 10
"""Days around the agreed lag within which deliveries come."""
VERY_LATE = 45
REVISED_AFTER = 40
FINAL_AFTER = 30


@dataclass(frozen=True)
class Scope:
    """What part of the made-up country is delivered.

    Attributes:
        seed: another seed, another country.
        regions: provinces and municipalities as they were asked for; none for all.
        atoms: numbers of the pieces of the country that these are made of.
        geography: all pieces, and who lives there.
        turns: years after which low income turns in some municipalities; planted only when asked.
    """

    seed: int
    regions: tuple[str, ...]
    atoms: frozenset[int]
    geography: Geography = field(repr=False)
    turns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """One delivery that is to be made.

    Attributes:
        source: the contract.
        period: reference period.
        status: final or provisional.
        delivered_at: when the provider hands it over.
        id: name of the delivery.
        supersedes: id of the delivery of the same period that it corrects.
        is_archive: a historic delivery brought in later.
        missing: 0 when it holds everything; otherwise about one in fifty units is not known yet,
            others for another number.
    """

    source: str
    period: Period
    status: ObservationStatus
    delivered_at: datetime
    id: str
    supersedes: str | None = None
    is_archive: bool = False
    missing: int = 0


@dataclass(frozen=True)
class Options:
    """What does not go as agreed.

    Attributes:
        late: sources whose newest delivery comes :data:`VERY_LATE` days after the agreed day.
        revised: sources of which the last delivery but one is corrected afterwards.
        provisional: sources that deliver every period provisionally first.
        is_archive: all are historic deliveries brought in later.
    """

    late: tuple[str, ...] = ()
    revised: tuple[str, ...] = ()
    provisional: tuple[str, ...] = ()
    is_archive: bool = False


def scope_of(
    geography: Geography, seed: int, regions: Sequence[str] = (), turns: Sequence[int] = ()
) -> Scope:
    """The scope of provinces (``PV29``) and municipalities (``GM0654``); all when none is given.

    Args:
        turns: years after which low income turns; see :meth:`Geography.turning`.

    Raises:
        UsageError: Z-SYN-001 for an unknown code, Z-SYN-004 for a seed that cannot be used.
    """
    if not 0 <= seed < 1_000_000:
        raise UsageError(
            f"the seed {seed} is not a whole number from 0 to 999999.",
            code="Z-SYN-004",
            remedy="Choose one in that range.",
        )
    atoms = resolve_regions(geography, regions)
    return Scope(seed, tuple(regions), atoms, geography, tuple(sorted(set(turns))))


def periods_between(contract: Contract, first_year: int, last_year: int) -> list[Period]:
    """The periods of a contract in these years, from the first that the contract covers."""
    period = Period(first_year, 1, contract.cadence)
    found = []
    while period.year <= last_year:
        if period >= contract.first_period:
            found.append(period)
        period = period.next()
    return found


def _chance(*parts: object, below: int) -> int:
    digest = sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def _moment(contract: Contract, period: Period) -> datetime:
    """When a delivery comes: around the agreed day, in office hours."""
    chance = (contract.source, period)
    days = EARLIEST + _chance("days", *chance, below=LATEST - EARLIEST + 1)
    minutes = 8 * 60 + _chance("minutes", *chance, below=9 * 60)
    day = contract.due(period) + timedelta(days=days)
    return datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=UTC)


def _first(contract: Contract, period: Period, options: Options) -> list[Wanted]:
    """The delivery of a period, after a provisional one where that is the habit."""
    final = Wanted(
        contract.source,
        period,
        ObservationStatus.FINAL,
        _moment(contract, period),
        f"{contract.source}-{period}-final-1",
        is_archive=options.is_archive,
    )
    if contract.source not in options.provisional:
        return [final]
    provisional = replace(
        final,
        status=ObservationStatus.PROVISIONAL,
        id=f"{contract.source}-{period}-provisional-1",
        missing=1,
    )
    return [
        provisional,
        replace(final, delivered_at=final.delivered_at + timedelta(days=FINAL_AFTER)),
    ]


def _of_source(
    contract: Contract, periods: Sequence[Period], now: datetime, options: Options
) -> list[Wanted]:
    found = [
        wanted
        for period in periods
        for wanted in _first(contract, period, options)
        if wanted.delivered_at < now
    ]
    finals = [n for n, wanted in enumerate(found) if wanted.status is ObservationStatus.FINAL]
    if contract.source in options.revised and finals:
        revised = finals[-2] if len(finals) > 1 else finals[-1]
        old = replace(found[revised], missing=2)
        new = replace(
            old,
            delivered_at=old.delivered_at + timedelta(days=REVISED_AFTER),
            id=old.id.removesuffix("-1") + "-2",
            supersedes=old.id,
            missing=0,
        )
        if new.delivered_at < now:
            found[revised] = old
            found.append(new)
    if contract.source in options.late and found:
        newest = max(range(len(found)), key=lambda n: found[n].period)
        moved = found[newest].delivered_at + timedelta(days=VERY_LATE)
        found[newest] = replace(found[newest], delivered_at=moved)
    return [wanted for wanted in found if wanted.delivered_at < now]


def plan_deliveries(
    contracts: Mapping[str, Contract],
    sources: Sequence[str],
    periods: Sequence[Period] | tuple[int, int],
    now: datetime,
    options: Options | None = None,
) -> list[Wanted]:
    """The deliveries of some sources that have come before ``now``, in the order of coming.

    Each comes on the day that the contract says, three days before to ten days after. The same
    arguments give the same plan.

    Args:
        contracts: all contracts; those in :data:`NEEDS` can be made up.
        sources: which of them; all registers when empty.
        periods: reference periods, of which each source takes those of its cadence; or first and
            last year.

    Raises:
        UsageError: Z-SYN-002 for a source that cannot be made up, Z-SYN-003 when the first year
            comes after the last.
    """
    options = options or Options()
    able = [source for source in contracts if source in NEEDS]
    for source in (*sources, *options.late, *options.revised, *options.provisional):
        if source not in able:
            raise UsageError(
                f"no synthetic deliveries can be made of the source {source!r}.",
                code="Z-SYN-002",
                remedy=f"Choose from: {', '.join(able)}.",
            )
    found: list[Wanted] = []
    for source in sources or able:
        contract = contracts[source]
        match periods:
            case (int() as first, int() as last):
                if first > last:
                    raise UsageError(
                        f"the first year {first} comes after the last year {last}.",
                        code="Z-SYN-003",
                        remedy="Give --from a year that is not after --to.",
                    )
                own = periods_between(contract, first, last)
            case _:
                own = [
                    period
                    for period in periods
                    if isinstance(period, Period)
                    and period.cadence is contract.cadence
                    and period >= contract.first_period
                ]
        found += _of_source(contract, sorted(own), now, options)
    return sorted(found, key=lambda wanted: (wanted.delivered_at, wanted.source, wanted.id))
