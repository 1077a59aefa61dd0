"""The theme rechtspersonen: every cell against a count of the providers' own files without SQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from itertools import product

import duckdb
import pandas as pd
import pytest
from microdata_support import Themes

QUARTERS = ("2023-Q3", "2023-Q4")
RIGHTS = {"premises_key": (10, 20), "owner_kind": (20, 32), "owner_key": (32, 42)}
"""Where these columns stand in the land registry's file."""
GROUPS = {
    "bv": "company",
    "nv": "company",
    "stichting": "foundation_or_association",
    "vereniging": "foundation_or_association",
    "vof": "other",
    "eenmanszaak": "sole_trader",
    "other": "other",
}
SECTORS = {"car_rental": "7711", "hospitality": "56", "phone_shops": "4742", "hairdressers": "9602"}

Row = dict[str, str]


def delivered(themes: Themes, source: str, table: str, period: str) -> Iterator[Row]:
    """The rows of a table of a delivery, all text."""
    (folder,) = (themes.landing / source).glob(f"{source}-{period}-final-*")
    path = next(folder.glob(f"{table}.*"))
    if path.suffix == ".txt":
        for line in path.read_text(encoding="windows-1252").splitlines():
            yield {name: line[start:end].strip() for name, (start, end) in RIGHTS.items()}
        return
    if path.suffix == ".parquet":
        frame = duckdb.read_parquet(str(path)).df()
    else:
        frame = pd.read_csv(path, sep=";", dtype=str, keep_default_na=False)
    yield from frame.to_dict("records")


def day(text: str) -> date:
    return datetime.strptime(text, "%d-%m-%Y").date()


def standing(themes: Themes, quarter: str) -> dict[str, Row]:
    """The entities that are not dissolved, by key."""
    rows = delivered(themes, "nhr", "legal_entities", quarter)
    return {row["entity_key"]: row for row in rows if not row["dissolved_on"]}


@pytest.fixture(scope="module")
def places(themes: Themes) -> list[str]:
    """The municipalities that are covered; none of them changed since."""
    found = {row["municipality_code"] for row in standing(themes, QUARTERS[0]).values()}
    assert len(found) == 2
    return sorted(found)


def test_foundations_by_their_directors(themes: Themes, places: list[str]) -> None:
    """One director, or one with two dwellings or more, of the foundations of the municipality."""
    dwellings = {
        row["premises_key"]
        for row in delivered(themes, "bag_woz", "premises", "2023")
        if row["use_code"] == "dwelling"
    }
    for quarter in QUARTERS:
        homes: dict[str, set[str]] = defaultdict(set)
        for row in delivered(themes, "kadaster", "rights", quarter):
            if row["owner_kind"] == "person" and row["premises_key"] in dwellings:
                homes[row["owner_key"]].add(row["premises_key"])
        boards: dict[str, set[str]] = defaultdict(set)
        for row in delivered(themes, "nhr", "directors", quarter):
            boards[row["entity_key"]].add(row["director_key"])
        every: Counter[str] = Counter()
        lone: Counter[str] = Counter()
        owning: Counter[str] = Counter()
        for key, row in standing(themes, quarter).items():
            if row["legal_form"] == "stichting":
                every[row["municipality_code"]] += 1
                lone[row["municipality_code"]] += len(boards[key]) == 1
                owning[row["municipality_code"]] += any(len(homes[who]) > 1 for who in boards[key])
        for name, found in (("one_director", lone), ("home_owner", owning)):
            assert themes.rows(
                "select region_code, numerator, denominator, n_contributors, value "
                f"from mart_rechtspersonen__foundations_{name}_pct "
                f"where reference_period = '{quarter}' order by all"
            ) == [
                (place, found[place], every[place], every[place], 100 * found[place] / every[place])
                for place in places
            ]
            assert all(0 < found[place] < every[place] for place in places)


def test_the_share_with_one_director_is_made_of_published_cells(themes: Themes) -> None:
    """The same true values as in the table of counts that it is a share of."""
    mart = themes.catalogue.marts["mart_rechtspersonen__foundations_one_director_pct"]
    assert mart.of is not None
    parts = []
    for cell in (mart.of.numerator, mart.of.denominator):
        where = " and ".join(f"{dimension} = '{code}'" for dimension, code in cell.items())
        parts.append(
            f"(select sum(value) from mart_rechtspersonen__{mart.of.indicator} as whole "
            f"where {where} and whole.region_code = share.region_code "
            "and whole.reference_period = share.reference_period)"
        )
    found = themes.rows(
        f"select numerator, denominator, {', '.join(parts)} from {mart.name} as share"
    )
    assert len(found) == len(QUARTERS) * 2
    assert all(row[:2] == row[2:] for row in found)


def test_establishments_in_a_sector_per_inhabitant(themes: Themes, places: list[str]) -> None:
    inhabitants = dict(
        themes.rows(
            "select region_code, population_1jan from municipality_population where geo_year = 2023"
        )
    )
    for quarter in QUARTERS:
        there = standing(themes, quarter)
        counted: Counter[tuple[str, str]] = Counter()
        for row in delivered(themes, "nhr", "establishments", quarter):
            for sector, code in SECTORS.items():
                if row["entity_key"] in there and row["sbi_code"].startswith(code):
                    counted[sector, row["municipality_code"]] += 1
        for sector in SECTORS:
            found = themes.rows(
                "select region_code, numerator, denominator, value "
                f"from mart_rechtspersonen__{sector}_per_10000 "
                f"where reference_period = '{quarter}' order by all"
            )
            assert [row[:3] for row in found] == [
                (place, counted[sector, place], inhabitants[place]) for place in places
            ]
            assert all(row[3] == 10000 * row[1] / row[2] > 0 for row in found)


def test_what_was_short_lived_and_where_many_are_at_one_address(
    themes: Themes, places: list[str]
) -> None:
    """All categories of every municipality, zeros included."""
    for quarter in QUARTERS:
        months = range(3 * int(quarter[-1]) - 2, 3 * int(quarter[-1]) + 1)
        ended: Counter[tuple[str, str]] = Counter()
        for row in delivered(themes, "nhr", "legal_entities", quarter):
            if row["dissolved_on"]:
                begin, end = day(row["founded_on"]), day(row["dissolved_on"])
                if end.year == 2023 and end.month in months:
                    years = (
                        end.year - begin.year - ((end.month, end.day) < (begin.month, begin.day))
                    )
                    ended[row["municipality_code"], GROUPS[row["legal_form"]]] += years < 2
        assert sum(ended.values()) > 10
        assert themes.rows(
            "select region_code, form_group, value, n_contributors "
            "from mart_rechtspersonen__short_lived_entities "
            f"where reference_period = '{quarter}' order by all"
        ) == [
            (*cell, ended[cell], ended[cell])
            for cell in product(places, sorted(set(GROUPS.values())))
        ]
        seats = Counter(
            (row["municipality_code"], row["premises_key"])
            for row in standing(themes, quarter).values()
            if row["premises_key"]
        )
        shared = Counter(place for (place, _), n in seats.items() if n >= 10)
        assert shared.total() > 2
        assert themes.rows(
            "select region_code, value from mart_rechtspersonen__addresses_many_entities "
            f"where reference_period = '{quarter}' order by all"
        ) == [(place, shared[place]) for place in places]
