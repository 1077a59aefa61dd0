"""Gates 2 and 3 on small warehouses: links, balance, vintages, patterns, identifiers, marks."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import NOW, PROJECT, settings_at
from zicht.contracts import load_contracts
from zicht.errors import ConfigurationError
from zicht.files import write_json
from zicht.gates.engine import GateEngine
from zicht.gates.model import CheckResult, GateResult, Severity
from zicht.gates.suites import load_suites
from zicht.refresh.checking import link_parameters, provisional_periods, with_rates
from zicht.refresh.links import (
    LinkRate,
    compared,
    load_links,
    measure_links,
    note_rates,
    passed_rates,
    write_rates,
)
from zicht.refresh.run import vintage_path

SUITES = PROJECT / "expectations" / "suites"
STAGED = [
    f"stg_{contract.source}__{table.name}"
    for contract in load_contracts(PROJECT / "expectations" / "contracts").values()
    for table in contract.tables
]
QUARTERS = ("2023-Q4", "2024-Q1", "2024-Q2")
STANDARD = (
    "numerator, null::double as denominator, numerator as value, numerator::bigint as "
    "n_contributors, false as is_provisional, false as is_estimated, numerator is null as "
    "is_missing, timestamptz '2024-06-01 09:00:00+00' as known_at, 45 as lag_days"
)
WAREHOUSE = f"""
    create table dim_regions as
    select 'GM' || lpad(i::varchar, 4, '0') as region_code, 'municipality' as region_level,
        2025 as geo_year from range(1, 9) as t (i);
    create table dim_population as
    select region_code, y as reference_year, 20000.0 as population_1jan, false as is_estimated
    from dim_regions, (values (2023), (2024)) as years (y);
    create table mart_coverage__cases as
    select region_code, region_level, geo_year, q as reference_period, 'v' || q as vintage,
        {STANDARD}
    from (select *, (1000 + 10 * right(region_code, 1)::integer)::double as numerator
        from dim_regions, (values {", ".join(f"('{q}')" for q in QUARTERS)}) as quarters (q));
    create table mart_coverage__persons as
    select region_code, region_level, geo_year, y::varchar as reference_period, 'w' as vintage,
        {STANDARD}
    from (select *, 19990::double as numerator from dim_regions, (values (2023), (2024)) as t (y));
    create table mart_coverage__frame_measures as
    select region_code, region_level, geo_year, '2024' as reference_period, 'f' as vintage,
        9000.0 as n_dwellings, timestamptz '2024-06-01 09:00:00+00' as known_at, 45 as lag_days
    from dim_regions;
    create table mart_theme__patterns as
    select 'VR0' || i as region_code, 'safety_region' as region_level, 2025 as geo_year,
        '2024' as reference_period, 'p' as vintage, 'industry' as use_class, 500 as n_units,
        i as n_events, false as is_provisional,
        timestamptz '2024-06-01 09:00:00+00' as known_at, 45 as lag_days
    from range(1, 4) as t (i);
    create table cube_theme__entities as
    select '2024' as reference_period, v as vintage, region_code, region_level, geo_year,
        'stichting' as legal_form, 'n_entities' as measure,
        case v when 'new' then 240.0 else 200.0 end as value, 200::bigint as n_contributors,
        false as is_provisional, false as is_estimated, 1 as n_parts, false as is_missing
    from dim_regions, (values ('old'), ('older'), ('new')) as vintages (v);
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[GateEngine]:
    with GateEngine() as one:
        yield one


