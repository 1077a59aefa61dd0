"""Real estate: every cell against a count in plain Python of the files that the providers wrote."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import duckdb
import pytest
from microdata_support import NOW, SEED, Themes

from support import PROJECT, silent
from zicht.contracts import load_contracts
from zicht.periods import Period
from zicht.synthetic import load_geography, plan_deliveries, scope_of, synthesise

PLACES = ("GM1695", "GM1991")
"""What the fixture delivers; neither changed in 2022 and 2023."""


class Premises(NamedTuple):
    """A row of the buildings register."""

    place: str
    use: str
    type: str | None
    value: int


class Right(NamedTuple):
    """A row of the land registry."""

    premises: str
    kind: str
    owner: str
    share: str


class Delivered:
    """The files in landing, read by what the registers' own descriptions say."""

    def __init__(self, landing: Path) -> None:
        self.landing = landing
        rows = self._parquet("bag_woz/bag_woz-2023-final-1/premises")
        self.premises = {
            row["premises_key"]: Premises(
                row["municipality_code"],
                row["use_code"],
                row["dwelling_type"],
                row["woz_value_eur"] or 0,
            )
            for row in rows
        }
        persons = list(self._zipped("brp/brp-2023-final-1/persons.zip"))
        self.household = {row["person_key"]: row["household_key"] for row in persons}
        self.home = {row["person_key"]: row["dwelling_key"] for row in persons}
        self.inhabited = {row["dwelling_key"] for row in persons}
        rows = self._parquet("tax_income/tax_income-2023-final-1/households")
        self.income = {row["household_key"]: row["disposable_income_eur"] for row in rows}
        self.wealth = {
            row["household_key"]: Decimal(row["wealth_eur"].replace(",", "."))
            for row in self._zipped("tax_wealth/tax_wealth-2023-final-1/households.zip")
        }

    def _parquet(self, path: str) -> list[dict[str, object]]:
        with duckdb.connect() as engine:
            found = engine.execute(f"from '{self.landing / path}.parquet'")
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def _zipped(self, path: str) -> Iterator[dict[str, str]]:
        with ZipFile(self.landing / path) as archive:
            (name,) = archive.namelist()
            with archive.open(name) as file:
                yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"), delimiter=";")

    def _lines(self, quarter: str, table: str) -> list[str]:
        path = self.landing / f"kadaster/kadaster-{quarter}-final-1/{table}.txt"
        return path.read_text(encoding="windows-1252").splitlines()

    def rights(self, quarter: str) -> list[Right]:
        """Who owns what at the end of a quarter."""
        return [
            Right(
                line[10:20],
                line[20:32].strip(),
                line[32:42].strip(),
                line[42:48].strip(),
            )
            for line in self._lines(quarter, "rights")
        ]

    def transfers(self, quarter: str) -> list[tuple[str, str, str, int]]:
        """Of every transfer in a quarter the premises, day, key and price."""
        return [
            (line[10:20], line[20:28], line[:10], int(line[28:38]))
            for line in self._lines(quarter, "transfers")
        ]

    def associations(self, quarter: str) -> set[str]:
        """The housing associations of a quarter."""
        path = self.landing / f"nhr/nhr-{quarter}-final-1/legal_entities.csv"
        with path.open(encoding="utf-8") as file:
            return {
                row["entity_key"]
                for row in csv.DictReader(file, delimiter=";")
                if row["legal_form"] in ("stichting", "vereniging")
                and row["sbi_code"].startswith("6820")
            }

    def place(self, premises: str) -> str:
        """The municipality of premises."""
        return str(self.premises[premises].place)

    def dwellings(self) -> list[str]:
        """The keys of all dwellings."""
        return [key for key, one in self.premises.items() if one.use == "dwelling"]


@pytest.fixture(scope="module")
def delivered(themes: Themes) -> Delivered:
    return Delivered(themes.landing)


def cells(themes: Themes, mart: str, *dimensions: str) -> dict[tuple[str, ...], int]:
    """Per period, municipality and category what a mart says."""
    names = ", ".join(("reference_period", "region_code", *dimensions))
    found = themes.rows(f"select {names}, value, is_missing from mart_vastgoed__{mart}")
    assert not any(row[-1] for row in found)
    assert len({row[:-2] for row in found}) == len(found)
    return {tuple(row[:-2]): row[-2] for row in found}


