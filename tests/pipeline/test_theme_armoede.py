"""The theme armoede: every cell against a count of the providers' own files without any SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import duckdb
import pandas as pd
import pytest
from microdata_support import Themes

YEAR = 2023
ASSET_LIMITS = (7500, 15000)
"""Of one person, of more."""


@dataclass(frozen=True)
class Household:
    """What the registers say of one household of which the income is known.

    Attributes:
        place: municipality.
        is_low: whether its income is low.
        since: first of the years running; 0 without a low income.
        n_persons: its size by the tax office.
        balance: assets minus debts, in cents.
        births: days of birth of who lived there on 1 January.
        benefits: of its members in December.
    """

    place: str
    is_low: bool
    since: int
    n_persons: int
    balance: int
    births: tuple[date, ...]
    benefits: frozenset[str]


def delivered(themes: Themes, source: str, table: str, period: str) -> pd.DataFrame:
    """A table of a delivery, all text but in Parquet."""
    (folder,) = (themes.landing / source).glob(f"{source}-{period}-final-*")
    path = next(folder.glob(f"{table}.*"))
    if path.suffix == ".parquet":
        return duckdb.read_parquet(str(path)).df()
    return pd.read_csv(path, sep=";", dtype=str, keep_default_na=False)


def cents(amount: str) -> int:
    """Two decimals after a comma."""
    return int(amount.replace(",", ""))


@pytest.fixture(scope="module")
def households(themes: Themes) -> list[Household]:
    births: dict[str, list[date]] = {}
    persons = delivered(themes, "brp", "persons", str(YEAR))
    for key, text in zip(persons["household_key"], persons["birth_date"], strict=True):
        births.setdefault(key, []).append(date.fromisoformat(text))
    taxed = delivered(themes, "tax_income", "persons", str(YEAR))
    home = dict(zip(taxed["person_key"], taxed["household_key"], strict=True))
    paid: dict[str, set[str]] = {}
    december = delivered(themes, "uwv_svb", "benefits", f"{YEAR}-12")
    for key, kind in zip(december["person_key"], december["benefit_type"], strict=True):
        paid.setdefault(home[key], set()).add(kind)
    wealth = delivered(themes, "tax_wealth", "households", str(YEAR)).set_index("household_key")
    found = []
    for row in delivered(themes, "tax_income", "households", str(YEAR)).to_dict("records"):
        key = row["household_key"]
        own = wealth.loc[key]
        found.append(
            Household(
                row["municipality_code"],
                bool(row["is_low_income"]),
                int(row["low_income_since_year"]) if row["is_low_income"] else 0,
                int(row["n_persons"]),
                cents(own["assets_eur"]) - cents(own["debts_eur"]),
                tuple(births[key]),
                frozenset(paid.get(key, ())),
            )
        )
    return found


def children(one: Household) -> int:
    """Who is under eighteen on 1 January: born later than that day eighteen years before."""
    return sum(birth > date(YEAR - 18, 1, 1) for birth in one.births)


def may_have_right(one: Household) -> bool:
    ages = [YEAR - birth.year for birth in one.births]
    return (
        one.is_low
        and not one.benefits
        and any(18 <= age < 67 for age in ages)
        and max(ages) < 67
        and one.balance <= 100 * ASSET_LIMITS[one.n_persons > 1]
    )


def by_place(
    households: Iterable[Household], count: Callable[[Household], int]
) -> list[tuple[str, int]]:
    found: Counter[str] = Counter()
    for one in households:
        found[one.place] += count(one)
    return sorted(found.items())


Count = Callable[[Household], int]
SHARES: dict[str, tuple[Count, Count]] = {
    "long_low_income_households": (lambda h: h.is_low and h.since <= YEAR - 3, lambda h: True),
    "children_low_income": (lambda h: h.is_low * children(h), children),
    "assistance_households": (lambda h: "participatiewet" in h.benefits, lambda h: True),
    "debts_above_assets_households": (lambda h: h.balance < 0, lambda h: True),
    "low_income_without_benefit": (may_have_right, lambda h: h.is_low),
}
"""What each share counts, and of what."""


@pytest.mark.parametrize("share", SHARES)
def test_every_cell_is_what_the_deliveries_hold(
    themes: Themes, households: list[Household], share: str
) -> None:
    counted, whole = (by_place(households, count) for count in SHARES[share])
    assert len(counted) == 2
    assert all(0 < n < m for (_, n), (_, m) in zip(counted, whole, strict=True))
    mart = themes.catalogue.marts[f"mart_armoede__{share}_pct"]
    assert themes.rows(
        "select region_code, reference_period, numerator, denominator, value, is_missing "
        f"from {mart.name} order by all"
    ) == [
        (place, str(YEAR), n, m, 100 * n / m, False)
        for (place, n), (_, m) in zip(counted, whole, strict=True)
    ]
    if mart.of is not None:
        ((dimension, category),) = mart.of.numerator.items()
        cells = (
            f"select region_code, sum(value) filter ({dimension} = '{category}'), sum(value), "
            f"count(*) from mart_armoede__{mart.of.indicator} group by 1 order by 1"
        )
        assert themes.rows(cells) == [
            (place, n, m, 2) for (place, n), (_, m) in zip(counted, whole, strict=True)
        ]


def test_persons_on_assistance_are_those_of_december(themes: Themes) -> None:
    december = delivered(themes, "uwv_svb", "benefits", f"{YEAR}-12")
    assisted = december[december["benefit_type"] == "participatiewet"]
    found = assisted.groupby("municipality_code")["person_key"].nunique()
    assert themes.rows(
        "select region_code, reference_period, value, denominator "
        "from mart_armoede__persons_on_assistance order by all"
    ) == [(place, str(YEAR), n, None) for place, n in sorted(found.items())]
    assert len(found) == 2


def test_low_income_has_parts_that_fit_into_it(themes: Themes) -> None:
    """Long-term and without a benefit are part of it; children with it are of its households."""
    whole = dict(themes.rows("select region_code, value from mart_armoede__low_income_households"))
    long = dict(
        themes.rows(
            "select region_code, numerator from mart_armoede__long_low_income_households_pct"
        )
    )
    of_children = dict(
        themes.rows(
            "select region_code, n_contributors from mart_armoede__children_by_low_income "
            "where household_income = 'low'"
        )
    )
    without = themes.rows(
        "select region_code, numerator, denominator "
        "from mart_armoede__low_income_without_benefit_pct"
    )
    assert len(without) == 2
    for place, n_without, n_looked_at in without:
        assert 0 < n_without < n_looked_at <= whole[place]
        assert 0 < long[place] < whole[place]
        assert 0 < of_children[place] < whole[place]
