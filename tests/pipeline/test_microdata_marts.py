"""Figures from microdata: synthetic deliveries through intake, plan, real dbt and gate 3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dbt_support
import duckdb
import pytest
from microdata_support import accept

from support import PROJECT, settings_at, silent
from zicht.agreements import load_agreements
from zicht.catalogue import Catalogue, read_catalogue
from zicht.clock import format_moment
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.deliveries.ledger import Record
from zicht.gates.model import ROWS
from zicht.gates.suites import load_suites
from zicht.periods import Period
from zicht.synthetic import (
    Options,
    load_geography,
    plan_deliveries,
    scope_of,
    synthesise,
)
from zicht.vintages import make_plan

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
LONE, MERGED, PARTS = "GM1695", "GM1991", ("GM1685", "GM0856")
"""A municipality by itself, and one made of two on 1 January 2022."""
ENTITIES = "mart_rechtspersonen__legal_entities_by_directors"
HOUSEHOLDS = "mart_armoede__low_income_households"
SHARE = "mart_armoede__low_income_households_pct"
BUILT = (ENTITIES, HOUSEHOLDS, SHARE)
CUBES = {
    "nhr": ("cube_rechtspersonen__legal_entities", (ENTITIES,)),
    "tax_income": ("cube_armoede__low_income", (HOUSEHOLDS, SHARE)),
}
QUARTERS = ("2021-Q4", "2022-Q1")
FORMS = ("bv", "nv", "stichting", "vereniging")
DIRECTORS = ("none", "one", "three_or_more", "two")


@dataclass(frozen=True)
class Home:
    """An installation whose microdata marts were built by real dbt.

    Attributes:
        folder: ``$ZICHT_HOME``.
        run: of dbt.
        delivered: what the providers' own files say, counted before intake:
            ``entities`` (quarter, legal form, directors, place, number) and ``households`` (place,
            number with a low income, number), places on the division of 2022 and later.
        records: of the deliveries.
        catalogue: of the project.
    """

    folder: Path
    run: dbt_support.DbtRun
    delivered: Mapping[str, list[tuple[Any, ...]]]
    records: list[Record]
    catalogue: Catalogue

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of the warehouse."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as warehouse:
            return warehouse.execute(sql).fetchall()

    def compiled(self, cube: str) -> str:
        """The SQL of a cube as dbt ran it."""
        folder = self.run.target / "compiled" / "zicht" / "models" / "cubes"
        return next(folder.rglob(f"{cube}.sql")).read_text(encoding="utf-8")


def count_delivered(landing: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Counts the files in landing without any of the project's SQL."""
    with duckdb.connect() as engine:
        engine.execute(
            f"create macro place(code) as if(code in {PARTS}, '{MERGED}', code); "
            "create macro csv(name) as table "
            f"from read_csv('{landing}/nhr/*/' || name || '.csv', delim = ';', all_varchar = true, "
            "filename = true)"
        )
        entities = engine.execute(
            "with d as (select regexp_extract(filename, '[0-9]{4}-Q[1-4]') as q, entity_key, "
            "len(list_distinct(list(director_key))) as n from csv('directors') group by all) "
            "select regexp_extract(filename, '[0-9]{4}-Q[1-4]') as q, legal_form, "
            "['none', 'one', 'two', 'three_or_more'][least(coalesce(n, 0), 3) + 1], "
            "place(municipality_code), count(*) from csv('legal_entities') as e "
            "left join d on d.q = regexp_extract(e.filename, '[0-9]{4}-Q[1-4]') "
            "and d.entity_key = e.entity_key "
            f"where coalesce(dissolved_on, '') = '' and legal_form in {FORMS} group by all"
        ).fetchall()
        households = engine.execute(
            "select place(municipality_code), count_if(is_low_income), count(*) "
            f"from read_parquet('{landing}/tax_income/*final*/households.parquet') "
            "group by all order by all"
        ).fetchall()
    return {"entities": entities, "households": households}