def look(
    engine: GateEngine, database: Path, gate: int, parameters: dict[str, Any], only: str = ""
) -> GateResult:
    """Runs the project's suites of a gate on a file; every check can be evaluated.

    Args:
        only: name of a suite or relation.
    """
    columns: dict[str, list[str]] = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for relation, column in connection.execute(
            "select table_name, column_name from duckdb_columns() where not internal "
            "order by table_name, column_index"
        ).fetchall():
            columns.setdefault(relation, []).append(column)
    suites = load_suites(
        SUITES / f"gate_{gate}.yaml",
        relations=[*columns, *STAGED],
        parameters={**parameters, "columns": columns, "geo_year": 2025},
    )
    chosen = [one for one in suites if only in ("", one.name, one.relation)]
    result = engine.run(database, chosen, gate=gate, subject="test", checked_at=NOW)
    assert not [one for one in result.results if one.error], result.results
    return result


def broken(result: GateResult) -> dict[tuple[str, str], CheckResult]:
    return {(one.relation, one.check): one for one in (*result.failures, *result.warnings)}


# --- gate 3 ---------------------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path: Path, standing: Path) -> Path:
    return Path(shutil.copy(standing, tmp_path / "warehouse.duckdb"))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(WAREHOUSE)
    return path


def gate_3(engine: GateEngine, database: Path, only: str = "") -> GateResult:
    marts = ("cases", "persons", "frame_measures")
    indicators: dict[str, dict[str, Any]] = {
        f"mart_coverage__{name}": {"kind": "counts", "frame": "none"} for name in marts
    }
    indicators["mart_coverage__persons"]["frame"] = "population"
    indicators["mart_theme__patterns"] = {"kind": "modelled", "breakdown": {"x": {}}}
    nothing = (
        "select null::varchar as region_code, null::integer as reference_year, "
        "null::double as n_expected where false"
    )
    population = (
        "select region_code, reference_year, population_1jan as n_expected from dim_population"
    )
    parameters = {
        "indicators": indicators,
        "cubes": {"cube_theme__entities": {"vintages": ["new"]}},
        "expected": {
            "mart_coverage__cases": nothing,
            "mart_coverage__persons": population,
            "mart_coverage__frame_measures": nothing,
        },
        "provisional": {
            "mart_coverage__cases": {"nothing_final": [], "all_final": list(QUARTERS)},
            "mart_theme__patterns": {"nothing_final": [], "all_final": ["2024"]},
        },
    }
    return look(engine, database, 3, parameters, only)


CASES, PERSONS = "mart_coverage__cases", "mart_coverage__persons"
PATTERNS, CUBE = "mart_theme__patterns", "cube_theme__entities"
LAST = "reference_period = '2024-Q2' and region_code = 'GM0003'"
PLANTED = {
    "a region is silent": (
        f"delete from {CASES} where {LAST}",
        {(CASES, "no_region_falls_silent"): Severity.FAIL},
    ),
    "a region is silent in a year": (
        f"delete from {PERSONS} where reference_period = '2024' and region_code = 'GM0003'",
        {(PERSONS, "no_region_falls_silent"): Severity.FAIL},
    ),
    "a region falls to zero": (
        f"update {CASES} set value = 0, numerator = 0, n_contributors = 0 where {LAST}",
        {(CASES, "no_region_falls_to_zero"): Severity.FAIL},
    ),
    "records shift": (
        f"update {CASES} set value = 1400, numerator = 1400, n_contributors = 1400 where {LAST}",
        {(CASES, "records_do_not_shift"): Severity.WARN},
    ),
    "persons are there twice": (
        f"update {PERSONS} set value = 2 * value, numerator = 2 * value "
        "where reference_period = '2024'",
        {(PERSONS, "sum_fits_known_total"): Severity.WARN},
    ),
    "a revision jumps": (
        f"update {CUBE} set value = 301 where vintage = 'new' and region_code = 'GM0003'",
        {(CUBE, "no_jump_between_vintages"): Severity.WARN},
    ),
    "a key": (
        f"alter table {PATTERNS} add column premises_key varchar",
        {(PATTERNS, "no_identifier"): Severity.FAIL},
    ),
    "a value of key form": (
        f"update {PATTERNS} set use_class = 'V123456789' where region_code = 'VR01'",
        {(PATTERNS, "no_identifier"): Severity.FAIL},
    ),
    "a neighbourhood": (
        f"update {CASES} set vintage = 'WK003401' where {LAST}",
        {(CASES, "no_identifier"): Severity.FAIL},
    ),
    "provisional, and it should not be": (
        f"update {CASES} set is_provisional = true where {LAST}",
        {(CASES, "provisional_is_marked"): Severity.FAIL},
    ),
    "more events than units": (
        f"update {PATTERNS} set n_events = 501 where region_code = 'VR01'",
        {(PATTERNS, "events_within_units"): Severity.FAIL},
    ),
    "a pattern of a municipality": (
        f"update {PATTERNS} set region_level = 'municipality', region_code = 'GM0003' "
        "where region_code = 'VR01'",
        {(PATTERNS, "patterns_of_large_regions"): Severity.FAIL},
    ),
}