def with_zeros(
    counted: Mapping[tuple[str, ...], int], *categories: tuple[str, ...]
) -> dict[tuple[str, ...], int]:
    """The cells of a count, those that nothing is in included."""
    return {key: counted.get(key, 0) for key in product(*categories)}


def share(themes: Themes, mart: str) -> dict[tuple[str, ...], tuple[int, int]]:
    """Numerator and denominator per period and municipality."""
    return {
        (period, place): (numerator, denominator)
        for period, place, numerator, denominator, value in themes.rows(
            "select reference_period, region_code, numerator, denominator, value "
            f"from mart_vastgoed__{mart}"
        )
        if value == 100 * numerator / denominator
    }


def test_every_dwelling_is_in_the_cell_of_its_tenure(themes: Themes, delivered: Delivered) -> None:
    counted: Counter[tuple[str, ...]] = Counter()
    quarters = ("2023-Q3", "2023-Q4")
    for quarter in quarters:
        associations = delivered.associations(quarter)
        owners = defaultdict(set)
        for right in delivered.rights(quarter):
            owners[right.premises].add(right.owner)
        for key in delivered.dwellings():
            if any(delivered.home.get(owner) == key for owner in owners[key]):
                tenure = "owner_occupied"
            elif owners[key] & associations:
                tenure = "housing_association"
            elif owners[key] == {""}:
                tenure = "unknown_owner"
            else:
                tenure = "private_rental" if key in delivered.inhabited else "not_inhabited"
            kind = delivered.premises[key].type
            kind = "apartment" if kind == "apartment" else "single_family"
            counted[quarter, delivered.place(key), tenure, kind] += 1
    tenures = "owner_occupied housing_association private_rental not_inhabited unknown_owner"
    expected = with_zeros(
        counted, quarters, PLACES, tuple(tenures.split()), ("apartment", "single_family")
    )
    assert cells(themes, "dwellings_by_tenure", "tenure", "dwelling_type") == expected
    for mart, tenure in (
        ("dwellings_private_rental_pct", "private_rental"),
        ("dwellings_unknown_owner_pct", "unknown_owner"),
    ):
        assert share(themes, mart) == {
            (quarter, place): (
                sum(n for key, n in counted.items() if key[:3] == (quarter, place, tenure)),
                sum(n for key, n in counted.items() if key[:2] == (quarter, place)),
            )
            for quarter in quarters
            for place in PLACES
        }


def test_premises_that_are_no_dwelling_are_counted_by_owner(
    themes: Themes, delivered: Delivered
) -> None:
    counted: Counter[tuple[str, ...]] = Counter()
    quarters = tuple(f"2023-Q{n}" for n in (1, 2, 3, 4))
    for quarter in quarters:
        kinds = defaultdict(set)
        for right in delivered.rights(quarter):
            kinds[right.premises].add(right.kind)
        for key, one in delivered.premises.items():
            if one.use != "dwelling":
                named = [kind for kind in ("legal_entity", "person") if kind in kinds[key]]
                counted[quarter, one.place, [*named, "unknown_owner"][0]] += 1
    owners = ("legal_entity", "person", "unknown_owner")
    assert cells(themes, "non_residential_by_owner", "owner_kind") == with_zeros(
        counted, quarters, PLACES, owners
    )
    assert share(themes, "non_residential_legal_entities_pct") == {
        (quarter, place): (
            counted[quarter, place, "legal_entity"],
            sum(counted[quarter, place, owner] for owner in owners),
        )
        for quarter in quarters
        for place in PLACES
    }