def plan_of(records: Sequence[Record]) -> dict[str, Any]:
    """A plan that computes and shows all that was taken in; the planner's own is compared below."""
    plan: dict[str, Any] = {"cubes": {}, "marts": {}, "staging": []}
    for period in sorted({record.reference_period for record in records}, key=str):
        own = [record for record in records if record.reference_period == period]
        cube, marts = CUBES[own[0].source]
        pair = {"reference_period": str(period), "vintage": f"{own[0].source}-{period}"}
        deliveries = [
            {"source": r.source, "id": r.id, "status": r.observation_status.value} for r in own
        ]
        plan["cubes"].setdefault(cube, []).append({**pair, "deliveries": deliveries})
        for mart in marts:
            plan["marts"].setdefault(mart, []).append(
                {
                    **pair,
                    "known_at": format_moment(NOW),
                    "lag_days": 45,
                    "cubes": {cube: pair["vintage"]},
                }
            )
    return plan


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("microdata")
    settings = settings_at(folder)
    contracts = load_contracts(settings.contracts)
    for contract in contracts.values():
        ensure_source(settings, contract)
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), 7, [LONE, MERGED])
    periods = [Period.parse(text) for text in (*QUARTERS, "2021")]
    options = Options(provisional=("tax_income",))
    wanted = plan_deliveries(contracts, tuple(CUBES), periods, NOW, options)
    assert [one.source for one in wanted] == ["nhr", "nhr", "tax_income", "tax_income"]
    folders = synthesise(settings.landing, contracts, scope, wanted, silent)
    delivered = count_delivered(settings.landing)
    records = [
        accept(folder, landed, contracts[one.source], one)
        for one, landed in zip(wanted, folders, strict=True)
    ]
    built = [f"+{model}" for model in (ENTITIES, HOUSEHOLDS, SHARE, "dim_regions")]
    run = dbt_support.dbt(
        folder,
        "build",
        *("--exclude-resource-type", "unit_test", "--indirect-selection", "cautious"),
        *("--select", *built),
        plan=plan_of(records),
    )
    assert run.returncode == 0, run.output
    return Home(folder, run, delivered, records, read_catalogue(run.manifest))


def test_every_test_of_dbt_ran_and_passed(home: Home) -> None:
    assert {result["status"] for result in home.run.results} == {"success", "pass"}
    ran = {result["unique_id"].split(".")[2] for result in home.run.results}
    assert {f"is_standard_mart_{ENTITIES}_legal_form__n_directors", HOUSEHOLDS, SHARE} <= ran
    assert sum(name.endswith("_counts_and_flags_fit") for name in ran) == 2


def test_the_planner_plans_the_same(home: Home) -> None:
    """Agreements, themes and inputs let the marts be made of these deliveries."""
    settings = settings_at(home.folder)
    made = make_plan(
        home.catalogue,
        load_contracts(settings.contracts),
        home.records,
        now=NOW,
        as_of=None,
        geo_year=2025,
        built={},
        agreements=load_agreements(settings.agreements),
    )
    shown = {
        (pair.model, str(pair.reference_period), len(pair.deliveries))
        for pair in made.marts
        if pair.model in BUILT
    }
    assert shown == {
        *((ENTITIES, quarter, 1) for quarter in QUARTERS),
        (HOUSEHOLDS, "2021", 2),
        (SHARE, "2021", 2),
    }
    assert not made.withheld


class TestLegalEntities:
    def test_every_cell_is_what_the_delivery_holds(self, home: Home) -> None:
        """Zeros included: the delivery has no rows for them, the mart has."""
        found = home.rows(
            "select reference_period, legal_form, n_directors, region_code, value, n_contributors, "
            f"numerator from {ENTITIES} order by all"
        )
        assert found
        expected = {
            (q, form, n, place): count for q, form, n, place, count in home.delivered["entities"]
        }
        assert {row[:4] for row in found} == {
            (quarter, form, directors, place)
            for quarter in QUARTERS
            for form in FORMS
            for directors in DIRECTORS
            for place in (LONE, MERGED)
        }
        for *key, value, n_contributors, numerator in found:
            count = expected.pop(tuple(key), 0)
            assert (value, n_contributors, numerator) == (count, count, count), key
        assert not expected

    def test_the_merged_municipality_is_whole_before_and_after(self, home: Home) -> None:
        parts = home.rows(
            "select reference_period, min(n_parts), max(n_parts), sum(value)::int, "
            "bool_or(is_missing) "
            f"from cube_rechtspersonen__legal_entities where region_code = '{MERGED}' "
            "group by all order by all"
        )
        assert [row[:3] for row in parts] == [("2021-Q4", 2, 2), ("2022-Q1", 1, 1)]
        assert not any(row[4] for row in parts)
        before, after = (row[3] for row in parts)
        assert after == pytest.approx(before, rel=0.05)

    def test_only_innermost_cells_with_their_columns_in_order(self, home: Home) -> None:
        described = home.rows(f"describe {ENTITIES}")
        assert [row[0] for row in described] == [
            *("region_code", "region_level", "geo_year", "reference_period", "vintage"),
            *("legal_form", "n_directors", "numerator", "denominator", "value", "n_contributors"),
            *("is_provisional", "is_estimated", "is_missing", "known_at", "lag_days"),
        ]
        kinds = {row[0]: row[1] for row in described}
        assert (kinds["value"], kinds["n_contributors"]) == ("DOUBLE", "BIGINT")
        assert home.rows(f"select distinct region_level from {ENTITIES}") == [("municipality",)]

    def test_every_breakdown_of_the_catalogue_is_in_the_mart(self, home: Home) -> None:
        for mart in map(home.catalogue.marts.__getitem__, BUILT):
            for dimension, categories in mart.breakdown.items():
                found = home.rows(f"select distinct {dimension} from {mart.name}")
                assert {value for (value,) in found} == set(categories), (mart.name, dimension)