class TestGate3:
    def test_a_good_warehouse_passes_and_each_form_has_its_own_rules(
        self, engine: GateEngine, standing: Path
    ) -> None:
        result = gate_3(engine, standing)
        assert broken(result) == {}
        looked_at: dict[str, set[str]] = {}
        for one in result.results:
            looked_at.setdefault(one.relation, set()).add(one.check)
        assert looked_at["mart_coverage__frame_measures"] == {"no_identifier"}
        assert looked_at[PATTERNS] == {
            *("no_identifier", "provisional_is_marked"),
            *("events_within_units", "patterns_of_large_regions"),
        }
        assert {"contributors_present", "innermost_complete", "records_do_not_shift"} <= looked_at[
            CASES
        ]
        assert "municipalities_complete" not in looked_at[CASES], "gate 2 said that of the delivery"

    @pytest.mark.parametrize("what", PLANTED)
    def test_what_is_planted_is_found_by_its_own_check_alone(
        self, engine: GateEngine, warehouse: Path, what: str
    ) -> None:
        sql, expected = PLANTED[what]
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(sql)
        ((relation, _),) = expected
        result = gate_3(engine, warehouse, relation)
        found = broken(result)
        assert {key: one.severity for key, one in found.items()} == expected
        assert all(one.rows for one in found.values())

    def test_what_chance_or_the_frame_explains_is_no_shift(
        self, engine: GateEngine, warehouse: Path
    ) -> None:
        """A town that grew by a half has half as many persons more; 110 cases may become 130."""
        grown = "where region_code = 'GM0003' and {} = 2024"
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(
                "update dim_population set population_1jan = 30000 "
                + grown.format("reference_year")
                + f"; update {PERSONS} set value = 30000, numerator = 30000, n_contributors = 1 "
                + grown.format("reference_period::integer")
            )
            for period, n in (("2024-Q1", 110), ("2024-Q2", 130)):
                connection.execute(
                    f"update {CASES} set value = {n}, numerator = {n}, n_contributors = {n} "
                    f"where region_code = 'GM0003' and reference_period = '{period}'"
                )
        found = broken(gate_3(engine, warehouse))
        shifts = found.pop((CASES, "records_do_not_shift"))
        assert [row["reference_period"] for row in shifts.rows] == ["2024-Q1"], "1030 became 110"
        assert found == {}

    def test_a_counts_mart_without_a_value_is_no_pattern(
        self, engine: GateEngine, warehouse: Path
    ) -> None:
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(f"alter table {CASES} drop column value")
        with pytest.raises(AssertionError, match="value"):
            gate_3(engine, warehouse, CASES)


