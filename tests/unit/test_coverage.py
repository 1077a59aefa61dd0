"""Coverage: shares of what is expected, what lies below a limit, and what leaves the wall."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml

from support import PROJECT, silent
from zicht.catalogue import Catalogue, Mart
from zicht.coverage import COLUMNS, low_coverage, with_shares
from zicht.disclosure.policies import load_policies
from zicht.errors import ConfigurationError, DisclosureError
from zicht.refresh.coverage import coverage_rows, expected_query, write_coverage
from zicht.refresh.tables import read_regions

POLICIES = load_policies(PROJECT / "expectations" / "policies")
FLEVOLAND = ("GM0034", "GM0050", "GM0171", "GM0184", "GM0303", "GM0995")
MARTS = PROJECT / "dbt_project" / "models" / "marts" / "coverage"


def counts(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    names = ["reference_period", "region_code", "n_delivered", "n_expected"]
    return pd.DataFrame(rows, columns=names)


class TestShares:
    def test_against_the_frame_and_the_period_before(self) -> None:
        rows = with_shares(
            counts(
                ("2023-Q4", "GM0001", 4000, 5000),
                ("2024-Q1", "GM0001", 4400, 5000),
                ("2024-Q3", "GM0001", 4400, 5000),
            ),
            85,
        )
        assert rows["coverage_pct"].tolist() == [80.0, 88.0, 88.0]
        before = rows["before_pct"].tolist()
        assert math.isnan(before[0])
        assert before[1] == 110.0
        assert math.isnan(before[2]), "the second quarter was not delivered"
        assert rows["is_below_limit"].tolist() == [True, False, False]

    @pytest.mark.parametrize(
        ("delivered", "expected"), [(400, 999), (400, math.nan), (math.nan, 5000)]
    )
    def test_no_share_of_few_or_of_nothing_known(self, delivered: float, expected: float) -> None:
        rows = with_shares(counts(("2024", "GM0001", delivered, expected)), 90)
        assert rows["coverage_pct"].isna().all()
        assert not rows["is_below_limit"].any()

    def test_without_a_frame_the_limit_holds_against_the_period_before(self) -> None:
        rows = with_shares(
            counts(
                ("2023", "GM0001", 2000, math.nan),
                ("2024", "GM0001", 1400, math.nan),
                ("2024", "GM0002", 1400, math.nan),
            ),
            75,
        )
        assert rows["is_below_limit"].tolist() == [False, True, False]
        assert not with_shares(rows[list(counts().columns)], None)["is_below_limit"].any()

    def test_low_coverage_names_municipalities_only(self) -> None:
        rows = with_shares(
            counts(("2024", "GM0001", 4000, 5000), ("2024", "PV20", 4000, 5000)), 90
        ).assign(source="brp")
        assert rows["is_below_limit"].all()
        assert low_coverage(rows) == {("brp", "2024", "GM0001")}


def mart(name: str, **declared: Any) -> Mart:
    meta: dict[str, Any] = {
        "source": "brp",
        "unit": {"code": "persons", "nl": "personen", "en": "persons"},
        "frame": "population",
        "limit_pct": 90,
        "policy": "coverage",
        "id": name,
        "theme": "coverage",
        "kind": "counts",
        "factor": 1,
        "decimals": 0,
        "sources": ["brp"],
        **declared,
    }
    return Mart(f"mart_coverage__{name}", (), "", "", meta)


def catalogue(*marts: Mart) -> Catalogue:
    return Catalogue({}, {one.name: one for one in marts}, (), ())


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    """Two years of a province of six; the second has a municipality that is half delivered."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    places = ", ".join(f"('{code}', {n})" for n, code in enumerate(FLEVOLAND))
    connection.execute(
        f"create table places as from (values {places}) as one (region_code, n); "
        "create table dim_regions as select region_code, 'municipality' as region_level, "
        "region_code as name, 2025 as geo_year, 'PV24' as province_code, 'CR40' as corop_code, "
        "'VR25' as safety_region_code, 'LD03' as landsdeel_code, 10000 as population_1jan "
        "from places union all select 'PV24', 'province', 'Flevoland', 2025, 'PV24', null, null, "
        "null, 60000 union all select 'GM0363', 'municipality', 'Amsterdam', 2025, 'PV27', "
        "'CR23', 'VR13', 'LD03', 900000; "
        "create table dim_population as select region_code, y as reference_year, "
        "10000.0 + n as population_1jan, false as is_estimated "
        "from places, (values (2023), (2024)) as years (y); "
        "create table mart_coverage__persons as select region_code, "
        "'municipality' as region_level, 2025 as geo_year, cast(y as varchar) as reference_period, "
        "'v' || y as vintage, null::double as denominator, "
        "case when y = 2024 and n = 5 then null when y = 2024 and n = 0 then 8123 "
        "else 10003 + n end::double as value, value as numerator, "
        "value::bigint as n_contributors, false as is_provisional, false as is_estimated, "
        "value is null as is_missing, timestamptz '2025-01-02 09:00:00+00' as known_at, "
        "30 as lag_days from places, (values (2023), (2024)) as years (y)"
    )
    return connection