class TestLowIncome:
    def test_the_final_delivery_is_taken_whole(self, home: Home) -> None:
        """The provisional one lacks a fiftieth of the households."""
        found = home.rows(
            "select region_code, numerator::int, denominator::int, is_provisional, "
            f"n_contributors from {SHARE} order by all"
        )
        assert found == [
            (place, low, known, False, known) for place, low, known in home.delivered["households"]
        ]
        assert len(found) == 2

    def test_count_and_share_rest_on_the_same_true_values(self, home: Home) -> None:
        counts = home.rows(
            f"select region_code, value, n_contributors from {HOUSEHOLDS} order by 1"
        )
        shares = home.rows(
            f"select region_code, numerator, value, denominator from {SHARE} order by 1"
        )
        for (place, count, contributors), (other, numerator, share, whole) in zip(
            counts, shares, strict=True
        ):
            assert (place, count, contributors) == (other, numerator, numerator)
            assert share == 100 * numerator / whole
            assert 0 < share < 100


# --- what the SQL of the cubes does with rows that no delivery here has ---------------------------


@pytest.fixture
def bench(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables that the cubes read, with rows of the tests' own."""
    planned = home.rows(
        "select delivery_id, min(reference_period) from stg_tax_income__households "
        "where delivery_id like '%final%' group by all"
    )
    ((delivery, period),) = planned
    with duckdb.connect() as engine:
        engine.execute("attach ':memory:' as warehouse")
        engine.execute("use warehouse")
        engine.execute(
            f"create table households as select '{delivery}' as delivery_id, "
            f"'{period}' as reference_period, 'H1' as household_key, "
            "'GM0001' as municipality_code, true as is_low_income; "
            "create view stg_tax_income__households as from households; "
            "create table dim_recast (from_year int, from_code text, to_code text, "
            "weight double, is_estimated boolean); "
            "insert into dim_recast values (2021, 'GM0001', 'GM0001', 1, false), "
            "(2021, 'GM0788', 'GM0757', 0.5, true), (2021, 'GM0788', 'GM0824', 0.5, true); "
            "create table municipality_transitions (old_code text, new_code text, valid_from date)"
        )
        yield engine


def test_a_split_municipality_stops_the_query(home: Home, bench: duckdb.DuckDBPyConnection) -> None:
    query = home.compiled("cube_armoede__low_income")
    columns = "region_code, measure, value"
    assert bench.execute(f"select {columns} from ({query}) order by measure").fetchall() == [
        ("GM0001", "n_households_known_income", 1.0),
        ("GM0001", "n_low_income_households", 1.0),
    ]
    bench.execute(
        "insert into households select * replace ('GM0788' as municipality_code) from households"
    )
    with pytest.raises(duckdb.Error, match="Z-CFG-036: municipality GM0788 of 2021"):
        bench.execute(query)


def test_a_category_that_is_not_declared_stops_the_query(
    home: Home, bench: duckdb.DuckDBPyConnection
) -> None:
    query = home.compiled("cube_rechtspersonen__legal_entities")
    ((delivery,),) = home.rows(
        "select distinct delivery_id from stg_nhr__directors where reference_period = '2021-Q4'"
    )
    bench.execute(
        "create table stg_nhr__directors (delivery_id text, reference_period text, "
        "entity_key text, director_key text); "
        f"create table stg_nhr__legal_entities as select '{delivery}' as delivery_id, "
        "'2021-Q4' as reference_period, 'E1' as entity_key, 'GM0001' as municipality_code, "
        "'bv' as legal_form, cast(null as date) as dissolved_on"
    )
    assert bench.execute(f"select sum(value), count(*) from ({query})").fetchall() == [(1.0, 16)]
    query = re.sub(r"in \('stichting', 'vereniging', 'bv', 'nv'\)(\s+then)", r"in ('nv')\1", query)
    with pytest.raises(duckdb.Error, match="declare this category of legal_form: bv"):
        bench.execute(query)


@pytest.mark.parametrize("cube", [cube for cube, _ in CUBES.values()])
def test_the_sql_belongs_to_no_engine(home: Home, cube: str) -> None:
    """But for what stops a query, which is a macro with one version per engine."""
    sql = re.sub(r"'[^']*'|--.*", "", home.compiled(cube))
    functions = set(re.findall(r"\b([a-z_]+)\(", sql))
    assert functions <= {"cast", "coalesce", "count", "error", "extract", "substring"}
    for word in ("::", " exclude", " replace", "qualify", "filter", "group by all", "varchar"):
        assert word not in sql, word


# --- gate 3 ---------------------------------------------------------------------------------------


@pytest.fixture
def checks(home: Home, tmp_path: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Any]]:
    """A copy of the marts, and a function that says which rules of gate 3 their rows break."""
    marts = {name: home.catalogue.marts[name] for name in (ENTITIES, HOUSEHOLDS, SHARE)}
    columns = {name: [row[0] for row in home.rows(f"describe {name}")] for name in marts}
    suites = load_suites(
        PROJECT / "expectations/suites/gate_3.yaml",
        relations=list(marts),
        parameters={
            "indicators": {name: dict(mart.indicator) for name, mart in marts.items()},
            "cubes": {},
            "columns": columns,
            "geo_year": 2025,
        },
    )
    with duckdb.connect() as engine:
        engine.execute(f"attach '{home.folder / 'warehouse.duckdb'}' as w (read_only)")
        for name in (*marts, "dim_regions"):
            engine.execute(f"create table {name} as from w.{name}")
        engine.execute("detach w")

        def broken() -> set[tuple[str, str]]:
            found = set()
            for suite in suites:
                for check in suite.checks:
                    if check.expectation == ROWS and check.name != "municipalities_complete":
                        assert check.sql is not None
                        if engine.execute(check.sql).fetchall():
                            found.add((suite.relation, check.name))
            return found

        yield engine, broken


