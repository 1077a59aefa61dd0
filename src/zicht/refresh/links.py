"""Link rates: which share of the keys of one register another one knows, per delivery.

What a delivery had when it passed gate 2 is kept, so that the next period is compared with it. A
record that is lost means that one comparison is not made, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path

import duckdb
import yaml

from zicht.catalogue import source_of
from zicht.clock import format_moment
from zicht.errors import ConfigurationError
from zicht.files import read_json, write_json
from zicht.periods import Period
from zicht.settings import Settings
from zicht.sql import literal, quoted

LARGE = 1_000_000
"""Rows from which on only a sample of the keys is looked at."""

_PERIODS = {"year": "left(reference_period, 4)", "period": "reference_period"}


@dataclass(frozen=True)
class Link:
    """A key of one staging view that another should know.

    Attributes:
        relation: the staging view.
        key: its column.
        register: the other view.
        column: the column there.
        of: ``year`` or ``period``: which rows of the other belong to those of the view.
        most_lost_pct: share of keys that may be unknown there, in percent.
        letter: only keys that begin with it; None for all.
    """

    relation: str
    key: str
    register: str
    column: str
    of: str
    most_lost_pct: float
    letter: str | None = None


@dataclass(frozen=True)
class Links:
    """What ``links.yaml`` declares.

    Attributes:
        links: the links.
        most_fall_pct: by how many percentage points a rate may fall.
        sample: end of the keys that are looked at where there are many.
        accepted_falls: per delivery why its fall is right.
    """

    links: tuple[Link, ...]
    most_fall_pct: float
    sample: str
    accepted_falls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkRate:
    """What one delivery had of one link.

    Attributes:
        relation, key, register: the link.
        source: of the relation.
        delivery_id: the delivery.
        reference_period: what it describes.
        n_looked_at: keys, of rows.
        n_linked: those of them that the register knows.
        most_lost_pct: from the declaration.
        before_period: the last earlier period with a rate; None when there is none.
        before_n_looked_at, before_n_linked: the counts of that period.
    """

    relation: str
    key: str
    register: str
    source: str
    delivery_id: str
    reference_period: str
    n_looked_at: int
    n_linked: int
    most_lost_pct: float
    before_period: str | None = None
    before_n_looked_at: int | None = None
    before_n_linked: int | None = None

    @property
    def link_pct(self) -> float:
        """The share that links, in percent with one decimal."""
        return round(100 * self.n_linked / self.n_looked_at, 1)

    def __str__(self) -> str:
        """One line for the progress of a refresh."""
        register = self.register.removeprefix("stg_")
        return f"{self.delivery_id} {self.key} in {register}: {self.link_pct}%"


def load_links(path: Path) -> Links:
    """Reads ``links.yaml``.

    Raises:
        ConfigurationError: Z-CFG-057 naming the file and what is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = tuple(
            Link(relation, column=one.pop("as"), **one)
            for relation, declared in document["links"].items()
            for one in map(dict, declared)
        )
        if wrong := [link for link in found if link.of not in _PERIODS]:
            raise ValueError(f"of is {wrong[0].of!r}, not year or period")
        accepted = {str(name): str(why) for name, why in document["accepted_falls"].items()}
        return Links(found, float(document["most_fall_pct"]), str(document["sample"]), accepted)
    except (OSError, yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: not a list of links: {error!r}.",
            code="Z-CFG-057",
            remedy="Write most_fall_pct, sample, accepted_falls, and links: per staging view key, "
            "register, as, of (year or period), most_lost_pct, and letter where only some count.",
        ) from error


def _query(link: Link, sample: str) -> str:
    """Per delivery the keys looked at, and those that the register knows."""
    period = _PERIODS[link.of]
    relation, register = quoted(link.relation), quoted(link.register)
    key, column = quoted(link.key), quoted(link.column)
    # The number of rows is asked once; both sides are sampled, or neither is.
    is_small = f"(select count(*) from {relation}) < {LARGE}"
    only = f"and left({key}, 1) = {literal(link.letter)}" if link.letter else ""
    return f"""
        with referring as (
            select delivery_id, reference_period, {period} as other_period, {key} as other_key
            from {relation}
            where {key} is not null {only}
                and ({is_small} or right({key}, {len(sample)}) = {literal(sample)})
                and {period} in (select distinct reference_period from {register})
        ),
        known as (
            select distinct reference_period as other_period, {column} as other_key
            from {register}
            where {is_small} or right({column}, {len(sample)}) = {literal(sample)}
        )
        select delivery_id, reference_period, count(*), count(known.other_key)
        from referring left join known using (other_period, other_key)
        group by delivery_id, reference_period
        order by delivery_id
    """