def test_provisional_periods_follow_from_the_deliveries_behind_each_vintage(
    tmp_path: Path,
) -> None:
    """A source with a final and a provisional delivery of one period may be either, per cell."""
    settings = settings_at(tmp_path)
    made = {
        "a": [["nhr", "n1", "final", ""], ["brp", "b1", "final", ""]],
        "b": [["nhr", "n2", "final", ""], ["brp", "b2", "provisional", ""]],
        "c": [["brp", "b2", "provisional", ""], ["brp", "b3", "final", ""]],
        # Of another period there is a final one: that does not make this one final.
        "d": [["brp", "b1", "final", ""], ["brp", "b2", "provisional", ""]],
    }
    for vintage, deliveries in made.items():
        write_json(vintage_path(settings, vintage), {"inputs": {"deliveries": deliveries}})
    periods = {"n1": "2024-Q1", "n2": "2024-Q2", "b1": "2023", "b2": "2024", "b3": "2024"}
    inputs = [
        {"source": "nhr" if name[0] == "n" else "brp", "id": name, "reference_period": period}
        for name, period in periods.items()
    ]
    pairs = [
        {"reference_period": vintage, "cubes": {"cube_x__y": vintage}} for vintage in sorted(made)
    ]
    state = {"inputs": inputs, "variables": {"plan": {"marts": {"mart_x__y": pairs}}}}
    assert provisional_periods(settings, state) == {
        "mart_x__y": {"nothing_final": ["b", "d"], "all_final": ["a"]}
    }


# --- gate 2: links --------------------------------------------------------------------------------

