"""Atoms: the pieces of the country that no re-division cuts, with their inhabitants per year.

An atom is a municipality of the first year known, or the part of one that went to a certain
successor. It never changes; the municipality that it belongs to does. So whoever lives in an atom
keeps an address, and its municipality code follows the division of the moment.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from zicht.errors import UsageError
from zicht.synthetic.facts import figure

PERSONS_PER_CLUSTER = 15
"""Fewer than live in any run of clusters, so that the room laid out for an atom is enough."""


@dataclass(frozen=True)
class Atom:
    """A piece of one municipality.

    Attributes:
        number: 0, 1, … in order of province and code of today.
        steps: ``(first day, municipality code)``, oldest first.
        share: of the municipality that it was first a part of; 1 for a whole one.
        province: the province it lies in, in the last division.
        inhabitants: on 1 January, per year.
        first_cluster: number of its first cluster of households.
    """

    number: int
    steps: tuple[tuple[date, str], ...]
    share: Fraction
    province: str
    inhabitants: Mapping[int, int]
    first_cluster: int = 0

    def code(self, day: date) -> str:
        """Its municipality on ``day``."""
        return [code for first, code in self.steps if first <= day][-1]

    @property
    def last_code(self) -> str:
        """Its municipality in the last division."""
        return self.steps[-1][1]


@dataclass(frozen=True)
class Turn:
    """A planted change in the slope of low income in one municipality.

    Attributes:
        year: the last one that is as it was; from then on the share changes evenly.
        factor: what the share of households with a low income is multiplied by in the end.
    """

    year: int
    factor: float


@dataclass(frozen=True)
class Geography:
    """All atoms of the country, and the years for which inhabitants are known."""

    atoms: tuple[Atom, ...]
    years: tuple[int, ...]
    population: Mapping[tuple[int, str], int]

    def year(self, wanted: int) -> int:
        """The known year nearest to ``wanted``: outside of them the population stands still."""
        return min(max(wanted, self.years[0]), self.years[-1])

    def planted(self, seed: int) -> Mapping[str, int]:
        """Municipalities of the last division where foundations grow beyond explanation.

        Returns:
            Per code the factor: one in sixteen of every province, at least one.
        """
        chosen: dict[str, int] = {}
        for codes in self._by_province().values():
            drawn = sorted(codes, key=lambda code: sha256(f"{seed}:{code}".encode()).digest())
            for code in drawn[: max(1, len(codes) // 16)]:
                chosen[code] = 4 + sha256(f"{seed}+{code}".encode()).digest()[0] % 4
        return dict(sorted(chosen.items()))

    def turning(self, seed: int, years: Sequence[int]) -> Mapping[str, Turn]:
        """Municipalities of the last division where low income turns, in these years.

        Returns:
            Per code the change. With one year a third of every province, at least two; with more
            years half of it or more, divided over them, so that there always are others. It rises
            and falls by turns.
        """
        factors = figure("low_income_rise"), figure("low_income_fall")
        chosen: dict[str, Turn] = {}
        for codes in self._by_province().values() if years else ():
            drawn = sorted(codes, key=lambda code: sha256(f"{seed}/{code}".encode()).digest())
            n_turning = max(2, len(codes) * len(years) // (len(years) + 2))
            for place, code in enumerate(drawn[:n_turning]):
                turn, year = divmod(place, len(years))
                chosen[code] = Turn(years[year], factors[(turn + year) % 2])
        return dict(sorted(chosen.items()))

    def _by_province(self) -> Mapping[str, set[str]]:
        """The municipalities of the last division."""
        found: dict[str, set[str]] = defaultdict(set)
        for atom in self.atoms:
            found[atom.province].add(atom.last_code)
        return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _parts(
    code: str, since: date, ended: Mapping[str, Sequence[tuple[date, str, Fraction]]]
) -> Iterable[tuple[tuple[tuple[date, str], ...], Fraction]]:
    """The ways that a municipality and its successors went, with the share of each."""
    successors = ended.get(code, ())
    if not successors:
        yield ((since, code),), Fraction(1)
        return
    whole = sum(weight for _, _, weight in successors)
    for day, new, weight in successors:
        for steps, share in _parts(new, day, ended):
            yield ((since, code), *steps), share * weight / whole


def _apportion(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Whole numbers in proportion to ``weights`` that add up to ``total``."""
    whole, done, given = sum(weights), Fraction(0), 0
    parts = []
    for weight in weights:
        done += weight
        upto = round(total * done / whole)
        parts.append(upto - given)
        given = upto
    return parts