CELL = f"region_code = '{LONE}' and reference_period = '2021-Q4' and legal_form = 'bv'"
PLANTED = {
    "zero left out": (
        ENTITIES,
        f"delete from {ENTITIES} where {CELL} and n_directors = 'none'",
        {"innermost_complete"},
    ),
    "other category": (
        ENTITIES,
        f"update {ENTITIES} set n_directors = 'four' where {CELL} and n_directors = 'none'",
        {"innermost_complete"},
    ),
    "total in the mart": (
        ENTITIES,
        f"update {ENTITIES} set region_level = 'country', region_code = 'NL01' "
        f"where region_code = '{LONE}'",
        {"innermost_only", "part_not_above_whole"},
    ),
    "half an entity": (
        ENTITIES,
        f"update {ENTITIES} set value = value + 0.5, numerator = numerator + 0.5 "
        f"where {CELL} and n_directors = 'one'",
        {"counts_whole"},
    ),
    "value that is not counted": (
        ENTITIES,
        f"update {ENTITIES} set value = value + 1 where {CELL} and n_directors = 'one'",
        {"counts_whole"},
    ),
    "no contributors": (
        HOUSEHOLDS,
        f"update {HOUSEHOLDS} set n_contributors = null",
        {"contributors_present"},
    ),
    "contributors of nothing": (
        ENTITIES,
        f"update {ENTITIES} set n_contributors = 1 where value = 0",
        {"contributors_present"},
    ),
    "more than all": (
        SHARE,
        f"update {SHARE} set numerator = denominator + 1",
        {"numerator_within_denominator"},
    ),
}


class TestGate3:
    def test_the_marts_pass(self, checks: tuple[duckdb.DuckDBPyConnection, Any]) -> None:
        assert checks[1]() == set()

    @pytest.mark.parametrize("what", PLANTED)
    def test_a_planted_fault_is_found(
        self, checks: tuple[duckdb.DuckDBPyConnection, Any], what: str
    ) -> None:
        relation, sql, expected = PLANTED[what]
        engine, broken = checks
        engine.execute(sql)
        assert broken() == {(relation, check) for check in expected}

    def test_the_key_has_the_columns_of_the_breakdown(self, home: Home) -> None:
        mart = home.catalogue.marts[ENTITIES]
        suites = load_suites(
            PROJECT / "expectations/suites/gate_3.yaml",
            relations=[ENTITIES],
            parameters={
                "indicators": {ENTITIES: dict(mart.indicator)},
                "cubes": {},
                "columns": {ENTITIES: []},
                "geo_year": 2025,
            },
        )
        checks = [check for suite in suites for check in suite.checks]
        (key,) = [one for one in checks if one.name == "one_row_per_region_and_period"]
        assert key.kwargs["column_list"] == [
            *("region_code", "reference_period", "legal_form", "n_directors")
        ]
