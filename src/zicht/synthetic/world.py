"""The made-up country at one moment, as tables in an engine in memory; SQL makes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from zicht.errors import ConfigurationError
from zicht.periods import Period
from zicht.sql import literal
from zicht.synthetic.facts import GROWTH_FROM, GROWTH_UNTIL, facts, figure
from zicht.synthetic.geography import PERSONS_PER_CLUSTER
from zicht.synthetic.planning import Scope

PART = 250_000
"""Inhabitants of a part: enough to outweigh what each part costs, few enough for little memory."""
NEVER = 9999
"""The year after which low income turns where it does not."""


@cache
def sql(name: str) -> str:
    """The text of one SQL file of this package."""
    return files("zicht.synthetic").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def room(number: int, scope: Scope) -> int:
    """The clusters laid out for an atom: enough for its most inhabitants of all years."""
    atom = scope.geography.atoms[number]
    return (max(atom.inhabitants.values()) // PERSONS_PER_CLUSTER // 10 + 2) * 10


def parts(scope: Scope) -> list[tuple[int, ...]]:
    """Cuts a scope in parts of a like number of inhabitants, in the order of atoms.

    What is made of an atom does not depend on the part that it is in.
    """
    atoms = scope.geography.atoms
    size = {n: atoms[n].inhabitants[scope.geography.years[-1]] for n in sorted(scope.atoms)}
    total = sum(size.values())
    wanted = max(1, min(-(-total // PART), len(size)))
    found: list[list[int]] = [[] for _ in range(wanted)]
    done = 0
    for number, inhabitants in size.items():
        found[min(wanted - 1, done * wanted // max(total, 1))].append(number)
        done += inhabitants
    return [tuple(part) for part in found if part]


class World:
    """People, premises and entities of a part of the scope, one year at a time.

    The engine uses one thread: with more, rows that come out of a join have no fixed order. What
    makes use of all cores is that parts are made side by side.

    Args:
        scope: what is delivered.
        atoms: the part that this is.
        spill: folder for what does not fit in memory.
    """

    def __init__(self, scope: Scope, atoms: Sequence[int], spill: Path) -> None:
        self.scope = scope
        self.atoms = tuple(atoms)
        self.connection = duckdb.connect(config={"threads": 1})
        self._made: dict[str, tuple[Any, ...]] = {}
        self.connection.execute(f"set temp_directory = {literal(str(spill))}")
        self.connection.execute("set enable_progress_bar = false")
        self.set(seed=scope.seed, growth_from=GROWTH_FROM, growth_until=GROWTH_UNTIL, **facts())
        self.connection.execute(sql("macros"))
        if scope.turns:
            self._set_turns()
            self.connection.execute(sql("turns"))

    def close(self) -> None:
        """Forgets everything."""
        self.connection.close()

    def set(self, **values: Any) -> None:
        """Sets variables that the SQL reads."""
        for name, value in values.items():
            self.connection.execute(f"set variable {name} = ?", [value])

    def _set_turns(self) -> None:
        """Of every atom the year after which low income turns, and to what share of those who may.

        Those with a low income for many years stay what they are, so the others change by more.
        """
        long, short = figure("long_low_income_share"), figure("low_income_share")
        every = long + (1 - long) * short
        turning = self.scope.geography.turning(self.scope.seed, self.scope.turns)
        turns = [turning.get(atom.last_code) for atom in self.scope.geography.atoms]
        self.set(
            turn_year=[turn.year if turn else NEVER for turn in turns],
            turn_share=[
                (turn.factor * every - long) / (1 - long) if turn else short for turn in turns
            ],
        )

    def _codes(self, period: Period) -> tuple[tuple[int, str], ...]:
        atoms = self.scope.geography.atoms
        return tuple((n, atoms[n].code(period.start)) for n in self.atoms)

    def _fill_atoms(self, year: int, codes: tuple[tuple[int, str], ...]) -> None:
        geography = self.scope.geography
        planted = geography.planted(self.scope.seed)
        known = geography.year(year)
        rows = [
            (
                number,
                code,
                geography.atoms[number].first_cluster,
                geography.atoms[number].inhabitants[known],
                room(number, self.scope),
                planted.get(geography.atoms[number].last_code, 1),
            )
            for number, code in codes
        ]
        self.connection.execute(
            "create or replace temp table atom (atom integer, code varchar, first_cluster bigint, "
            "inhabitants bigint, room bigint, foundation_factor integer)"
        )
        self.connection.executemany("insert into atom values (?, ?, ?, ?, ?, ?)", rows)

    def _check_people(self) -> None:
        wanted, made = self.connection.execute(
            "select (select sum(inhabitants) from atom), (select count(*) from person)"
        ).fetchall()[0]
        if wanted != made:
            raise ConfigurationError(
                f"the made-up country has {made} inhabitants where the seeds have {wanted}.",
                code="Z-SYN-006",
                remedy="facts.yaml leaves too few persons in a cluster: see the reference page.",
            )

    def _once(self, name: str, key: tuple[Any, ...]) -> bool:
        """Whether a part has to be made again; notes that it is."""
        if self._made.get(name) == key:
            return False
        self._made[name] = key
        return True

    def _codes_of_all(self, period: Period) -> list[str]:
        """The municipalities of the whole scope, also of what other parts make."""
        atoms = self.scope.geography.atoms
        return sorted({atoms[number].code(period.start) for number in self.scope.atoms})

    def at(self, period: Period, needs: tuple[str, ...]) -> None:
        """Makes the country of a period: people on 1 January, entities at its end."""
        codes = self._codes(period)
        self.set(
            year=period.year,
            first_day=period.start,
            last_day=period.end,
            quarter=period.year * 4 + (period.start.month - 1) // 3,
            month=period.year * 12 + period.start.month - 1,
            codes=self._codes_of_all(period),
        )
        key = (period.year, codes)
        if self._once("people", key):
            self._fill_atoms(period.year, codes)
            self.connection.execute(sql("people"))
            self._check_people()
        for part in ("heads", "premises"):
            if part in needs and self._once(part, key):
                self.connection.execute(sql(part))
        if "entities" in needs and self._once("entities", (*key, period)):
            self.connection.execute(sql("entities"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a small query."""
        return self.connection.execute(query).fetchall()
