"""Synthetic deliveries: the same country in every register and year, as large as the real one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
import yaml
from typer.testing import CliRunner

from support import PROJECT, settings_at, silent, take_in_all
from zicht.agreements import load_agreements
from zicht.cli.synth import synth
from zicht.clock import fixed_clock
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.formats import delivered_table
from zicht.deliveries.package import ObservationStatus, read_descriptor, verify_files
from zicht.errors import ConfigurationError, UsageError
from zicht.periods import Period
from zicht.synthetic import (
    Geography,
    Options,
    Scope,
    Wanted,
    load_geography,
    make,
    plan_deliveries,
    scope_of,
    synthesise,
)
from zicht.synthetic import world as world_module
from zicht.synthetic.facts import facts
from zicht.synthetic.planning import NEEDS
from zicht.synthetic.world import World, sql
from zicht.synthetic.writing import write_fragment

SEED = 7
LONE = "GM1695"
"""A small municipality where, with this seed, foundations grow beyond explanation."""
MERGED, PARTS = "GM1991", ("GM1685", "GM0856")
"""Made of its parts on 1 January 2022."""
FACTS = PROJECT / "src" / "zicht" / "synthetic" / "facts.yaml"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
QUARTERS = [
    Period.parse(f"{year}-Q{number}") for year in (2020, 2021, 2022) for number in range(1, 5)
]
ODDS_QUARTER = Period.parse("2022-Q4")


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    """The registers."""
    every = load_contracts(PROJECT / "expectations" / "contracts")
    return {source: contract for source, contract in every.items() if contract.needs_agreement}


@pytest.fixture(scope="session")
def geography() -> Geography:
    """The whole country."""
    return load_geography(PROJECT / "dbt_project" / "seeds" / "geography")


@pytest.fixture(scope="session")
def scope(geography: Geography) -> Scope:
    """Two municipalities of today."""
    return scope_of(geography, SEED, [LONE, MERGED])


class Registers:
    """Deliveries read back as the contract says, as tables ``<source>_<table>_<period>``."""

    def __init__(self, landing: Path, contracts: dict[str, Contract], scratch: Path) -> None:
        self.landing, self.contracts, self.scratch = landing, contracts, scratch
        self.connection = duckdb.connect()

    def add(self, folder: Path, prefix: str = "") -> None:
        """Reads one delivery."""
        descriptor = read_descriptor(folder)
        verify_files(folder, descriptor)
        contract = self.contracts[descriptor.source]
        period = str(descriptor.reference_period).replace("-", "_")
        for resource in descriptor.resources:
            table = contract.table(resource.name)
            scratch = self.scratch / prefix / folder.name / table.name
            scratch.mkdir(parents=True)
            found = delivered_table(
                self.connection, folder / resource.path, table, contract.format, scratch
            )
            assert found.names == tuple(column.name for column in table.columns)
            typed = ", ".join(
                f"strptime({c.name}, '{c.date_format}')::date as {c.name}"
                if c.date_format
                else f"replace({c.name}, ',', '.')::double as {c.name}"
                if c.sql_type == "DOUBLE"
                else f"{c.name}::{c.sql_type} as {c.name}"
                for c in table.columns
            )
            self.connection.execute(
                f"create table {prefix}{contract.source}_{table.name}_{period} as "
                f"select {typed} from ({found.query})"
            )

    def one(self, query: str) -> Any:
        """The single value of a query."""
        (row,) = self.connection.execute(query).fetchall()
        return row[0] if len(row) == 1 else row

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def made(
    contracts: dict[str, Contract], scope: Scope, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registers, dict[str, Any]]]:
    """All registers around 2022, the yearly ones also before the merger; and what was planted."""
    home = tmp_path_factory.mktemp("synthetic")
    years = [Period.parse("2021"), Period.parse("2022")]
    wanted = [
        *plan_deliveries(contracts, [], [*years, ODDS_QUARTER, Period.parse("2022-12")], NOW),
        *plan_deliveries(contracts, ["kadaster"], QUARTERS[:-1], NOW),
        *plan_deliveries(contracts, ["police_suspects"], [QUARTERS[-3]], NOW),
    ]
    truth = home / "truth.json"
    folders = synthesise(home / "landing", contracts, scope, wanted, silent, truth)
    assert len(folders) == len(wanted)
    registers = Registers(home / "landing", contracts, home / "scratch")
    for folder in folders:
        registers.add(folder)
    yield registers, json.loads(truth.read_text())
    registers.connection.close()


def digests(folder: Path) -> dict[str, str]:
    """Of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- determinism ---------------------------------------------------------------------------------


