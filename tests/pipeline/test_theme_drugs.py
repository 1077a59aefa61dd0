"""The theme drugs: every cell against a count of the providers' own files without any SQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import product

import pandas as pd
import pytest
from microdata_support import Themes, quarters

YEAR = 2023
QUARTERS = [str(period) for period in quarters(f"{YEAR}-Q1", 4)]
AGES = ("under_18", "from_18_to_24", "from_25")
PLACES = ("own_municipality", "elsewhere")
DISPOSALS = ("acquittal", "community_service", "conviction", "dismissal", "penalty_order")

Row = Mapping[str, str]


def delivered(themes: Themes, source: str, table: str, *periods: str) -> Iterator[Row]:
    """The rows of a table in the deliveries of some periods, in order of time."""
    for period in periods:
        (folder,) = (themes.landing / source).glob(f"{source}-{period}-final-*")
        path = next(folder.glob(f"{table}.*"))
        # No text with accents is looked at, so one encoding serves all providers.
        frame = pd.read_csv(path, sep=";", dtype=str, encoding="latin-1", keep_default_na=False)
        yield from frame.to_dict("records")


@pytest.fixture(scope="module")
def people(themes: Themes) -> dict[str, Row]:
    """Who was registered on 1 January, by key."""
    return {row["person_key"]: row for row in delivered(themes, "brp", "persons", str(YEAR))}


@pytest.fixture(scope="module")
def places(people: dict[str, Row]) -> list[str]:
    """The municipalities that are covered; none of them changed since."""
    found = sorted({row["municipality_code"] for row in people.values()})
    assert len(found) == 2
    return found


def records_by_person(themes: Themes, *periods: str) -> dict[str, list[Row]]:
    """Per suspect the records, the last one last."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in delivered(themes, "police_suspects", "suspects", *periods):
        found[row["person_key"]].append(row)
    return {key: sorted(rows, key=lambda row: row["recorded_on"]) for key, rows in found.items()}


def born(people: dict[str, Row], person: str) -> date:
    text = people[person]["birth_date"]
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def age(people: dict[str, Row], person: str, on: date) -> int:
    """In whole years."""
    birth = born(people, person)
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def test_a_suspect_is_one_where_last_recorded_and_at_home_if_ever(
    themes: Themes, people: dict[str, Row], places: list[str]
) -> None:
    cells: Counter[tuple[str, ...]] = Counter()
    from_elsewhere: Counter[str] = Counter()
    for person, records in records_by_person(themes, *QUARTERS).items():
        scenes = {(row["offence_municipality_code"], row["municipality_code"]) for row in records}
        years = age(people, person, date(YEAR, 12, 31))
        group = AGES[(years >= 18) + (years >= 25)]
        place = PLACES[not any(scene == home for scene, home in scenes)]
        cells[records[-1]["municipality_code"], place, group] += 1
        from_elsewhere.update({scene for scene, home in scenes if scene != home})
    assert themes.rows(
        "select region_code, offence_place, age_group, value, n_contributors, is_missing "
        "from mart_drugs__suspects_by_offence_place order by all"
    ) == sorted((*key, cells[key], cells[key], False) for key in product(places, PLACES, AGES))
    shares = {
        place: tuple(
            sum(n for key, n in cells.items() if key[0] == place and key[1] in chosen)
            for chosen in (PLACES[1:], PLACES)
        )
        for place in places
    }
    assert themes.rows(
        "select region_code, numerator, denominator, n_contributors, value "
        "from mart_drugs__suspects_elsewhere_pct order by all"
    ) == [(place, n, whole, whole, 100 * n / whole) for place, (n, whole) in shares.items()]
    assert all(0 < n < whole for n, whole in shares.values())
    assert themes.rows(
        "select region_code, value, n_contributors from mart_drugs__suspects_from_elsewhere "
        "order by all"
    ) == [(place, from_elsewhere[place], from_elsewhere[place]) for place in places]


def test_first_time_suspects_were_none_in_the_eight_quarters_before(
    themes: Themes, people: dict[str, Row], places: list[str]
) -> None:
    """Only the last quarter has two years before it, here as in the mart."""
    earlier, now = [str(period) for period in quarters("2021-Q4", 8)], QUARTERS[-1]
    before = set(records_by_person(themes, *earlier))
    cells: Counter[tuple[str, str]] = Counter()
    again = 0
    for person, records in records_by_person(themes, now).items():
        if 10 <= age(people, person, date(YEAR, 12, 31)) <= 23:
            again += person in before
            sex = {"1": "men", "2": "women"}[people[person]["sex"]]
            cells[records[-1]["municipality_code"], sex] += person not in before
    assert again
    assert sum(cells.values()) > again
    assert themes.rows(
        "select reference_period, region_code, sex, value, n_contributors "
        "from mart_drugs__first_time_suspects order by all"
    ) == sorted((now, *key, cells[key], cells[key]) for key in product(places, ("men", "women")))


def test_settled_drug_cases_end_as_delivered(themes: Themes, places: list[str]) -> None:
    cells: Counter[tuple[str, ...]] = Counter()
    persons: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for quarter in QUARTERS:
        for row in delivered(themes, "om_cases", "cases", quarter):
            if row["offence_group"] == "drugs":
                key = quarter, row["municipality_code"], row["disposal_type"]
                cells[key] += 1
                persons[key].add(row["person_key"])
    assert len(cells) > len(QUARTERS)
    assert themes.rows(
        "select reference_period, region_code, disposal_type, value, n_contributors "
        "from mart_drugs__settled_drug_cases order by all"
    ) == sorted(
        (*key, cells[key], len(persons[key])) for key in product(QUARTERS, places, DISPOSALS)
    )


def test_parts_of_the_rates_are_as_delivered(
    themes: Themes, people: dict[str, Row], places: list[str]
) -> None:
    pupils = {row["person_key"]: row for row in delivered(themes, "duo", "enrolments", str(YEAR))}
    young: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for person, records in records_by_person(themes, *QUARTERS).items():
        years = age(people, person, date(YEAR, 12, 31))
        if person in pupils and 12 <= years <= 22:
            place = records[-1]["municipality_code"]
            young[place] += 1
            left[place] += pupils[person]["is_early_leaver"].lower() in ("true", "1")
    assert sum(left.values())
    assert themes.rows(
        "select region_code, numerator, denominator, n_contributors "
        "from mart_drugs__suspects_early_leavers_pct order by all"
    ) == [(place, left[place], young[place], young[place]) for place in places]
    sites = Counter(
        row["municipality_code"] for row in delivered(themes, "cannabis_sites", "sites", *QUARTERS)
    )
    assert sum(sites.values()) >= len(QUARTERS)
    assert themes.rows(
        "select region_code, numerator from mart_drugs__cleared_sites_per_10000_dwellings "
        "order by all"
    ) == [(place, sites[place]) for place in places]