def measure_links(database: Path, links: Links, relations: Collection[str]) -> list[LinkRate]:
    """Measures every link of which both views are there and have rows of a common period.

    Args:
        database: the warehouse, or any DuckDB file with the staging views.
        relations: views that are there.
    """
    found = []
    with duckdb.connect(str(database), read_only=True) as connection:
        for link in links.links:
            if not {link.relation, link.register} <= set(relations):
                continue
            for row in connection.execute(_query(link, links.sample)).fetchall():
                delivery, period, n_looked_at, n_linked = row
                found.append(
                    LinkRate(
                        link.relation,
                        link.key,
                        link.register,
                        source_of(link.relation),
                        delivery,
                        period,
                        n_looked_at,
                        n_linked,
                        link.most_lost_pct,
                    )
                )
    return found


def compared(rates: Sequence[LinkRate], passed: Sequence[LinkRate]) -> list[LinkRate]:
    """Puts beside each rate that of the last earlier period of the same link.

    Args:
        rates: of the deliveries that are looked at now; periods that arrive together are compared
            with each other.
        passed: of deliveries that passed gate 2.
    """
    earlier: dict[tuple[str, str, str], dict[Period, LinkRate]] = {}
    for one in (*passed, *rates):
        own = earlier.setdefault((one.relation, one.key, one.register), {})
        own[Period.parse(one.reference_period)] = one
    found = []
    for one in rates:
        own = earlier[one.relation, one.key, one.register]
        period = Period.parse(one.reference_period)
        before = max((other for other in own if other < period), default=None)
        if before is not None:
            one = replace(
                one,
                before_period=str(before),
                before_n_looked_at=own[before].n_looked_at,
                before_n_linked=own[before].n_linked,
            )
        found.append(one)
    return found


def _folder(settings: Settings, source: str) -> Path:
    return settings.home / "checked" / "links" / source


def passed_rates(settings: Settings, sources: Collection[str]) -> list[LinkRate]:
    """The rates of the deliveries of some sources that passed gate 2, the latest check last."""
    documents = [
        read_json(path)
        for source in sorted(sources)
        for path in sorted(_folder(settings, source).glob("[!.]*.json"))
    ]
    documents.sort(key=lambda one: (one["checked_at"], one["id"]))
    return [LinkRate(**rate) for document in documents for rate in document["links"]]


def note_rates(
    settings: Settings,
    run_id: str,
    rates: Sequence[LinkRate],
    passed: Collection[tuple[str, str, str]],
    at: datetime,
) -> None:
    """Keeps the rates of deliveries that passed gate 2, one small file each.

    Args:
        passed: source, reference period and id of the deliveries.
    """
    for source, period, delivery in passed:
        own = [one for one in rates if (one.source, one.delivery_id) == (source, delivery)]
        if own:
            write_json(
                _folder(settings, source) / f"{delivery}.json",
                {
                    "source": source,
                    "id": delivery,
                    "reference_period": period,
                    "run_id": run_id,
                    "checked_at": format_moment(at),
                    "links": [asdict(one) for one in own],
                },
            )


_NAMES = tuple(one.name for one in fields(LinkRate))
_TYPES = {
    "most_lost_pct": "double",
    **dict.fromkeys(("n_looked_at", "n_linked"), "bigint"),
    **dict.fromkeys(("before_n_looked_at", "before_n_linked"), "bigint"),
}


def write_rates(rates: Sequence[LinkRate], target: Path) -> None:
    """Writes rates as Parquet, typed also when there are none: what gate 2 looks at."""
    columns = [f"{name} {_TYPES.get(name, 'varchar')}" for name in _NAMES]
    target.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"create table rates ({', '.join(columns)})")
        if rates:
            marks = ", ".join("?" * len(_NAMES))
            connection.executemany(
                f"insert into rates values ({marks})", [list(asdict(one).values()) for one in rates]
            )
        connection.execute(
            "copy (select * from rates order by relation, key, register, delivery_id) "
            f"to {literal(str(target))} (format parquet)"
        )
