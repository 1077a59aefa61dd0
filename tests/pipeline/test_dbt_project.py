"""The dbt project against real figures, with real dbt in a child process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dbt_support as support
import duckdb
import pytest

YEARS = [str(year) for year in range(2013, 2025)]
MART_COLUMNS = [
    ("region_code", "VARCHAR"),
    ("region_level", "VARCHAR"),
    ("geo_year", "INTEGER"),
    ("reference_period", "VARCHAR"),
    ("vintage", "VARCHAR"),
    ("numerator", "DOUBLE"),
    ("denominator", "DOUBLE"),
    ("value", "DOUBLE"),
    ("is_provisional", "BOOLEAN"),
    ("is_estimated", "BOOLEAN"),
    ("is_missing", "BOOLEAN"),
    ("known_at", "TIMESTAMP WITH TIME ZONE"),
    ("lag_days", "INTEGER"),
]
OPTIONAL_KEYS = {"alignment", "breakdown", "model", "of", "shown_with"}
INDICATOR_KEYS = {
    "id",
    "theme",
    "label",
    "description",
    "unit",
    "numerator",
    "denominator",
    "factor",
    "decimals",
    "sources",
    "policy",
    "kind",
    "rounding_base",
    "lowest_region_level",
    "action_perspective",
    "plausible",
    "caveats",
}
CRIME_MART = "mart_drugs__registered_crime_per_1000"
needs_shared = pytest.mark.skipif(
    not support.SHARED.is_dir(), reason="the whole tables of ../shared/data are not here"
)


def rows(home: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The answer of the warehouse."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(sql, list(parameters)).fetchall()


def built(home: Path, folder: Path, periods: list[str]) -> tuple[Path, list[support.Delivery]]:
    deliveries = support.write_raw(home, folder, periods)
    run = support.dbt(home, "build", plan=support.plan_for(deliveries))
    assert run.returncode == 0, run.output
    return home, deliveries


@pytest.fixture(scope="module")
def sample(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[support.Delivery]]:
    """A home in which the sample was built; tests only read it."""
    return built(tmp_path_factory.mktemp("sample"), support.SAMPLES, [*YEARS, "2025"])


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[support.Delivery]]:
    """A home in which the whole tables were built; tests only read it."""
    return built(tmp_path_factory.mktemp("whole"), support.SHARED, [*YEARS, "2025"])


@pytest.fixture(scope="module")
def models(sample: tuple[Path, list[support.Delivery]]) -> list[dict[str, Any]]:
    manifest = support.DbtRun(0, "", sample[0] / "dbt").manifest
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


class TestSample:
    def test_everything_was_built_and_every_test_ran_and_passed(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        results = support.DbtRun(0, "", sample[0] / "dbt").results
        assert {result["status"] for result in results} == {"success", "pass"}
        kinds = [result["unique_id"].split(".")[0] for result in results]
        assert kinds.count("seed") == 4
        assert kinds.count("unit_test") >= 10
        assert kinds.count("test") >= 60

    @pytest.mark.parametrize(
        ("region", "year", "value", "is_estimated"),
        [
            ("GM0363", "2024", 83290.0, False),
            ("GM0363", "2022", 76770.0 + 805.0, False),  # Weesp is still in the division of 2022
            ("NL01", "2013", 1105565.0, False),
            ("GM1940", "2015", 1595.0, False),  # as GM1921
            ("GM1940", "2016", 1715.0, False),
        ],
    )
    def test_crime_is_recast_as_worked_out_by_hand(
        self,
        sample: tuple[Path, list[support.Delivery]],
        region: str,
        year: str,
        value: float,
        is_estimated: bool,
    ) -> None:
        found = rows(
            sample[0],
            "select value, is_estimated from cube_open_data__crime where region_code = ? "
            "and reference_period = ? and measure = 'n_registered_crimes'",
            region,
            year,
        )
        assert found == [(value, is_estimated)]

    def test_split_municipalities_are_estimates(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        found = rows(
            sample[0],
            f"select distinct region_code from {CRIME_MART} "
            "where is_estimated and reference_period = '2020' order by 1",
        )
        assert [code for (code,) in found] == ["GM0757", "GM0824", "GM0855", "GM0865"]

    def test_only_covered_regions_have_observations(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        found = rows(sample[0], f"select count(distinct region_code) from {CRIME_MART}")
        assert found == [(12,)]  # 11 municipalities of 2025 and the country

    def test_a_measure_that_nobody_has_in_a_period_is_not_covered(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        periods = "select distinct reference_period from {} order by 1"
        assert rows(sample[0], periods.format("mart_armoede__social_assistance_per_100")) == [
            ("2024",)
        ]
        low_income = "mart_armoede__low_income_households_per_100_dwellings"
        assert rows(sample[0], periods.format(low_income)) == [("2023",)]
        assert rows(sample[0], f"select bool_and(is_provisional) from {low_income}") == [(True,)]

    def test_final_and_provisional_of_one_period_are_told_apart_per_cell(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        found = rows(
            sample[0],
            "select measure, is_provisional from cube_open_data__measures "
            "where reference_period = '2024' and region_code = 'NL01' order by 1",
        )
        assert found == [
            ("n_dwellings", False),
            ("n_establishments", True),
            ("n_general_assistance", False),
            ("n_homeless_assistance", False),
            ("n_inhabitants", False),
            ("n_social_assistance", False),
        ]

    def test_all_marts_have_the_standard_columns_in_order(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        for mart in support.MARTS:
            assert [
                (name, kind) for name, kind, *_ in rows(sample[0], f"describe {mart}")
            ] == MART_COLUMNS

    def test_the_project_folder_holds_no_state(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        state = {"target", "logs", "dbt_packages", ".user.yml"}
        assert not state & {path.name for path in support.DBT_PROJECT.iterdir()}


class TestPlan:
    @pytest.fixture(scope="class")
    @classmethod
    def home(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("plan")

    @pytest.fixture(scope="class")
    @classmethod
    def deliveries(cls, home: Path) -> list[support.Delivery]:
        return support.write_raw(home, support.SAMPLES, ["2023", "2024"])

    @pytest.fixture(scope="class")
    @classmethod
    def empty(cls, home: Path, deliveries: list[support.Delivery]) -> dict[str, list[Any]]:
        """What the tables look like after a first run without a plan."""
        assert deliveries
        run = support.dbt(home, "build", "--exclude-resource-type", "unit_test")
        assert run.returncode == 0, run.output
        return {
            table: rows(home, f"describe {table}") + rows(home, f"select count(*) from {table}")
            for table in [*support.MARTS, *(source.cube for source in support.SOURCES)]
        }

    @pytest.fixture(scope="class")
    @classmethod
    def first(
        cls, home: Path, deliveries: list[support.Delivery], empty: dict[str, list[Any]]
    ) -> list[tuple[Any, ...]]:
        """Both years of crime, computed for the first time."""
        assert empty
        run = support.dbt(home, "run", plan=support.plan_for(deliveries))
        assert run.returncode == 0, run.output
        return rows(home, "select * from cube_open_data__crime")

    @pytest.fixture(scope="class")
    @classmethod
    def second(
        cls, home: Path, deliveries: list[support.Delivery], first: list[tuple[Any, ...]]
    ) -> support.DbtRun:
        """A later delivery of 2024 arrives; no other file of the source can be read any more."""
        assert first
        old = next(d for d in deliveries if d.source == "cbs_crime" and d.period == "2024")
        new = support.Delivery(old.source, old.period, "cbs_crime-2024-later", "provisional")
        path = support.parquet_path(home, support.CRIME, new.period, new.id)
        path.parent.mkdir(parents=True)
        with duckdb.connect() as engine:
            engine.execute(
                "copy (select * replace (TotaalGeregistreerdeMisdrijven_1 + 5 as "
                "TotaalGeregistreerdeMisdrijven_1) from "
                f"'{support.parquet_path(home, support.CRIME, old.period, old.id)}') "
                f"to '{path}' (format parquet)"
            )
        for delivery in deliveries:
            if delivery.source == "cbs_crime":
                support.parquet_path(home, support.CRIME, delivery.period, delivery.id).write_bytes(
                    b"not to be opened"
                )
        plan = support.plan_for([new], suffix="-later")
        shown = support.plan_for(deliveries)["marts"][CRIME_MART]
        plan["marts"] = {CRIME_MART: [shown[0], *plan["marts"][CRIME_MART]]}
        return support.dbt(home, "build", "--exclude-resource-type", "unit_test", plan=plan)

    def test_without_a_plan_tables_are_empty_and_typed(self, empty: dict[str, list[Any]]) -> None:
        for table, answer in empty.items():
            *columns, count = answer
            assert count == (0,), table
            if table.startswith("mart_"):
                assert [(name, kind) for name, kind, *_ in columns] == MART_COLUMNS

    def test_rows_are_in_a_fixed_order_and_equal_in_another_home(
        self, home: Path, first: list[tuple[Any, ...]], sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        query = (
            "select * exclude (rowid) from (select rowid, * from cube_open_data__crime) "
            "where reference_period in ('2023', '2024') order by rowid"
        )
        assert rows(home, query) == rows(sample[0], query)
        assert len(first) == 2 * 12 * 3

    def test_only_planned_files_are_opened(self, second: support.DbtRun) -> None:
        assert second.returncode == 0, second.output

    def test_only_planned_pairs_are_computed_and_earlier_vintages_stay(
        self, home: Path, first: list[tuple[Any, ...]], second: support.DbtRun
    ) -> None:
        assert second.returncode == 0, second.output
        after = rows(home, "select * from cube_open_data__crime")
        assert set(first) < set(after)
        assert {(row[0], row[1]) for row in set(after) - set(first)} == {
            ("2024", "cbs_crime-2024-later")
        }

    def test_the_mart_shows_the_vintages_of_the_plan(
        self, home: Path, second: support.DbtRun
    ) -> None:
        assert second.returncode == 0, second.output
        found = rows(
            home,
            f"select reference_period, vintage, numerator, is_provisional from {CRIME_MART} "
            "where region_code = 'GM0363' order by 1",
        )
        assert found == [
            ("2023", "mart-cbs_crime-2023", 82405.0, False),
            ("2024", "mart-cbs_crime-2024-later", 83295.0, True),
        ]

    def test_an_unchanged_plan_changes_nothing(self, home: Path, second: support.DbtRun) -> None:
        assert second.returncode == 0, second.output
        before = rows(home, "select * from cube_open_data__crime order by all")
        run = support.dbt(home, "run", "--select", "cube_open_data__crime", plan={"cubes": {}})
        assert run.returncode == 0, run.output
        assert rows(home, "select * from cube_open_data__crime order by all") == before

    def test_bad_rows_stop_before_the_cube(
        self, home: Path, deliveries: list[support.Delivery], second: support.DbtRun
    ) -> None:
        assert second.returncode == 0
        good = next(d for d in deliveries if d.source == "cbs_suspects" and d.period == "2024")
        bad = support.Delivery(good.source, good.period, "cbs_suspects-2024-bad", "final")
        path = support.parquet_path(home, support.SUSPECTS, bad.period, bad.id)
        path.parent.mkdir(parents=True)
        origin = support.parquet_path(home, support.SUSPECTS, good.period, good.id)
        with duckdb.connect() as engine:
            engine.execute(
                f"copy (select * from '{origin}' union all "
                f"select * from '{origin}' where Woongemeente = 'GM0363' union all "
                f"select * replace ('GM0457' as Woongemeente) from '{origin}' "
                f"where Woongemeente = 'GM0363') to '{path}' (format parquet)"
            )
        run = support.dbt(
            home,
            "build",
            "--select",
            "stg_cbs_suspects__suspects+",
            "--exclude-resource-type",
            "unit_test",
            plan=support.plan_for([bad], suffix="-bad"),
        )
        assert run.returncode == 1
        statuses = {
            result["unique_id"].split(".")[2]: (result["status"], result["failures"])
            for result in run.results
        }
        duplicate = "unique_together_stg_cbs_suspects__suspects_delivery_id__region_code"
        assert statuses[duplicate] == ("fail", 1)  # Amsterdam twice
        absent = "in_division_of_its_year_stg_cbs_suspects__suspects_"
        assert statuses[absent] == ("fail", 1)  # Weesp, gone since 2022
        assert statuses["cube_open_data__suspects"][0] == "skipped"

    def test_a_figure_later_than_the_geography_year_is_an_error(
        self, home: Path, deliveries: list[support.Delivery], second: support.DbtRun
    ) -> None:
        assert second.returncode == 0
        run = support.dbt(home, "parse", plan=support.plan_for(deliveries), geo_year=2022)
        assert run.returncode != 0
        assert "Z-DBT-010" in run.output
        assert "2023, later than geography year 2022" in " ".join(run.output.split())


class TestNames:
    def test_prefixes_follow_the_folder(self, models: list[dict[str, Any]]) -> None:
        patterns = {
            "staging": r"stg_[a-z0-9_]+__[a-z0-9_]+",
            "dimensions": r"dim_[a-z0-9_]+",
            "cubes": r"cube_[a-z0-9_]+__[a-z0-9_]+",
            "marts": r"mart_[a-z0-9]+__[a-z0-9_]+",
        }
        for model in models:
            layer, *_ = model["fqn"][1:]
            assert re.fullmatch(patterns[layer], model["name"]), model["name"]

    def test_staging_is_named_after_its_source(self, models: list[dict[str, Any]]) -> None:
        for model in models:
            if model["name"].startswith("stg_"):
                [source] = [n for n in model["depends_on"]["nodes"] if n.startswith("source.")]
                assert model["name"] == "stg_" + "__".join(source.split(".")[2:])

    def test_the_description_starts_with_the_grain(self, models: list[dict[str, Any]]) -> None:
        for model in models:
            assert model["description"].startswith("One row per "), model["name"]

    def test_each_model_has_its_yaml_beside_it(self, models: list[dict[str, Any]]) -> None:
        for model in models:
            sql = support.DBT_PROJECT / model["original_file_path"]
            assert sql.with_suffix(".yml").is_file(), model["name"]

    def test_every_column_is_described(
        self, models: list[dict[str, Any]], sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        for model in models:
            columns = [name for name, *_ in rows(sample[0], f"describe {model['name']}")]
            described = {n for n, c in model["columns"].items() if c["description"]}
            assert set(columns) == described, model["name"]

    def test_booleans_counts_and_units_are_in_the_column_names(
        self, models: list[dict[str, Any]], sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        units = re.compile(r"n_\w+|population_1jan|\w+_(eur|pct|days|per_\d+\w*)")
        exceptions = {"value", "numerator", "denominator", "weight"}  # their unit is in the meta
        for model in models:
            for name, kind, *_ in rows(sample[0], f"describe {model['name']}"):
                is_boolean = kind == "BOOLEAN"
                assert is_boolean == name.startswith(("is_", "has_")), (model["name"], name)
                if kind in ("BIGINT", "DOUBLE", "HUGEINT") and name not in exceptions:
                    assert units.fullmatch(name), (model["name"], name)

    def test_cubes_say_their_inputs(self, models: list[dict[str, Any]]) -> None:
        cubes = [model for model in models if model["name"].startswith("cube_")]
        assert len(cubes) >= 3
        for cube in cubes:
            inputs = cube["config"]["meta"]["inputs"]
            assert inputs
            for one in inputs:
                trails = {"periods", "at_least"} if one["alignment"] == "trailing" else set()
                assert set(one) == {"source", "table", "alignment"} | trails, cube["name"]

    def test_indicators_are_complete_in_both_languages(self, models: list[dict[str, Any]]) -> None:
        marts = [model for model in models if model["name"].startswith("mart_")]
        marts = [mart for mart in marts if "coverage" not in mart["config"]["meta"]]
        assert {mart["name"] for mart in marts} >= set(support.MARTS)
        for mart in marts:
            indicator = mart["config"]["meta"]["indicator"]
            assert set(indicator) - OPTIONAL_KEYS == INDICATOR_KEYS, mart["name"]
            assert mart["name"] == f"mart_{indicator['theme']}__{indicator['id']}"
            assert mart["config"]["group"] == indicator["theme"]
            for key in ("label", "description", "caveats"):
                assert set(indicator[key]) == {"nl", "en"}
                assert all(indicator[key].values()), (mart["name"], key)
            assert len(indicator["caveats"]["nl"]) == len(indicator["caveats"]["en"])
            assert set(indicator["unit"]) == {"code", "nl", "en"}
            if indicator["kind"] == "modelled":
                continue
            made_by = rf"per={indicator['factor']}\b" if indicator["denominator"] else r"count_of\("
            assert re.search(made_by, mart["raw_code"]), mart["name"]

    def test_themes_are_described_in_both_languages(
        self, sample: tuple[Path, list[support.Delivery]]
    ) -> None:
        groups = support.DbtRun(0, "", sample[0] / "dbt").manifest["groups"].values()
        themes = {group["name"]: group["config"]["meta"]["theme"] for group in groups}
        assert set(themes) >= {"vastgoed", "drugs", "rechtspersonen", "armoede"}
        for name, theme in themes.items():
            assert theme["id"] == name
            for key in ("label", "description", "research_questions"):
                assert set(theme[key]) == {"nl", "en"}
                assert all(theme[key].values())


@needs_shared
class TestWholeTables:
    @pytest.fixture(scope="class")
    @classmethod
    def source(cls) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as engine:
            for table in support.SOURCES:
                engine.execute(
                    f"create table {table.table} as select * from "
                    f"read_csv('{support.snapshot(table, support.SHARED)}', delim = ';')"
                )
            yield engine

    @pytest.mark.parametrize("mart", support.MARTS)
    def test_every_period_has_342_municipalities_and_the_country(
        self, whole: tuple[Path, list[support.Delivery]], mart: str
    ) -> None:
        found = rows(
            whole[0],
            f"select distinct region_level, count(*) from {mart} group by region_level, "
            "reference_period order by all",
        )
        assert found == [("country", 1), ("municipality", 342)]

    def test_recast_crime_adds_up_to_the_original_division_in_every_year(
        self, whole: tuple[Path, list[support.Delivery]], source: duckdb.DuckDBPyConnection
    ) -> None:
        recast = dict(
            rows(
                whole[0],
                "select reference_period, sum(value) from cube_open_data__crime where "
                "region_level = 'municipality' and measure = 'n_registered_crimes' group by all",
            )
        )
        original = dict(
            source.execute(
                "select left(Perioden, 4), sum(TotaalGeregistreerdeMisdrijven_1) from crime "
                "where RegioS like 'GM%' and Perioden >= '2013' group by all"
            ).fetchall()
        )
        assert set(recast) == set(YEARS)
        assert recast == pytest.approx(original, abs=0.3)

    def test_suspects_of_all_groups_add_up_as_well(
        self, whole: tuple[Path, list[support.Delivery]], source: duckdb.DuckDBPyConnection
    ) -> None:
        for measure, column in (
            ("n_suspects", "TotaalVerdachtenVanMisdrijven_1"),
            ("n_suspects_firearms", "VerdachtenVanVuurWapenmisdrijven_7"),
        ):
            recast = dict(
                rows(
                    whole[0],
                    "select reference_period, sum(value) from cube_open_data__suspects where "
                    "region_level = 'municipality' and measure = ? group by all",
                    measure,
                )
            )
            original = dict(
                source.execute(
                    f"select left(Perioden, 4), sum({column}) from suspects "
                    "where Woongemeente like 'GM%' and Perioden >= '2013' group by all"
                ).fetchall()
            )
            assert recast == pytest.approx(original, abs=0.3)

    def test_a_year_without_redivision_equals_the_source_cell_by_cell(
        self, whole: tuple[Path, list[support.Delivery]], source: duckdb.DuckDBPyConnection
    ) -> None:
        cube = rows(
            whole[0],
            "select region_code, value from cube_open_data__crime where reference_period = '2024' "
            "and measure = 'n_registered_crimes' order by 1",
        )
        original = source.execute(
            "select trim(RegioS), TotaalGeregistreerdeMisdrijven_1 from crime "
            "where Perioden = '2024JJ00' and TotaalGeregistreerdeMisdrijven_1 is not null "
            "and left(RegioS, 2) in ('GM', 'NL') order by 1"
        ).fetchall()
        assert len(cube) == 343
        assert cube == original

    def test_rates_agree_with_those_of_cbs_where_both_divide_by_inhabitants(
        self, whole: tuple[Path, list[support.Delivery]], source: duckdb.DuckDBPyConnection
    ) -> None:
        ours = {
            region: (value, population)
            for region, value, population in rows(
                whole[0],
                "select region_code, value, denominator "
                f"from {CRIME_MART} where reference_period = '2023'",
            )
        }
        theirs = source.execute(
            "select trim(RegioS), GeregistreerdeMisdrijvenPer1000Inw_3 from crime "
            "where Perioden = '2023JJ00' and left(RegioS, 2) in ('GM', 'NL') "
            "and GeregistreerdeMisdrijvenPer1000Inw_3 is not null"
        ).fetchall()
        assert len(theirs) > 340
        for region, rate in theirs:
            value, population = ours[region]
            # CBS divides the count before rounding it to a multiple of 5, and rounds the rate.
            assert value == pytest.approx(rate, abs=0.05 + 2.5 * 1000 / population), region

    def test_the_divisions_are_those_of_the_reference_file(
        self, whole: tuple[Path, list[support.Delivery]]
    ) -> None:
        reference = support.SHARED.parent / "reference" / "municipality_by_year.csv"
        columns = (
            "geo_year, region_code, province_code, corop_code, safety_region_code, "
            "landsdeel_code, population_1jan"
        )
        with duckdb.connect() as engine:
            original = engine.execute(
                f"select {columns} from read_csv(?) order by all", [str(reference)]
            ).fetchall()
        found = rows(
            whole[0],
            f"select {columns} from dim_regions where region_level = 'municipality' order by all",
        )
        assert found == original
        counts = dict(
            rows(
                whole[0],
                "select geo_year, count(*) from dim_regions "
                "where region_level = 'municipality' group by all",
            )
        )
        assert (counts[2013], counts[2022], counts[2025]) == (408, 345, 342)