def rows_of(connection: duckdb.DuckDBPyConnection, *marts: Mart) -> pd.DataFrame:
    regions = read_regions(connection, "dim_regions", 2025)
    return coverage_rows(connection, catalogue(*marts), POLICIES, regions, silent)


class TestRows:
    def test_counts_are_rounded_and_shares_follow_from_them(
        self, warehouse: duckdb.DuckDBPyConnection
    ) -> None:
        rows = rows_of(warehouse, mart("persons"))
        assert tuple(rows.columns) == COLUMNS
        found = rows.set_index(["reference_period", "region_code"])
        assert found.loc[("2024", "GM0034"), "n_delivered"] == 8100
        assert found.loc[("2024", "GM0034"), "coverage_pct"] == 81.0
        assert found.loc[("2024", "GM0034"), "before_pct"] == 81.0
        assert found.loc[("2023", "PV24"), ["n_expected", "n_delivered"]].tolist() == [60015, 60000]
        assert (rows["n_delivered"].dropna() % 100 == 0).all()
        assert low_coverage(rows) == {("brp", "2024", "GM0034")}

    def test_what_was_delivered_in_part_is_empty_and_in_no_sum(
        self, warehouse: duckdb.DuckDBPyConnection
    ) -> None:
        rows = rows_of(warehouse, mart("persons")).set_index(["reference_period", "region_code"])
        assert pd.isna(rows.loc[("2024", "GM0995"), "n_delivered"])
        assert not rows.loc[("2024", "GM0995"), "is_below_limit"]
        assert ("2024", "PV24") not in rows.index
        assert not any(code == "NL01" for _, code in rows.index), "a province is not the country"

    def test_a_frame_that_is_not_there_yet_leaves_the_shares_empty(
        self, warehouse: duckdb.DuckDBPyConnection
    ) -> None:
        frame = mart("frame_measures", policy="none", frame="none")
        own = mart("persons", frame="dwellings")
        assert rows_of(warehouse, own, frame)["n_expected"].isna().all()
        warehouse.execute(
            "create table mart_coverage__frame_measures as select region_code, "
            "'2024' as reference_period, 5000.0 as n_dwellings from places"
        )
        rows = rows_of(warehouse, own, frame)
        by_period = rows.groupby("reference_period")["n_expected"].max()
        assert pd.isna(by_period["2023"])
        assert by_period["2024"] == 5000

    def test_what_is_for_gate_3_alone_is_not_published(
        self, warehouse: duckdb.DuckDBPyConnection
    ) -> None:
        assert rows_of(warehouse, mart("persons", policy="none")).empty

    @pytest.mark.parametrize(
        ("declared", "kind", "code"),
        [
            ({"policy": "gone"}, ConfigurationError, "Z-CFG-056"),
            ({"policy": "default"}, DisclosureError, "Z-DIS-070"),
            ({"frame": "no frame"}, ConfigurationError, "Z-CFG-058"),
        ],
    )
    def test_a_wrong_definition_is_an_error(
        self,
        warehouse: duckdb.DuckDBPyConnection,
        declared: Mapping[str, str],
        kind: type[Exception],
        code: str,
    ) -> None:
        with pytest.raises(kind, match=code):
            rows_of(warehouse, mart("persons", **declared))

    def test_equal_rows_equal_bytes_and_the_same_types_when_empty(
        self, warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        rows = rows_of(warehouse, mart("persons"))
        files = [tmp_path / f"{name}.parquet" for name in ("a", "b", "empty")]
        write_coverage(warehouse, rows, files[0])
        write_coverage(warehouse, rows.sample(frac=1, random_state=1), files[1])
        write_coverage(warehouse, rows_of(warehouse), files[2])
        assert files[0].read_bytes() == files[1].read_bytes()
        types = [warehouse.execute(f"describe from '{path}'").fetchall() for path in files]
        assert types[0] == types[2]


def test_every_frame_that_a_mart_names_is_one() -> None:
    """A frame with a typing error would expect nothing anywhere."""
    frames = {"none", "population"}
    declared = {}
    for path in sorted(MARTS.glob("*.yml")):
        (model,) = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        declared[model["name"]] = model["config"]["meta"]["coverage"]
        if "__frame_" in model["name"]:
            named = [column["name"] for column in model["columns"]]
            frames |= {name.removeprefix("n_") for name in named if name.startswith("n_")}
    assert len(declared) >= 10
    assert {meta["frame"] for meta in declared.values()} <= frames
    for name, meta in declared.items():
        assert meta["policy"] in {*POLICIES, "none"}, name
        assert re.fullmatch(rf"mart_coverage__(frame_\w+|{meta['source']}_\w+)", name)
        # Registers of suspects, cases and sites are few and sensitive: nothing of them here.
        if meta["source"] in ("police_suspects", "om_cases", "cannabis_sites"):
            assert meta["policy"] == "none"


def test_the_query_of_a_frame_has_its_columns(warehouse: duckdb.DuckDBPyConnection) -> None:
    for frame in ("none", "population", "dwellings"):
        query = expected_query(warehouse, catalogue(), frame)
        names = [row[0] for row in warehouse.execute(f"describe {query}").fetchall()]
        assert names == ["region_code", "reference_year", "n_expected"]