def _spread(
    atoms: Sequence[Atom], population: Mapping[tuple[int, str], int], years: Sequence[int]
) -> list[Atom]:
    """Divides the inhabitants of every municipality and year over its atoms.

    Before a split by the shares of the split, after a merger in proportion to the last year in
    which the parts stood alone.
    """
    known: list[dict[int, int]] = [{} for _ in atoms]
    weight = [Fraction(0) for _ in atoms]
    for year in years:
        members: dict[str, list[int]] = defaultdict(list)
        for atom in atoms:
            members[atom.code(date(year, 1, 1))].append(atom.number)
        for code, numbers in members.items():
            weights = [
                weight[n] or atoms[n].share * population.get((year, code), 0) or Fraction(1)
                for n in numbers
            ]
            for number, part in zip(
                numbers, _apportion(population.get((year, code), 0), weights), strict=True
            ):
                known[number][year] = part
                weight[number] = Fraction(max(part, 1))
    return [replace(atom, inhabitants=known[atom.number]) for atom in atoms]


def load_geography(folder: Path) -> Geography:
    """Reads the seeds in ``folder`` (``dbt_project/seeds/geography``) into atoms.

    Source: CBS and RvIG, as the seeds say.
    """
    population = {
        (int(row["geo_year"]), row["region_code"]): int(row["population_1jan"])
        for row in _rows(folder / "municipality_population.csv")
    }
    years = sorted({year for year, _ in population})
    ended: dict[str, list[tuple[date, str, Fraction]]] = defaultdict(list)
    for row in _rows(folder / "municipality_transitions.csv"):
        day = date.fromisoformat(row["valid_from"])
        if day > date(years[0], 1, 1):
            ended[row["old_code"]].append(
                (day, row["new_code"], Fraction(row["population_weight"]))
            )
    divisions = _rows(folder / "municipality_divisions.csv")
    province = {
        row["region_code"]: row["province_code"]
        for row in sorted(divisions, key=lambda row: int(row["last_year"]))
    }
    found = [
        Atom(0, steps, share, province[steps[-1][1]], {})
        for year, code in population
        if year == years[0]
        for steps, share in _parts(code, date.min, ended)
    ]
    found.sort(key=lambda atom: (atom.province, atom.last_code, atom.steps))
    atoms = _spread([replace(a, number=n) for n, a in enumerate(found)], population, years)
    placed, first = [], 0
    for atom in atoms:
        placed.append(replace(atom, first_cluster=first))
        # Whole tens: the phase of a cluster is its last digit.
        first += (max(atom.inhabitants.values()) // PERSONS_PER_CLUSTER // 10 + 2) * 10
    return Geography(tuple(placed), tuple(years), population)


def resolve_regions(geography: Geography, regions: Sequence[str]) -> frozenset[int]:
    """The atoms of provinces (``PV29``) and municipalities (``GM0654``, of any division).

    A municipality takes with it all that it merged with, so that the same places are meant in
    every year. No regions: the whole country.

    Raises:
        UsageError: Z-SYN-001 for a code that is neither.
    """
    if not regions:
        return frozenset(atom.number for atom in geography.atoms)
    chosen: set[int] = set()
    for region in regions:
        lasts = {
            atom.last_code
            for atom in geography.atoms
            if region == atom.province or region in {code for _, code in atom.steps}
        }
        if not lasts:
            raise UsageError(
                f"{region!r} is no province or municipality that is known.",
                code="Z-SYN-001",
                remedy="Give CBS codes such as PV29 or GM0654; seeds/geography lists them.",
            )
        chosen |= {atom.number for atom in geography.atoms if atom.last_code in lasts}
    return frozenset(chosen)