def test_purchases_are_held_against_what_the_buyers_could_spend(
    themes: Themes, delivered: Delivered
) -> None:
    last: dict[str, int] = {}
    sold = [one for n in (1, 2, 3, 4) for one in delivered.transfers(f"2023-Q{n}")]
    for premises, _, _, price in sorted(sold, key=lambda one: one[1:3]):
        last[premises] = price
    owners = defaultdict(set)
    for right in delivered.rights("2023-Q4"):
        owners[right.premises].add(delivered.household.get(right.owner))
    known = delivered.income.keys() & delivered.wealth.keys()
    counted: Counter[tuple[str, ...]] = Counter()
    for key in set(delivered.dwellings()) & set(last):
        if last[key] == 0 or not owners[key] <= known:
            continue
        means = sum(
            8 * max(delivered.income[one], 0) + max(delivered.wealth[one], 0)
            for one in owners[key]
            if one is not None
        )
        category = "within_means" if last[key] <= means else "beyond_means"
        counted["2023", delivered.place(key), category] += 1
    found = cells(themes, "purchases_by_means", "means")
    assert found == with_zeros(counted, ("2023",), PLACES, ("within_means", "beyond_means"))
    assert min(found.values()) > 0
    assert share(themes, "purchases_beyond_means_pct") == {
        ("2023", place): (
            counted["2023", place, "beyond_means"],
            counted["2023", place, "beyond_means"] + counted["2023", place, "within_means"],
        )
        for place in PLACES
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, object]]:
    """What was planted in the deliveries of the land registry, as it is told when they are made."""
    folder = tmp_path_factory.mktemp("planted")
    contracts = load_contracts(PROJECT / "expectations/contracts")
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), SEED, PLACES)
    periods = [Period.parse(f"{year}-Q{n}") for year in (2022, 2023) for n in (1, 2, 3, 4)]
    wanted = plan_deliveries(contracts, ("kadaster",), periods, NOW)
    synthesise(folder / "landing", contracts, scope, wanted, silent, truth=folder / "truth.json")
    truth: Mapping[str, Mapping[str, object]] = json.loads((folder / "truth.json").read_text())
    return truth


def test_homes_beyond_means_hold_those_that_were_planted(
    themes: Themes, delivered: Delivered, planted: Mapping[str, Mapping[str, object]]
) -> None:
    shares: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for right in delivered.rights("2023-Q4"):
        if right.owner in delivered.household and delivered.premises[right.premises].type:
            part = Decimal(right.share.replace(",", "."))
            shares[delivered.household[right.owner]][right.premises] += part
    homes = {(delivered.household[person], home) for person, home in delivered.home.items()}
    judged = {}
    for household, owned in shares.items():
        known = household in delivered.income and household in delivered.wealth
        if len(owned) < 2 or not known:
            continue
        others = sum(
            part / 100 * delivered.premises[key].value
            for key, part in owned.items()
            if (household, key) not in homes
        )
        means = 12 * max(delivered.income[household], 0) + max(delivered.wealth[household], 0)
        for key in owned:
            judged[key] = judged.get(key, True) and others <= means
    counted = Counter(
        ("2023", delivered.place(key), "explained" if fits else "not_explained")
        for key, fits in judged.items()
    )
    assert cells(themes, "multiple_homes_by_means", "means") == with_zeros(
        counted, ("2023",), PLACES, ("explained", "not_explained")
    )
    holders = planted["homes_and_no_means"]["households"]
    assert isinstance(holders, dict)
    (holder,) = holders["2023"]
    let = [key for key in shares[holder["household_key"]] if key in judged and not judged[key]]
    assert len(let) >= holder["n_homes"] > 20
    assert share(themes, "multiple_homes_not_explained_pct") == {
        ("2023", place): (
            counted["2023", place, "not_explained"],
            counted["2023", place, "explained"] + counted["2023", place, "not_explained"],
        )
        for place in PLACES
    }


def test_dwellings_passed_on_are_those_that_were_planted(
    themes: Themes, delivered: Delivered, planted: Mapping[str, Mapping[str, object]]
) -> None:
    """Nothing else changes hands so often in two years; the other quarters lack the history."""
    passed = planted["passed_on"]["premises"]
    assert isinstance(passed, dict)
    counted = Counter(("2023-Q4", delivered.place(key)) for key in passed)
    assert sum(counted.values()) == 3
    assert cells(themes, "dwellings_passed_on") == with_zeros(counted, ("2023-Q4",), PLACES)
