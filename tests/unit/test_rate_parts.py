"""The tables of counts behind a rate: what they are called, and what was said of them before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from support import PROJECT
from zicht.catalogue import Mart
from zicht.disclosure.policies import Kind, load_policies
from zicht.disclosure.protecting import Released
from zicht.disclosure.wall import PARTS, SHARE, Output, protect
from zicht.refresh.tables import (
    MartTable,
    Regions,
    breakdown_keys,
    part_id,
    parts_of,
    published_before,
    release_rows,
)
from zicht.releases.register import Entry

PLACES = ("GM0001", "GM0002", "GM0003")
COMMON = {
    "vintage": "v",
    "geo_year": 2025,
    "known_at": pd.Timestamp("2025-01-01", tz="UTC"),
    "lag_days": 1,
    "is_provisional": False,
    "is_estimated": False,
}


def table_of(unit: str, counted: list[int], whole: list[int]) -> MartTable:
    """A rate in the three municipalities of a province, which is the country."""
    meta = {"id": "a_rate", "theme": "t", "kind": "rates", "unit": {"code": unit}, "factor": 100}
    cells = pd.DataFrame(
        {
            "region_code": PLACES,
            "numerator": counted,
            "denominator": whole,
            "province_code": "PV01",
            "country_code": "NL01",
        }
    )
    policy = load_policies(PROJECT / "expectations" / "policies")["default"]
    mart = Mart("mart_t__a_rate", (), "", "", {**meta, "decimals": 1})
    return MartTable(mart, policy, "2024", cells, COMMON, (), ("province",))


@pytest.fixture
def regions() -> Regions:
    codes = [*PLACES, "PV01", "NL01"]
    levels = ["municipality"] * 3 + ["province", "country"]
    frame = pd.DataFrame({"region_code": codes, "region_level": levels, "province_code": "PV01"})
    return Regions(2025, frame)


def passed(table: MartTable, *, is_share: bool, released: Any = ()) -> Any:
    return protect(
        Output(
            table.name,
            Kind.RATES,
            table.policy,
            table.cells,
            table.axes,
            per=100.0,
            decimals=1,
            is_share=is_share,
        ),
        released,
    )


def entry_of(folder: Path, table: MartTable, parts: dict[str, pd.DataFrame], own: Regions) -> Entry:
    """An entry of the register with what a release said of the parts of a rate."""
    rows = pd.concat(release_rows(table.part(name), one, own) for name, one in parts.items())
    rows = rows.assign(
        obs_status=rows["is_suppressed"].map({True: "Q", False: "A"}),
        conf_status=rows["is_suppressed"].map({True: "C", False: "F"}),
        obs_flags="",
    )
    frame = own.frame.assign(geo_year=2025)
    path = folder / "published.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.register("rows", rows.drop(columns="explanation"))
        connection.register("frame", frame)
        connection.execute("create table observations as select * from rows")
        connection.execute("create table regions as select * from frame")
    protection = {table.part(name).name: table.part(name).digest() for name in parts}
    return Entry("r", "2025-01-01", 2025, path, protection)


def layer(table: MartTable, entry: Entry) -> Released:
    """What the entry says of the table behind a share, as the wall takes it."""
    part = table.part(SHARE)
    (before,) = published_before(part, [entry])
    keys = [breakdown_keys(text, part.dimensions) for text in before.cells["breakdown"]]
    own = {name: [key[name] for key in keys] for name in part.dimensions}
    return Released.read(before.cells.drop(columns="breakdown").assign(**own), before.structure)


def test_a_percentage_has_one_table_behind_it() -> None:
    share, density = (table_of(unit, [1] * 3, [2] * 3) for unit in ("pct", "per_10000_dwellings"))
    assert parts_of(share.mart) == (SHARE,)
    assert parts_of(density.mart) == PARTS
    part = share.part(SHARE)
    assert part.name == "a_rate.parts@2024"
    assert part.dimensions == ("numerator",)
    assert not parts_of(part.mart)
    assert share.digest() != density.digest()


def test_what_was_hidden_of_the_rest_stays_hidden(tmp_path: Path, regions: Regions) -> None:
    """Seven of sixty were not; of sixty-four later eleven are not, which four more would tell."""
    first = table_of("pct", [53, 700, 800], [60, 1000, 1000])
    parts = passed(first, is_share=True).parts
    entry = entry_of(tmp_path, first, parts, regions)
    later = table_of("pct", [53, 700, 800], [64, 1000, 1000])
    alone = dict(passed(later, is_share=True).cells[["region_code", "obs_status"]].values)
    assert set(alone.values()) == {"A"}
    beside = passed(later, is_share=True, released={SHARE: [layer(later, entry)]}).cells
    assert "GM0001" in set(beside.loc[beside["obs_status"] == "Q", "region_code"])


def test_parts_of_a_share_that_were_apart_count_as_one_table(
    tmp_path: Path, regions: Regions
) -> None:
    """Releases from before hid no complement: it was given away, and is hidden from now on."""
    table = table_of("pct", [57, 400, 30], [60, 1000, 100])
    before = passed(table, is_share=False)
    assert set(before.cells["obs_status"]) == {"A"}
    entry = entry_of(tmp_path, table, dict(before.parts), regions)
    assert set(entry.protection) == {f"{part_id('a_rate', part)}@2024" for part in PARTS}
    (laid,) = published_before(table.part(SHARE), [entry])
    cells = laid.cells.set_index(["region_code", "breakdown"])["value"]
    assert cells["GM0001", "numerator=with"] == 57
    assert cells["GM0001", "total"] == 60
    assert pd.isna(cells["GM0001", "numerator=without"])
    now = passed(table, is_share=True, released={SHARE: [layer(table, entry)]})
    assert "GM0001" in set(now.cells.loc[now.cells["obs_status"] == "Q", "region_code"])