def test_same_seed_same_bytes_and_another_seed_others(
    contracts: dict[str, Contract], geography: Geography, tmp_path: Path
) -> None:
    wanted = plan_deliveries(
        contracts, [], [Period.parse(p) for p in ("2022", "2022-Q4", "2022-12")], NOW
    )
    found = []
    # Large enough for the engine to use several threads, which may not show in the order of rows.
    for name, seed in (("a", SEED), ("b", SEED), ("c", SEED + 1)):
        landing = tmp_path / name / "landing"
        synthesise(landing, contracts, scope_of(geography, seed, [LONE, MERGED]), wanted, silent)
        found.append(digests(landing))
    first, second, other = found
    assert len(first) == sum(len(contracts[w.source].tables) + 1 for w in wanted)
    assert first == second
    data = [name for name in first if not name.endswith("datapackage.json")]
    assert [name for name in data if first[name] == other[name]] == []


def test_rows_do_not_depend_on_how_the_work_is_cut(
    contracts: dict[str, Contract],
    scope: Scope,
    made: tuple[Registers, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is made at once elsewhere in this file, made in parts."""
    monkeypatch.setattr(world_module, "PART", 1)
    assert len(world_module.parts(scope)) > 1
    registers, _ = made
    registers.scratch = tmp_path / "scratch"
    wanted = plan_deliveries(contracts, [], [Period.parse("2022"), ODDS_QUARTER], NOW)
    for folder in synthesise(tmp_path / "landing", contracts, scope, wanted, silent):
        registers.add(folder, "cut_")
    for (name,) in registers.rows(
        "select table_name from duckdb_tables() where table_name ~ 'cut_.*'"
    ):
        for one, other in ((name, name[4:]), (name[4:], name)):
            assert registers.one(f"select count(*) from (from {one} except all from {other})") == 0


def test_a_part_of_the_country_is_a_part_of_it(
    contracts: dict[str, Contract],
    geography: Geography,
    made: tuple[Registers, dict[str, Any]],
    tmp_path: Path,
) -> None:
    """The same people, households and homes whether few or many municipalities are made."""
    registers, _ = made
    wanted = plan_deliveries(contracts, ["brp"], (2022, 2022), NOW)
    (folder,) = synthesise(
        tmp_path / "landing", contracts, scope_of(geography, SEED, [LONE]), wanted, silent
    )
    registers.scratch = tmp_path
    registers.add(folder, "alone_")
    assert (
        registers.one(
            "select count(*) from (from alone_brp_persons_2022 except "
            f"from brp_persons_2022 where municipality_code = '{LONE}')"
        )
        == 0
    )
    assert registers.one("select count(*) from alone_brp_persons_2022") == registers.one(
        f"select count(*) from brp_persons_2022 where municipality_code = '{LONE}'"
    )


# --- the country ---------------------------------------------------------------------------------


def test_every_municipality_of_every_year_has_its_inhabitants(geography: Geography) -> None:
    """Atoms add up to the seeds, through every merger and split."""
    for year in geography.years:
        found: dict[str, int] = {}
        for atom in geography.atoms:
            code = atom.code(date(year, 1, 1))
            found[code] = found.get(code, 0) + atom.inhabitants[year]
        assert found == {c: n for (y, c), n in geography.population.items() if y == year}


@pytest.mark.parametrize("year", [2021, 2022])
def test_population_is_that_of_the_seeds(
    made: tuple[Registers, dict[str, Any]], geography: Geography, year: int
) -> None:
    registers, _ = made
    found = dict(
        registers.rows(f"select municipality_code, count(*) from brp_persons_{year} group by 1")
    )
    codes = (LONE, MERGED) if year == 2022 else (LONE, *PARTS)
    assert found == {code: geography.population[year, code] for code in codes}


def test_households_add_up(made: tuple[Registers, dict[str, Any]]) -> None:
    registers, _ = made
    assert (
        registers.one(
            """
        select count(*) from (
            select household_key, dwelling_key, municipality_code, count(*) as n_persons
            from brp_persons_2022 group by all
        ) as p
        full join brp_households_2022 as h using (household_key, dwelling_key, municipality_code)
        where p.n_persons is distinct from h.n_persons
        """
        )
        == 0
    )
    mean, singles, with_children = registers.one(
        "select avg(n_persons), avg((household_type = 'single')::int), "
        "avg((household_type in ('couple_children', 'single_parent'))::int) "
        "from brp_households_2022"
    )
    assert 2.0 < mean < 2.3
    assert 0.36 < singles < 0.48
    assert 0.22 < with_children < 0.34
    assert (
        registers.one(
            "select count(*) from brp_persons_2022 "
            "where position = 'child' and birth_date < '1990-01-01'"
        )
        == 0
    )


def test_people_and_homes_outlive_the_merger(made: tuple[Registers, dict[str, Any]]) -> None:
    """Keys stay, also where the municipality changed; some move, some die, some are born."""
    registers, _ = made
    stayed, moved, same_person = registers.one(
        """
        select count(*), avg((a.dwelling_key <> b.dwelling_key)::int),
            bool_and(a.birth_date = b.birth_date and a.sex = b.sex)
        from brp_persons_2021 as a inner join brp_persons_2022 as b using (person_key)
        """
    )
    before, after = (registers.one(f"select count(*) from brp_persons_{y}") for y in (2021, 2022))
    assert same_person
    assert 0.93 * before < stayed < 0.99 * min(before, after)
    assert 0.05 < moved < 0.15
    born = registers.one(
        "select count(*) from brp_persons_2022 where birth_date >= '2021-01-01' and person_key "
        "not in (select person_key from brp_persons_2021)"
    )
    assert 0.005 < born / after < 0.02
    kept, codes = registers.one(
        f"""
        select count(*), list(distinct b.municipality_code)
        from bag_woz_premises_2021 as a inner join bag_woz_premises_2022 as b using (premises_key)
        where a.municipality_code in {PARTS}
        """
    )
    assert codes == [MERGED]
    lost = registers.one(
        f"select count(*) from bag_woz_premises_2021 where municipality_code in {PARTS}"
    )
    assert kept > 0.98 * lost


REFERENCES = [
    ("brp_households_2022.dwelling_key", "bag_woz_premises_2022.premises_key", "true"),
    ("kadaster_rights_2022_Q4.premises_key", "bag_woz_premises_2022.premises_key", "true"),
    ("kadaster_rights_2022_Q4.owner_key", "brp_persons_2022.person_key", "owner_kind = 'person'"),
    (
        "kadaster_rights_2022_Q4.owner_key",
        "nhr_legal_entities_2022_Q4.entity_key",
        "owner_kind = 'legal_entity'",
    ),
    ("kadaster_transfers_2022_Q4.premises_key", "bag_woz_premises_2022.premises_key", "true"),
    ("nhr_legal_entities_2022_Q4.premises_key", "bag_woz_premises_2022.premises_key", "true"),
    ("nhr_legal_entities_2022_Q4.entity_key", "nhr_directors_2022_Q4.entity_key", "true"),
    ("nhr_directors_2022_Q4.director_key", "brp_persons_2022.person_key", "true"),
    ("police_suspects_suspects_2022_Q4.person_key", "brp_persons_2022.person_key", "true"),
    ("om_cases_cases_2022_Q4.person_key", "brp_persons_2022.person_key", "true"),
    (
        "om_cases_cases_2022_Q4.case_key",
        "police_suspects_suspects_2022_Q2.case_key",
        "true",
    ),
    ("cannabis_sites_sites_2022_Q4.premises_key", "bag_woz_premises_2022.premises_key", "true"),
    ("uwv_svb_benefits_2022_12.person_key", "brp_persons_2022.person_key", "true"),
    ("tax_income_persons_2022.person_key", "brp_persons_2022.person_key", "true"),
    ("brp_persons_2022.person_key", "tax_income_persons_2022.person_key", "true"),
    ("tax_income_households_2022.household_key", "brp_households_2022.household_key", "true"),
    ("tax_wealth_households_2022.household_key", "brp_households_2022.household_key", "true"),
    ("duo_enrolments_2022.person_key", "brp_persons_2022.person_key", "true"),
    ("rdw_vehicles_2022_Q4.owner_key", "brp_persons_2022.person_key", "owner_kind = 'person'"),
    (
        "rdw_vehicles_2022_Q4.owner_registration_number",
        "nhr_legal_entities_2022_Q4.registration_number",
        "owner_kind = 'legal_entity'",
    ),
]


@pytest.mark.parametrize(("key", "target", "where"), REFERENCES)
def test_registers_agree(
    made: tuple[Registers, dict[str, Any]], key: str, target: str, where: str
) -> None:
    registers, _ = made
    table, column = key.split(".")
    other, other_column = target.split(".")
    n, lost = registers.one(
        f"select count(*), count(*) filter ({column} not in (select {other_column} from {other})) "
        f"from {table} where {where}"
    )
    assert n > 0
    assert lost == 0


def test_entities_are_founded_and_dissolved(made: tuple[Registers, dict[str, Any]]) -> None:
    """Founded before dissolved; who is dissolved stays in the delivery for two years."""
    registers, _ = made
    n, dissolved, new, oldest, wrong = registers.one(
        """
        select count(*), count(dissolved_on), count(*) filter (founded_on >= '2022-01-01'),
            min(dissolved_on), count(*) filter (dissolved_on < founded_on)
        from nhr_legal_entities_2022_Q4
        """
    )
    assert 0.05 < dissolved / n < 0.20
    assert 0.03 < new / n < 0.15
    assert oldest > date(2020, 12, 31)
    assert wrong == 0


def test_keys_look_like_link_keys(
    made: tuple[Registers, dict[str, Any]], contracts: dict[str, Contract]
) -> None:
    """A letter and nine digits, unique; one in eleven passes the test of service numbers."""
    registers, _ = made
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    total = " + ".join(f"{w} * {{c}}[{place}]::int" for place, w in enumerate(weights, start=2))
    looked_at = 0
    for source, contract in contracts.items():
        period = {"yearly": "2022", "quarterly": "2022_Q4", "monthly": "2022_12"}[
            contract.cadence.value
        ]
        for table in contract.tables:
            name = f"{source}_{table.name}_{period}"
            keys = ", ".join(table.keys)
            assert registers.one(f"select count(*) - count(distinct ({keys})) from {name}") == 0
            for column in table.columns:
                if not column.pattern or not column.pattern.endswith("[0-9]{9}"):
                    continue
                n, passed = registers.one(
                    f"select count(*), avg((({total.format(c='k')}) % 11 = 0)::int) from "
                    f"(select distinct {column.name} as k from {name} where {column.name} <> '')"
                )
                if n > 5000:
                    assert abs(passed - 1 / 11) < 5 * (1 / 11 * 10 / 11 / n) ** 0.5, column.name
                    looked_at += 1
    assert looked_at > 20


# --- what was planted ----------------------------------------------------------------------------


def test_planted_foundations_can_be_seen(
    made: tuple[Registers, dict[str, Any]], geography: Geography
) -> None:
    registers, truth = made
    planted = truth["single_director_foundations"]
    assert planted["municipalities"].keys() == {LONE}
    found = dict(
        registers.rows(
            """
            select municipality_code, count(*) from nhr_legal_entities_2022_Q4 as e
            where legal_form = 'stichting' and dissolved_on is null and 1 = (
                select count(*) from nhr_directors_2022_Q4 as d where d.entity_key = e.entity_key
            )
            group by 1
            """
        )
    )
    per = {code: n / geography.population[2022, code] for code, n in found.items()}
    begin, end = (date.fromisoformat(planted[name]) for name in ("from", "until"))
    so_far = (date(2022, 12, 31) - begin) / (end - begin)
    expected = 1 + (planted["municipalities"][LONE] - 1) * so_far
    assert expected > 3
    assert 0.6 * expected < per[LONE] / per[MERGED] < 1.6 * expected


def test_planted_features_of_premises_can_be_seen(scope: Scope, tmp_path: Path) -> None:
    """The odds are as told; the confounded feature only seems to matter. Many sites, to see it."""
    world = World(scope, sorted(scope.atoms), tmp_path / "spill")
    world.set(sites_per_quarter=0.01)
    world.at(ODDS_QUARTER, NEEDS["cannabis_sites"])
    world.connection.execute(
        f"create temp table site as select _unit as premises from "
        f"({sql('deliveries/cannabis_sites.sites')})"
    )
    world.connection.execute(
        "create temp table looked as select premises.*, premises in (from site) as is_site, "
        "year_built between 1945 and 1970 as is_rebuilding, floor_area >= 200 as is_large, "
        "coalesce(dwelling_type = 'terraced', false) as is_terraced from premises"
    )

    def ratio(feature: str, where: str = "true") -> float:
        ((with_it, without),) = world.rows(
            f"select avg(is_site::int) filter ({feature}), avg(is_site::int) filter "
            f"(not {feature}) from looked where {where}"
        )
        return float(with_it / without)

    odds = facts()
    assert ratio("is_rebuilding") == pytest.approx(odds["odds_rebuilding"], rel=0.25)
    assert ratio("(use_code = 'industry')", "not is_rebuilding and is_large") == pytest.approx(
        odds["odds_industry"], rel=0.35
    )
    assert ratio("is_large", "is_dwelling") == pytest.approx(odds["odds_large"], rel=0.35)
    assert ratio("is_terraced", "is_dwelling") > 1.2
    assert ratio("is_terraced", "is_dwelling and is_rebuilding and not is_large") == pytest.approx(
        1, rel=0.25
    )
    world.close()


def test_planted_dwellings_are_passed_on(made: tuple[Registers, dict[str, Any]]) -> None:
    registers, truth = made
    every = " union all ".join(
        f"from kadaster_transfers_{str(quarter).replace('-', '_')}" for quarter in QUARTERS
    )
    often = dict(
        registers.rows(
            f"select premises_key, count(*) from ({every}) group by 1 having count(*) > 4"
        )
    )
    planted = truth["passed_on"]["premises"]
    assert planted
    assert {key: len(quarters) for key, quarters in planted.items()} == often


def test_planted_households_have_homes_and_no_means(
    made: tuple[Registers, dict[str, Any]],
) -> None:
    registers, truth = made
    planted = truth["homes_and_no_means"]["households"]["2022"]
    assert planted
    for one in planted:
        key, person = one["household_key"], one["person_key"]
        assert (
            registers.one(
                "select count(*) from kadaster_rights_2022_Q4 inner join bag_woz_premises_2022 "
                f"using (premises_key) where owner_key = '{person}' and share_pct = 100 "
                "and use_code = 'dwelling'"
            )
            >= one["n_homes"]
            > 2
        )
        assert registers.one(
            f"select is_low_income from tax_income_households_2022 where household_key = '{key}'"
        )
        assert (
            registers.one(
                f"select wealth_eur from tax_wealth_households_2022 where household_key = '{key}'"
            )
            < 1000
        )


# --- the plan ------------------------------------------------------------------------------------


PLACES = {"GM1681": 1.6, "GM1729": 0.55, "GM0678": 1.0}
"""Where low income turns after :data:`TURN` with this seed, and to how many times what it was."""
TURN, LATER = 2021, datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def turned(
    contracts: dict[str, Contract], geography: Geography, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registers, dict[str, Any]]]:
    """Incomes and benefits with a change in slope; the same without as ``no_``."""
    home = tmp_path_factory.mktemp("turned")
    registers = Registers(home, contracts, home / "scratch")
    years = [Period.parse(year) for year in ("2021", "2023", "2024", "2027")]
    for prefix, turns, asked in (("", [TURN], years), ("no_", [], [years[0], *years[2:]])):
        scope = scope_of(geography, SEED, list(PLACES), turns)
        months = [Period.parse(f"{year}-12") for year in (2021, 2027)]
        wanted = plan_deliveries(contracts, ["tax_income", "uwv_svb"], [*asked, *months], LATER)
        landing, truth = home / f"{prefix}landing", home / f"{prefix}truth.json"
        for folder in synthesise(landing, contracts, scope, wanted, silent, truth):
            registers.add(folder, prefix)
    yield registers, json.loads((home / "truth.json").read_text())
    registers.connection.close()


def test_low_income_turns_only_when_asked(contracts: dict[str, Contract], tmp_path: Path) -> None:
    """The rows of before this could be asked; another version of DuckDB draws others."""
    geography = load_geography(PROJECT / "dbt_project" / "seeds" / "geography")
    sources = ["tax_income", "tax_wealth", "uwv_svb"]
    periods = [Period.parse("2022"), Period.parse("2022-12")]
    wanted = plan_deliveries(contracts, sources, periods, NOW)
    registers = Registers(tmp_path, contracts, tmp_path / "scratch")
    truth = tmp_path / "truth.json"
    scope = scope_of(geography, SEED, [LONE])
    for folder in synthesise(tmp_path / "landing", contracts, scope, wanted, silent, truth):
        registers.add(folder)
    found = {
        name: registers.one(
            f"select md5(string_agg(t::varchar, '|' order by t::varchar)) from {name} as t"
        )
        for (name,) in registers.rows(
            "select table_name from duckdb_tables() where table_name like '%2022%'"
        )
    }
    assert found == {
        "tax_income_households_2022": "a3a9bf778aa0ed99fac9a8f7c07247ad",
        "tax_income_persons_2022": "abe5c7e5d3b0eec3bb3e5986a1f0a631",
        "tax_wealth_households_2022": "29c4bcccf1b2df4d5674cd317d707b18",
        "uwv_svb_benefits_2022_12": "00b609d71bde53d2fcd854ff6506d59a",
    }
    assert "low_income_turns" not in json.loads(truth.read_text())


def test_planted_low_income_turns_as_told(
    turned: tuple[Registers, dict[str, Any]], geography: Geography
) -> None:
    registers, truth = turned
    told = truth["low_income_turns"]["municipalities"]
    assert {code: told[code]["factor"] if code in told else 1.0 for code in PLACES} == PLACES
    assert {told[code]["as_before_until"] for code in told} == {TURN}
    assert {code: one["direction"] for code, one in told.items()} == {
        "GM1681": "rises",
        "GM1729": "falls",
    }
    for year, so_far in ((2021, 0.0), (2024, 0.5), (2027, 1.0)):
        for code, factor in PLACES.items():
            counted = [
                registers.one(
                    f"select count(*) from {prefix}tax_income_households_{year} "
                    f"where is_low_income and municipality_code = '{code}'"
                )
                for prefix in ("", "no_")
            ]
            expected = 1 + (factor - 1) * so_far
            assert counted[0] / counted[1] == pytest.approx(expected, abs=0.1 * (expected != 1))
    for code, factor in PLACES.items():
        where = f"where municipality_code = '{code}' and benefit_type = 'participatiewet'"
        new, old = (
            registers.one(f"select count(*) from {prefix}uwv_svb_benefits_2027_12 {where}")
            for prefix in ("", "no_")
        )
        assert new / old == pytest.approx(factor, abs=0.15 * (factor != 1))


def test_only_what_is_planted_differs(turned: tuple[Registers, dict[str, Any]]) -> None:
    registers, _ = turned
    tables = ("tax_income_households", "tax_income_persons", "uwv_svb_benefits")
    for name in tables:
        last = "2027_12" if name == "uwv_svb_benefits" else "2027"
        first = last.replace("2027", "2021")
        for period, where in ((first, "true"), (last, "municipality_code = 'GM0678'")):
            for one, other in (("", "no_"), ("no_", "")):
                differing = registers.one(
                    f"select count(*) from (from {one}{name}_{period} where {where} "
                    f"except all from {other}{name}_{period} where {where})"
                )
                assert differing == 0


def test_a_spell_of_low_income_never_begins_earlier(
    turned: tuple[Registers, dict[str, Any]],
) -> None:
    """Who has become poor says so since that year; who is still, not since an earlier one."""
    registers, _ = turned
    earlier, became_before, became = registers.one(
        """
        with pairs as (
            select
                new.low_income_since_year as since, old.low_income_since_year as since_before
            from tax_income_households_2024 as new
            inner join tax_income_households_2023 as old using (household_key)
            where new.is_low_income
        )
        select
            count(*) filter (since < since_before),
            count(*) filter (since_before is null and since < 2024),
            count(*) filter (since_before is null)
        from pairs
        """
    )
    assert became > 300
    assert earlier == 0
    assert became_before <= 0.01 * became, "only who came from where the share falls"


def test_where_low_income_turns_is_drawn(geography: Geography) -> None:
    provinces = {atom.last_code: atom.province for atom in geography.atoms}
    for years, least, most in (((2021,), 0.3, 0.36), ((2018, 2022), 0.46, 0.52)):
        turning = geography.turning(SEED, years)
        assert least < len(turning) / len(provinces) < most
        assert {provinces[code] for code in turning} == set(provinces.values())
        assert {turn.year for turn in turning.values()} == set(years)
        rising = [turn.factor > 1 for turn in turning.values()]
        assert 0.45 < sum(rising) / len(rising) < 0.6
        assert geography.turning(SEED + 1, years).keys() != turning.keys()
    assert geography.turning(SEED, ()) == {}


def test_deliveries_come_around_the_agreed_day(contracts: dict[str, Contract]) -> None:
    now = datetime(2024, 6, 30, tzinfo=UTC)
    plan = plan_deliveries(contracts, [], (2021, 2024), now)
    assert plan == plan_deliveries(contracts, [], (2021, 2024), now)
    assert {wanted.source for wanted in plan} == contracts.keys()
    assert len({(wanted.source, wanted.id) for wanted in plan}) == len(plan)
    for wanted in plan:
        off = wanted.delivered_at.date() - contracts[wanted.source].due(wanted.period)
        assert timedelta(days=-3) <= off <= timedelta(days=10)
        assert wanted.delivered_at < now
    newest = {wanted.source: wanted.period for wanted in sorted(plan, key=lambda w: w.period)}
    assert (str(newest["rdw"]), str(newest["brp"]), str(newest["tax_income"])) == (
        "2024-Q1",
        "2024",
        "2021",
    )


def test_options_of_life(contracts: dict[str, Contract]) -> None:
    options = Options(late=("rdw",), revised=("kadaster",), provisional=("brp",), is_archive=True)
    plan = plan_deliveries(contracts, ["rdw", "kadaster", "brp"], (2022, 2023), NOW, options)
    assert all(wanted.is_archive for wanted in plan)
    by_source: dict[str, list[Wanted]] = {}
    for wanted in plan:
        by_source.setdefault(wanted.source, []).append(wanted)
    late = [(w.delivered_at.date() - contracts["rdw"].due(w.period)).days for w in by_source["rdw"]]
    assert [days > 30 for days in late] == [False] * 7 + [True]
    (correction,) = [w for w in by_source["kadaster"] if w.supersedes]
    (corrected,) = [w for w in by_source["kadaster"] if w.id == correction.supersedes]
    assert correction.period == corrected.period == Period.parse("2023-Q3")
    assert correction.delivered_at > corrected.delivered_at
    assert (corrected.missing > 0, correction.missing) == (True, 0)
    assert [(str(w.period), w.status) for w in by_source["brp"]] == [
        ("2022", ObservationStatus.PROVISIONAL),
        ("2022", ObservationStatus.FINAL),
        ("2023", ObservationStatus.PROVISIONAL),
        ("2023", ObservationStatus.FINAL),
    ]


def test_what_comes_first_lacks_whole_households(
    contracts: dict[str, Contract], geography: Geography, tmp_path: Path
) -> None:
    plan = plan_deliveries(contracts, ["brp"], (2022, 2022), NOW, Options(provisional=("brp",)))
    folders = synthesise(
        tmp_path / "landing", contracts, scope_of(geography, SEED, [LONE]), plan, silent
    )
    registers = Registers(tmp_path / "landing", contracts, tmp_path / "scratch")
    for folder, prefix in zip(folders, ("first_", "then_"), strict=True):
        registers.add(folder, prefix)
    first, then = (
        registers.one(f"select count(*) from {name}_brp_persons_2022") for name in ("first", "then")
    )
    assert 0.96 * then < first < 0.995 * then
    for table in ("persons", "households"):
        assert (
            registers.one(
                f"select count(*) from (from first_brp_{table}_2022 "
                f"except from then_brp_{table}_2022)"
            )
            == 0
        )
    assert (
        registers.one(
            "select count(*) from first_brp_persons_2022 where household_key not in "
            "(select household_key from first_brp_households_2022)"
        )
        == 0
    )


# --- the real intake -----------------------------------------------------------------------------


def test_intake_accepts_every_register(
    contracts: dict[str, Contract],
    scope: Scope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gate 1 finds nothing, also not in what comes after a re-division."""
    settings = settings_at(tmp_path)
    for agreement in load_agreements(settings.agreements):
        monkeypatch.setenv(f"ZICHT_KEY_{agreement.upper()}", "k" * 40)
    now = datetime(2025, 2, 1, tzinfo=UTC)
    periods = [Period.parse(period) for period in ("2022", "2022-Q1", "2022-01")]
    plan = [
        *plan_deliveries(contracts, ["brp"], [Period.parse("2021")], now),
        *plan_deliveries(contracts, [], periods, now),
    ]
    synthesise(settings.landing, contracts, scope, plan, silent)
    reports = take_in_all(settings, fixed_clock(now), list(contracts))
    assert {source: len(report.refused) for source, report in reports.items()} == dict.fromkeys(
        contracts, 0
    )
    assert {source: len(report.accepted) for source, report in reports.items()} == {
        **dict.fromkeys(contracts, 1),
        "brp": 2,
    }


# --- what goes wrong -----------------------------------------------------------------------------


def test_wrong_requests_are_told(
    contracts: dict[str, Contract], geography: Geography, scope: Scope, tmp_path: Path
) -> None:
    def code(raised: pytest.ExceptionInfo[Any]) -> str:
        assert raised.value.remedy
        return str(raised.value.code)

    with pytest.raises(UsageError) as raised:
        scope_of(geography, SEED, ["PV99"])
    assert code(raised) == "Z-SYN-001"
    with pytest.raises(UsageError) as raised:
        plan_deliveries(contracts, ["cbs_crime"], (2022, 2022), NOW)
    assert code(raised) == "Z-SYN-002"
    own = {**contracts, "own_source": contracts["brp"]}
    assert {wanted.source for wanted in plan_deliveries(own, [], (2022, 2022), NOW)} == NEEDS.keys()
    with pytest.raises(UsageError) as raised:
        plan_deliveries(contracts, ["brp"], (2023, 2022), NOW)
    assert code(raised) == "Z-SYN-003"
    with pytest.raises(UsageError) as raised:
        scope_of(geography, -1)
    assert code(raised) == "Z-SYN-004"
    plan = plan_deliveries(contracts, ["brp"], (2022, 2022), NOW)
    landing = tmp_path / "landing"
    with pytest.raises(UsageError) as raised:
        synthesise(landing, contracts, scope, plan, silent, landing / "truth.json")
    assert code(raised) == "Z-SYN-008"
    (landing / "brp" / plan[0].id).mkdir(parents=True)
    with pytest.raises(UsageError) as raised:
        list(make(landing, contracts, scope, plan, silent))
    assert code(raised) == "Z-SYN-007"


def test_a_column_without_position_is_told(contracts: dict[str, Contract], tmp_path: Path) -> None:
    table = contracts["brp"].table("households")
    with (
        duckdb.connect() as connection,
        pytest.raises(ConfigurationError, match="household_key of households") as raised,
    ):
        write_fragment(connection, "select 1", contracts["kadaster"], table, tmp_path / "x")
    assert raised.value.code == "Z-SYN-005"


def test_too_few_people_are_told(
    scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(scope, sorted(scope.atoms), tmp_path / "spill")
    world.set(third_child_share=0.0)
    world.connection.execute(
        "create or replace macro has_second(lane) as draw(lane, 'second') < 0.3"
    )
    with pytest.raises(ConfigurationError) as raised:
        world.at(Period.parse("2022"), ())
    assert raised.value.code == "Z-SYN-006"
    world.close()


def test_facts_are_in_the_reference_with_their_source() -> None:
    """Every figure that the country is modelled on, as the page shows it."""
    page = (PROJECT / "docs" / "reference" / "synthetic.md").read_text(encoding="utf-8")
    document = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    shown = [line for line in page.splitlines() if line.startswith("| `")]
    for name, entry in document.items():
        value = entry["value"]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        assert f"| `{name}` | {text} | {entry['what']} | {entry['source']} |" in shown
    assert facts().keys() == document.keys()


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path))
    monkeypatch.setenv("ZICHT_CLOCK", "2024-06-30T09:00:00Z")
    app = typer.Typer()
    app.command()(synth)
    runner = CliRunner()
    asked = ["--municipality", LONE, "--source", "brp", "--source", "rdw", "--from", "2023"]
    asked += ["--turn", "2022"]
    shown = runner.invoke(app, [*asked, "--to", "2024", "--json"])
    assert shown.exit_code == 0, shown.output
    summary = json.loads(shown.stdout)
    assert [(row["source"], row["deliveries"]) for row in summary["sources"]] == [
        ("brp", 2),
        ("rdw", 5),
    ]
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert truth["seed"] == summary["seed"] == SEED
    assert summary["turns"] == [2022]
    assert not truth.keys() & {"single_director_foundations", "low_income_turns"}, (
        "brp and rdw cannot show these"
    )
    assert not list((tmp_path / "landing").rglob("ground_truth.json"))
    with pytest.raises(UsageError, match="2024-Q9") as raised:
        runner.invoke(app, ["--period", "2024-Q9"], catch_exceptions=False)
    assert raised.value.code == "Z-SYN-009"
    assert "Example: zicht synth --province PV29" in runner.invoke(app, ["--help"]).output
