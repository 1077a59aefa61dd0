"""Coverage from synthetic deliveries: what the marts count is what the providers' files hold."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping

import duckdb
import pytest
from microdata_support import Themes

from support import PROJECT, silent
from zicht.contracts import load_contracts
from zicht.disclosure.policies import load_policies
from zicht.refresh.coverage import coverage_rows
from zicht.refresh.tables import read_regions

RIGHTS = load_contracts(PROJECT / "expectations" / "contracts")["kadaster"].table("rights")


def delivered(themes: Themes, source: str, period: str, table: str) -> Iterator[Mapping[str, str]]:
    """The rows of a provider's own file, all text, read without any of the project's SQL."""
    (folder,) = (themes.landing / source).glob(f"{source}-{period}-final-*")
    path = next(folder.glob(f"{table}.*"))
    if path.suffix == ".parquet":
        yield from duckdb.read_parquet(str(path)).df().astype(str).to_dict("records")
        return
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    else:
        content = path.read_bytes()
    lines = content.decode("windows-1252").splitlines()
    if path.suffix == ".txt":
        places = [(column.name, column.position) for column in RIGHTS.columns]
        for line in lines:
            yield {name: line[at[0] - 1 : at[0] - 1 + at[1]].strip() for name, at in places if at}
        return
    yield from csv.DictReader(lines, delimiter=";")


def counted(themes: Themes, name: str, period: str) -> dict[str, float]:
    """What a coverage mart holds for a period, per municipality."""
    return dict(
        themes.rows(
            f"select region_code, value from mart_coverage__{name} "
            f"where reference_period = '{period}'"
        )
    )


@pytest.mark.parametrize(
    ("name", "source", "period", "table"),
    [
        ("brp_persons", "brp", "2023", "persons"),
        ("tax_income_persons", "tax_income", "2023", "persons"),
        ("nhr_establishments", "nhr", "2023-Q4", "establishments"),
        ("police_suspects_registrations", "police_suspects", "2023-Q4", "suspects"),
    ],
)
def test_every_row_delivered_is_counted_where_it_lies(
    themes: Themes, name: str, source: str, period: str, table: str
) -> None:
    rows = delivered(themes, source, period, table)
    expected = Counter(row["municipality_code"] for row in rows)
    found = counted(themes, name, period)
    assert len(found) == 2
    assert found == {code: float(expected[code]) for code in found}
    assert all(expected[code] > 0 for code in found)


def test_dwellings_with_an_owner_are_known_from_two_registers(themes: Themes) -> None:
    dwellings = {
        row["premises_key"]
        for row in delivered(themes, "bag_woz", "2023", "premises")
        if row["use_code"] == "dwelling"
    }
    owned = {
        row["premises_key"]: row["municipality_code"]
        for row in delivered(themes, "kadaster", "2023-Q4", "rights")
    }
    expected = Counter(code for key, code in owned.items() if key in dwellings)
    assert len(owned) > sum(expected.values()) > 0
    assert counted(themes, "kadaster_dwellings", "2023-Q4") == dict(expected)


def test_the_table_shows_persons_as_they_were_delivered_and_no_suspects(themes: Themes) -> None:
    database = str(themes.home / "warehouse.duckdb")
    with duckdb.connect(database, read_only=True) as warehouse:
        rows = coverage_rows(
            warehouse,
            themes.catalogue,
            load_policies(PROJECT / "expectations" / "policies"),
            read_regions(warehouse, "dim_regions", 2025),
            silent,
        )
    assert not set(rows["source"]) & {"police_suspects", "om_cases", "cannabis_sites"}
    assert {"bag_woz", "brp", "duo", "kadaster", "nhr", "rdw", "tax_income"} <= set(rows["source"])
    persons = rows[(rows["source"] == "brp") & (rows["reference_period"] == "2023")]
    assert len(persons) == 2
    assert persons["coverage_pct"].between(98, 102).all()
    assert not persons["is_below_limit"].any()
