"""The registers in staging: real dbt on small rows of all twelve, and gate 2 on good and bad."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dbt_support
import duckdb
import pytest
import yaml

from support import NOW, PROJECT, settings_at
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.gates.engine import GateEngine
from zicht.gates.model import CheckResult, Severity, Suite
from zicht.gates.suites import load_suites
from zicht.refresh.checking import link_parameters
from zicht.refresh.links import load_links, measure_links, write_rates

CONTRACTS = load_contracts(PROJECT / "expectations" / "contracts")
REGISTERS = {name: one for name, one in CONTRACTS.items() if one.needs_agreement}
SUITE_FILE = PROJECT / "expectations" / "suites" / "gate_2.yaml"
LINKS = load_links(SUITE_FILE.with_name("links.yaml"))
STAGED = {f"stg_{name}__{table.name}" for name, one in REGISTERS.items() for table in one.tables}
FLEVOLAND = ("GM0034", "GM0050", "GM0171", "GM0184", "GM0303", "GM0995")
PERIODS = {"yearly": "2024", "quarterly": "2024-Q2", "monthly": "2024-05"}

# One row per municipality `m` of a small province, counted by `i`; equal numbers belong together.
ROWS = {
    "brp.persons": "key('P', i), key('H', i), key('V', i), m, date '1980-05-17', '1', 'single', "
    "date '2019-09-01'",
    "brp.households": "key('H', i), key('V', i), m, 1, 'single'",
    "bag_woz.premises": "key('V', i), m, 'dwelling', 'terraced', 110, 1975, 300000",
    "kadaster.rights": "key('R', i), key('V', i), owner_kind, owner_key, 50.5, "
    "date '2020-02-29', m",
    "kadaster.transfers": "key('T', i), key('V', i), date '2024-05-02', 325000, m",
    "nhr.legal_entities": "key('E', i), md5(m), 'stichting', '9499', key('V', i), m, "
    "date '2001-01-01', null",
    "nhr.establishments": "key('S', i), key('E', i), key('V', i), m, '9499'",
    "nhr.directors": "key('E', i), key('P', i), 'chair', date '2010-10-10'",
    "police_suspects.suspects": "key('C', i), key('P', i), 'property', 'diefstal in woning', m, m, "
    "date '2024-04-01', 'closed_and_sent'",
    "om_cases.cases": "key('C', i), key('P', i), 'property', 'dismissal', 'sepot', m, "
    "date '2024-06-30', 'disposed'",
    "cannabis_sites.sites": "key('K', i), key('V', i), m, 'cultivation', date '2024-05-05', 120, "
    "'cleared'",
    "uwv_svb.benefits": "key('P', i), 'aow', m, 1450.25, date '2022-02-01'",
    "tax_income.persons": "key('P', i), key('H', i), m, 38000",
    "tax_income.households": "key('H', i), m, 1, 31000, false, null",
    "tax_wealth.households": "key('H', i), m, 250000.5, 100000, 150000.5",
    "duo.enrolments": "key('P', i), m, 'mbo', false, true",
    "rdw.vehicles": "key('A', i), md5('plate' || m), owner_kind, owner_key, "
    "if(owner_kind = 'person', null, md5(m)), false, date '2024-01-31', m",
}


@dataclass(frozen=True)
class Home:
    """An installation in which one delivery of every register was staged."""

    folder: Path
    run: dbt_support.DbtRun

    def file(self, table: str) -> Path:
        """The Parquet file of a table, ``source.table``, in ``raw/``."""
        source, name = table.split(".")
        period = PERIODS[REGISTERS[source].cadence.value]
        return (
            self.folder
            / f"raw/{source}/reference_period={period}/delivery={source}-a/{name}.parquet"
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of the warehouse."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as warehouse:
            return warehouse.execute(sql).fetchall()


def write(home: Home, table: str) -> None:
    """Writes :data:`ROWS` of a table as a delivery, with the types of its contract."""
    source, name = table.split(".")
    columns = REGISTERS[source].table(name).columns
    typed = ", ".join(f'cast(c{n} as {c.stored_type}) as "{c.name}"' for n, c in enumerate(columns))
    names = ", ".join(f"c{n}" for n, _ in enumerate(columns))
    places = ", ".join(f"('{code}', {number})" for number, code in enumerate(FLEVOLAND))
    path = home.file(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as engine:
        engine.execute("create macro key(kind, i) as kind || '00000000' || i")
        engine.execute(f"create table places as select * from (values {places}) as one (m, i)")
        engine.execute(
            "create table owned as "
            "select *, if(i % 2 = 0, 'person', 'legal_entity') as owner_kind, "
            "key(if(i % 2 = 0, 'P', 'E'), i) as owner_key from places"
        )
        engine.execute(
            f"copy (select {typed} from (select {ROWS[table]} from owned) as delivered ({names})) "
            f"to '{path}' (format parquet)"
        )


def change(home: Home, table: str, sql: str) -> None:
    """Writes a table anew; ``sql`` is a query on ``delivered``, which holds it as it was."""
    path = home.file(table)
    with duckdb.connect() as engine:
        engine.execute(
            f"create table delivered as "
            f"select * from read_parquet('{path}', hive_partitioning = false)"
        )
        engine.execute(f"copy ({sql}) to '{path}' (format parquet)")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("registers")
    settings = settings_at(folder)
    for contract in CONTRACTS.values():
        ensure_source(settings, contract)
    made = Home(folder, dbt_support.DbtRun(0, "", folder / "dbt"))
    for table in ROWS:
        write(made, table)
    staging = [
        {
            "source": name,
            "id": f"{name}-a",
            "reference_period": PERIODS[contract.cadence.value],
        }
        for name, contract in REGISTERS.items()
    ]
    selected = ("resource_type:seed", "path:models/dimensions", "path:models/staging")
    plan = {"cubes": {}, "marts": {}, "staging": staging}
    cautious = ("--indirect-selection", "cautious")
    run = dbt_support.dbt(folder, "build", *cautious, "--select", *selected, plan=plan)
    return Home(folder, run)


@pytest.fixture(scope="module")
def manifest(home: Home) -> Mapping[str, Any]:
    return home.run.manifest


def staged(manifest: Mapping[str, Any], source: str, table: str) -> Mapping[str, Any]:
    node: Mapping[str, Any] = manifest["nodes"][f"model.zicht.stg_{source}__{table}"]
    return node


TABLES = [(contract, table) for contract in REGISTERS.values() for table in contract.tables]
NAMES = [f"{contract.source}.{table.name}" for contract, table in TABLES]


class TestStaging:
    def test_everything_is_built_and_every_test_passes(self, home: Home) -> None:
        assert home.run.returncode == 0, home.run.output
        assert {result["status"] for result in home.run.results} == {"success", "pass"}
        ran = {result["unique_id"] for result in home.run.results}
        for contract, table in TABLES:
            name = f"stg_{contract.source}__{table.name}"
            assert f"model.zicht.{name}" in ran
            assert any(f"unique_together_{name}" in test for test in ran), name
        assert sum("unit_test.zicht.stg_" in test for test in ran) >= 6

    def test_the_rows_here_are_those_of_the_contracts(self) -> None:
        assert set(ROWS) == set(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_every_row_and_column_arrives(self, home: Home, name: str) -> None:
        source, table = name.split(".")
        model = f"stg_{source}__{table}"
        assert home.rows(f"select count(*) from {model}") == [(len(FLEVOLAND),)]
        columns = home.rows(f"describe {model}")
        assert len(columns) == 2 + len(REGISTERS[source].table(table).columns)
        files = f"read_parquet('{home.file(name)}', hive_partitioning = false)"
        delivered = home.rows(f"select * from {files} order by all")
        typed = home.rows(
            f"select * exclude (delivery_id, reference_period) from {model} order by all"
        )
        assert typed == delivered

    @pytest.mark.parametrize("name", NAMES)
    def test_names_say_units_and_kinds(self, home: Home, name: str) -> None:
        source, table = name.split(".")
        for column, kind, *_ in home.rows(f"describe stg_{source}__{table}"):
            assert (kind == "BOOLEAN") == column.startswith(("is_", "has_")), column
            assert kind not in ("DOUBLE", "FLOAT"), f"{column}: a sum would depend on its order"
            if kind == "BIGINT" or kind.startswith("DECIMAL"):
                assert re.fullmatch(r"n_\w+|\w+_(eur|pct)", column), column

    @pytest.mark.parametrize("name", NAMES)
    def test_the_sql_belongs_to_no_engine(self, manifest: Mapping[str, Any], name: str) -> None:
        """But for the files themselves, which are read by a macro with one version per engine."""
        sql = staged(manifest, *name.split("."))["compiled_code"]
        select, _, files = sql.partition("\nfrom ")
        assert files.startswith("read_parquet(")
        assert set(re.findall(r"(\w+)\(", select)) <= {"nullif", "trim", "cast", "decimal"}
        types = set(re.findall(r'cast\("\w+" as ([a-z]+)', select.lower()))
        assert types <= {"date", "int", "integer", "bigint", "boolean", "decimal"}
        assert "::" not in select

    def test_dbt_names_exactly_the_tables_of_the_contracts(
        self, manifest: Mapping[str, Any]
    ) -> None:
        named = {
            (node["source_name"], node["name"])
            for node in manifest["sources"].values()
            if node["source_name"] in CONTRACTS
        }
        assert named == {(c.source, t.name) for c in CONTRACTS.values() for t in c.tables}
        for node in manifest["sources"].values():
            assert not node["columns"], "rules and columns stand in the contract"

    @pytest.mark.parametrize("name", NAMES)
    def test_the_yaml_says_grain_null_and_every_column(
        self, home: Home, manifest: Mapping[str, Any], name: str
    ) -> None:
        source, table = name.split(".")
        node = staged(manifest, source, table)
        assert node["description"].startswith("One row per planned delivery and ")
        assert "ull" in node["description"]
        described = {column for column, of in node["columns"].items() if of["description"]}
        assert described == {column for column, *_ in home.rows(f"describe stg_{source}__{table}")}


# --- gate 2 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[GateEngine]:
    with GateEngine() as one:
        yield one


@pytest.fixture(scope="module")
def suites(home: Home) -> list[Suite]:
    columns: dict[str, list[str]] = {}
    for relation, column in home.rows(
        "select table_name, column_name from information_schema.columns "
        "where table_schema = 'main' order by table_name, ordinal_position"
    ):
        columns.setdefault(relation, []).append(column)
    names = [name for name in columns if name.startswith(("stg_", "dim_"))]
    parameters = {"columns": columns, **link_parameters(settings_at(home.folder), rates_of(home))}
    return load_suites(SUITE_FILE, relations=names, parameters=parameters)


def rates_of(home: Home) -> Path:
    """The file in which gate 2 finds what was measured of the links."""
    return home.folder / "link_rates.parquet"


def looked_at(
    home: Home, engine: GateEngine, suites: list[Suite], relation: str | None = None
) -> dict[tuple[str, str], CheckResult]:
    """The results that are no pass, of one relation or of all."""
    chosen = [suite for suite in suites if relation is None or suite.relation == relation]
    warehouse = home.folder / "warehouse.duckdb"
    looked = {suite.relation for suite in chosen}
    links = replace(LINKS, links=tuple(one for one in LINKS.links if one.relation in looked))
    write_rates(measure_links(warehouse, links, STAGED), rates_of(home))
    result = engine.run(warehouse, chosen, gate=2, subject="test", checked_at=NOW)
    assert not [one for one in result.results if one.error], result.results
    return {(one.relation, one.check): one for one in (*result.failures, *result.warnings)}


@pytest.fixture
def restored(home: Home) -> Iterator[None]:
    """Puts the rows back as they were; the views read them anew for every query."""
    before = {table: home.file(table).read_bytes() for table in ROWS}
    yield
    for table, content in before.items():
        home.file(table).write_bytes(content)


def replaced(column: str, value: str, where: str = "true") -> str:
    """A query that gives a column another value in some of the delivered rows."""
    changed = f'case when {where} then {value} else "{column}" end as "{column}"'
    return f"select * replace ({changed}) from delivered"


PLANTED = {
    "neighbourhood": (
        "police_suspects.suspects",
        replaced("offence_label", "'BU00340101'", "municipality_code = 'GM0034'"),
        "no_neighbourhood",
        Severity.FAIL,
    ),
    "service number": (
        "om_cases.cases",
        replaced("disposal_label", "'123456782'", "municipality_code = 'GM0034'"),
        "no_identifier",
        Severity.FAIL,
    ),
    "negative count": (
        "cannabis_sites.sites",
        replaced("n_plants", "-1", "municipality_code = 'GM0034'"),
        "counts_not_negative",
        Severity.FAIL,
    ),
    "zeros lost": (
        "duo.enrolments",
        replaced("person_key", "'P1'", "municipality_code = 'GM0034'"),
        "keys_have_their_form",
        Severity.FAIL,
    ),
    "other letter": (
        "bag_woz.premises",
        replaced("premises_key", "'H000000009'", "municipality_code = 'GM0034'"),
        "keys_have_their_form",
        Severity.FAIL,
    ),
    "no contributor": (
        "rdw.vehicles",
        replaced("vehicle_key", "null", "municipality_code = 'GM0034'"),
        "contributors_filled",
        Severity.FAIL,
    ),
    "number not replaced": (
        "rdw.vehicles",
        replaced("licence_plate", "'AB12CD'", "municipality_code = 'GM0034'"),
        "hashes_have_their_form",
        Severity.FAIL,
    ),
    "owner of another kind": (
        "kadaster.rights",
        replaced("owner_kind", "'unknown'", "municipality_code = 'GM0034'"),
        "owner_fits_its_kind",
        Severity.FAIL,
    ),
    "municipality missing": (
        "tax_wealth.households",
        "select * from delivered where municipality_code <> 'GM0184'",
        "municipalities_complete",
        Severity.WARN,
    ),
    "households too large": (
        "brp.households",
        replaced("n_persons", "2", "municipality_code = 'GM0034'"),
        "sizes_add_up",
        Severity.WARN,
    ),
    "low income without a year": (
        "tax_income.households",
        replaced("is_low_income", "true", "municipality_code = 'GM0034'"),
        "low_income_has_its_first_year",
        Severity.WARN,
    ),
    "low income since later": (
        "tax_income.households",
        "select * replace (true as is_low_income, 2025 as low_income_since_year) from delivered",
        "low_income_has_its_first_year",
        Severity.WARN,
    ),
    "wealth of another sum": (
        "tax_wealth.households",
        replaced("wealth_eur", "wealth_eur + 2", "municipality_code = 'GM0034'"),
        "wealth_adds_up",
        Severity.WARN,
    ),
    "value in thousands": (
        "bag_woz.premises",
        replaced("woz_value_eur", "woz_value_eur // 1000"),
        "amounts_plausible",
        Severity.WARN,
    ),
    "price in cents": (
        "kadaster.transfers",
        replaced("price_eur", "price_eur * 100"),
        "amounts_plausible",
        Severity.WARN,
    ),
    "benefit in cents": (
        "uwv_svb.benefits",
        replaced("amount_eur", "amount_eur * 100"),
        "amounts_plausible",
        Severity.WARN,
    ),
    "income in cents": (
        "tax_income.persons",
        replaced("personal_income_eur", "personal_income_eur * 100"),
        "amounts_plausible",
        Severity.WARN,
    ),
}


class TestGate2:
    def test_good_rows_pass_without_a_warning(
        self, home: Home, engine: GateEngine, suites: list[Suite]
    ) -> None:
        assert looked_at(home, engine, suites) == {}

    @pytest.mark.parametrize("what", PLANTED)
    def test_a_planted_row_is_found_by_its_own_check_alone(
        self, home: Home, engine: GateEngine, suites: list[Suite], restored: None, what: str
    ) -> None:
        table, sql, check, severity = PLANTED[what]
        relation = "stg_" + table.replace(".", "__")
        change(home, table, sql)
        found = looked_at(home, engine, suites, relation)
        own = {key: one for key, one in found.items() if key[1] != "keys_are_found"}
        assert set(own) == {(relation, check)}
        assert own[relation, check].severity is severity
        assert own[relation, check].rows

    def test_every_check_of_the_registers_was_planted(self, suites: list[Suite]) -> None:
        names = {
            check.name
            for suite in suites
            if suite.relation.startswith("stg_")
            for check in suite.checks
            if suite.name != "links"
        }
        assert names == {check for _, _, check, _ in PLANTED.values()}

    def test_a_key_that_the_other_register_does_not_know_is_a_warning(
        self, home: Home, engine: GateEngine, suites: list[Suite], restored: None
    ) -> None:
        by_relation = {suite.relation: suite for suite in suites if suite.name == "links"}
        assert len(LINKS.links) >= 17
        for link in LINKS.links:
            table = link.relation.removeprefix("stg_").replace("__", ".")
            before = home.file(table).read_bytes()
            column = link.key.removesuffix("_hash")
            lost = f"left({column}, 1) || '99999999' || right({column}, 1)"
            if link.key != column:
                lost = f"md5({column})"
            change(home, table, replaced(column, lost))
            found = looked_at(home, engine, [by_relation[link.relation]])
            result = found[link.relation, "keys_are_found"]
            assert result.severity is Severity.WARN
            assert link.key in {row["key"] for row in result.rows}
            home.file(table).write_bytes(before)

    def test_a_link_is_looked_at_only_where_both_have_rows(
        self, home: Home, engine: GateEngine, suites: list[Suite], restored: None
    ) -> None:
        for table in ("brp.persons", "brp.households", "bag_woz.premises", "nhr.legal_entities"):
            change(home, table, "select * from delivered where false")
        links = [suite for suite in suites if suite.name == "links"]
        assert looked_at(home, engine, links) == {}

    def test_of_a_million_rows_a_link_looks_at_some_keys_on_both_sides(
        self, home: Home, engine: GateEngine, suites: list[Suite], restored: None
    ) -> None:
        def million(prefix: str) -> str:
            return f"'{prefix}' || lpad(cast(range as varchar), 7, '0')"

        many = "from (select * from delivered limit 1), range(1000000)"
        (links,) = (
            suite
            for suite in suites
            if (suite.name, suite.relation) == ("links", "stg_uwv_svb__benefits")
        )
        columns = "* exclude (range) replace ({} as person_key)"
        change(home, "brp.persons", f"select {columns.format(million('P00'))} {many}")
        change(home, "uwv_svb.benefits", f"select {columns.format(million('P00'))} {many}")
        assert looked_at(home, engine, [links]) == {}
        change(
            home,
            "uwv_svb.benefits",
            "select * replace (case when left(person_key, 5) = 'P0000' then "
            "'P99' || right(person_key, 7) else person_key end as person_key) from delivered",
        )
        ((row,),) = [found.rows for found in looked_at(home, engine, [links]).values()]
        assert (row["n_not_found"], row["n_looked_at"]) == (1_000, 10_000)

    def test_every_check_says_what_to_do(self) -> None:
        document = yaml.safe_load(SUITE_FILE.read_text(encoding="utf-8"))
        for suite in document["suites"]:
            for check in suite["checks"]:
                assert check["severity"] in ("fail", "warn")
                assert check["remedy"].endswith(".")