RIGHTS, PREMISES = "stg_kadaster__rights", "stg_bag_woz__premises"
PERIODS = ("2024-Q1", "2024-Q2")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Two quarters of 200 rights each: of the first 4 premises are unknown, of the second 40."""
    path = tmp_path / "staging.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"create table {PREMISES} as select 'bag-1' as delivery_id, "
            "'2024' as reference_period, 'V' || lpad(i::varchar, 9, '0') as premises_key, "
            "'GM0034' as municipality_code from range(1, 201) as t (i); "
            f"create table {RIGHTS} as select 'kadaster-' || q as delivery_id, "
            "q as reference_period, 'R' || lpad((200 * lost + i)::varchar, 9, '0') as right_key, "
            "'V' || lpad((i + lost)::varchar, 9, '0') as premises_key, "
            "'unknown' as owner_kind, null::varchar as owner_key, 'GM0034' as municipality_code "
            "from range(1, 201) as t (i), "
            f"(values ('{PERIODS[0]}', 4), ('{PERIODS[1]}', 40)) as quarters (q, lost); "
            "create table dim_regions as select 'GM0034' as region_code, "
            "'municipality' as region_level, 2024 as geo_year, 'PV24' as province_code"
        )
    return path


def measured(database: Path, periods: Collection[str] = PERIODS) -> list[LinkRate]:
    rates = measure_links(database, load_links(SUITES / "links.yaml"), {RIGHTS, PREMISES})
    return [rate for rate in rates if rate.reference_period in periods]


def gate_2(
    engine: GateEngine, database: Path, rates: list[LinkRate], **more: Any
) -> dict[tuple[str, str], CheckResult]:
    path = database.with_name("rates.parquet")
    write_rates(rates, path)
    parameters = {**link_parameters(settings_at(database.parent), path), **more}
    return broken(look(engine, database, 2, parameters, "links"))


class TestLinks:
    def test_a_rate_is_measured_per_delivery(self, staging: Path) -> None:
        found = {rate.reference_period: rate for rate in measured(staging)}
        counts = {period: (one.n_looked_at, one.n_linked) for period, one in found.items()}
        assert counts == {"2024-Q1": (200, 196), "2024-Q2": (200, 160)}
        assert str(found["2024-Q2"]) == "kadaster-2024-Q2 premises_key in bag_woz__premises: 80.0%"

    def test_a_fall_fails_and_too_many_lost_warns(self, engine: GateEngine, staging: Path) -> None:
        rates = compared(measured(staging), [])
        assert [rate.before_period for rate in rates] == [None, "2024-Q1"]
        found = gate_2(engine, staging, rates)
        assert {key: one.severity for key, one in found.items()} == {
            (RIGHTS, "keys_are_found"): Severity.WARN,
            (RIGHTS, "link_rate_does_not_fall"): Severity.FAIL,
        }
        (row,) = found[RIGHTS, "link_rate_does_not_fall"].rows
        assert (row["before_pct"], row["link_pct"]) == (98.0, 80.0)
        accepted = {"accepted_falls": [row["delivery_id"]]}
        found = gate_2(engine, staging, rates, **accepted)
        assert list(found) == [(RIGHTS, "keys_are_found")]

    def test_a_fall_is_seen_against_what_passed_in_an_earlier_run(
        self, engine: GateEngine, staging: Path
    ) -> None:
        """And a record that is lost leaves the warning alone."""
        settings = settings_at(staging.parent / "home")
        first = measured(staging, PERIODS[:1])
        passed = [("kadaster", rate.reference_period, rate.delivery_id) for rate in first]
        note_rates(settings, "one", first, passed, NOW)
        now = measured(staging, PERIODS[1:])
        kept = passed_rates(settings, {"kadaster"})
        assert kept == first
        check = (RIGHTS, "link_rate_does_not_fall")
        assert check in gate_2(engine, staging, compared(now, kept))
        shutil.rmtree(settings.home / "checked")
        found = gate_2(engine, staging, compared(now, passed_rates(settings, {"kadaster"})))
        assert list(found) == [(RIGHTS, "keys_are_found")]

    def test_what_did_not_pass_is_not_kept_and_the_latest_check_counts(self, staging: Path) -> None:
        settings = settings_at(staging.parent / "home")
        first, second = measured(staging)
        note_rates(settings, "one", [first, second], [("kadaster", "2024-Q1", "none")], NOW)
        assert passed_rates(settings, {"kadaster"}) == []
        corrected = replace(first, delivery_id="corrected", n_linked=200)
        for n, rate in enumerate((corrected, first)):
            key = ("kadaster", rate.reference_period, rate.delivery_id)
            note_rates(settings, "one", [rate], [key], NOW + timedelta(days=-n))
        (rate,) = compared([second], passed_rates(settings, {"kadaster"}))
        assert (rate.before_n_linked, rate.before_n_looked_at) == (200, 200)

    def test_the_report_shows_the_lowest_rate_of_each_link(
        self, engine: GateEngine, staging: Path
    ) -> None:
        rates = [replace(one, most_lost_pct=25) for one in measured(staging)]
        path = staging.with_name("rates.parquet")
        write_rates(rates, path)
        parameters = link_parameters(settings_at(staging.parent), path)
        result = look(engine, staging, 2, parameters, "links")
        (found,) = [one for one in result.results if one.check == "keys_are_found"]
        shown = {"premises_key in stg_bag_woz__premises": "80.0% (2024-Q2)"}
        assert with_rates(found, rates).observed == shown
        assert with_rates(replace(found, success=False), rates).observed == 0

    def test_few_keys_fall_by_chance(self, engine: GateEngine, staging: Path) -> None:
        """Two of ten that are not found are twenty per cent, and nothing."""
        rate = measured(staging)[0]
        few = replace(rate, n_looked_at=10, n_linked=8, most_lost_pct=25)
        before = replace(few, reference_period="2023-Q4", n_linked=10)
        assert gate_2(engine, staging, compared([few], [before])) == {}

    @pytest.mark.parametrize(
        "text",
        [
            "links: {stg_a__b: [{key: k, register: stg_c__d, as: k, of: month, most_lost_pct: 5}]}"
            "\nmost_fall_pct: 5\nsample: '07'\naccepted_falls: {}\n",
            "links: {stg_a__b: [{key: k}]}\nmost_fall_pct: 5\nsample: '07'\n",
            "links: {}\n",
        ],
    )
    def test_a_malformed_file_is_an_error(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "links.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match="Z-CFG-057") as caught:
            load_links(path)
        assert str(path) in caught.value.message
