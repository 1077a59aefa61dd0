"""Figures from microdata, from a delivery to a release: hidden, attacked, and remembered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import PROJECT, run_refresh, settings_at, silent, take_in_all
from zicht import refresh
from zicht.attacker.canaries import search_canaries
from zicht.clock import Clock, fixed_clock
from zicht.contracts import load_contracts
from zicht.deliveries.package import read_descriptor, write_delivery
from zicht.disclosure.policies import Policy, load_policies
from zicht.errors import GateError, ZichtError
from zicht.files import read_json, remove_tree, write_json
from zicht.periods import Period
from zicht.refresh import forecasting, protecting
from zicht.refresh.attacking import attack_candidate
from zicht.refresh.contents import table_hashes
from zicht.releases.register import entries
from zicht.releases.store import current_release, list_releases
from zicht.settings import Settings
from zicht.synthetic import Options, load_geography, plan_deliveries, scope_of, synthesise

FIRST = datetime(2025, 5, 1, 9, tzinfo=UTC)
LATER = datetime(2025, 6, 1, 9, tzinfo=UTC)
PLACES = ("GM1695", "GM0654", "GM0677", "GM1714")
QUARTER, YEAR = "2024-Q4", "2022"
ENTITIES = "legal_entities_by_directors"
KEY_NAME = "ZICHT_KEY_ZICHT_OP_ONDERMIJNING"


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing with one quarter of the trade register and one year of incomes, of four places."""
    folder = tmp_path_factory.mktemp("deliveries")
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), 7, list(PLACES))
    periods = [Period.parse(QUARTER), Period.parse(YEAR)]
    wanted = plan_deliveries(contracts, ("nhr", "tax_income"), periods, FIRST, Options())
    synthesise(folder, contracts, scope, wanted, silent)
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, deliveries: Path) -> Settings:
    """An installation with a first release of these figures; copy it, never change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_NAME, "k" * 40)
        settings = settings_at(tmp_path_factory.mktemp("released"))
        shutil.copytree(deliveries, settings.landing, dirs_exist_ok=True)
        take_in_all(settings, fixed_clock(FIRST), ["nhr", "tax_income"])
        run_refresh(settings, "first", fixed_clock(FIRST))
    return settings


@pytest.fixture
def home(released: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of the installation with the first release."""
    monkeypatch.setenv(KEY_NAME, "k" * 40)
    settings = settings_at(tmp_path / "home")
    shutil.copytree(released.home, settings.home, symlinks=True)
    return settings


def observations(settings: Settings, where: str, release: str = "current") -> list[tuple[Any, ...]]:
    path = settings.releases / release / "marts.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            "select region_code, breakdown, value, obs_status from observations "
            f"where {where} order by all"
        ).fetchall()


def true_cells(settings: Settings) -> dict[tuple[str, str, str], int]:
    """Innermost counts as the confidential mart holds them."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            "select region_code, legal_form, n_directors, value "
            f"from mart_rechtspersonen__{ENTITIES} where reference_period = '{QUARTER}'"
        ).fetchall()
    return {(place, form, board): int(value) for place, form, board, value in rows}


def deliver_more(settings: Settings, deliveries: Path, number: int) -> None:
    """Late records: foundations with a board of one, in one place, delivered as a correction."""
    (model,) = (deliveries / "nhr").glob(f"nhr-{QUARTER}*")
    descriptor = read_descriptor(model)
    tables = {one.path: (model / one.path).read_bytes() for one in descriptor.resources}
    entities = tables["legal_entities.csv"].decode().splitlines()
    directors = tables["directors.csv"].decode().splitlines()
    boards: dict[str, list[str]] = {}
    for line in directors[1:]:
        boards.setdefault(line.split(";")[0], []).append(line)
    likeness = next(
        line
        for line in entities[1:]
        if ";stichting;" in line and f";{PLACES[0]};" in line and line.endswith(";")
        if len(boards.get(line.split(";")[0], ())) == 1
    )
    old = likeness.split(";")[0]
    for i in range(number):
        key = f"E98{i:07}"
        fields = likeness.split(";")
        entities.append(";".join([key, f"{98000000 + i}", *fields[2:]]))
        directors.append(boards[old][0].replace(old, key))
    tables["legal_entities.csv"] = ("\n".join(entities) + "\n").encode()
    tables["directors.csv"] = ("\n".join(directors) + "\n").encode()
    write_delivery(
        settings.landing / "nhr",
        id=f"{descriptor.id}-corrected",
        source="nhr",
        reference_period=descriptor.reference_period,
        observation_status=descriptor.observation_status,
        delivered_at=LATER,
        tables=tables,
        dialect=descriptor.resources[0].dialect,
        supersedes=descriptor.id,
        contract_version=descriptor.contract_version,
    )


def refresh_again(settings: Settings, run: str, clock: Clock) -> list[str]:
    report = take_in_all(settings, clock, ["nhr"])["nhr"]
    assert not report.refused, report.refused
    return run_refresh(settings, run, clock)


class TestFirstRelease:
    def test_small_counts_and_what_gives_them_away_are_hidden(self, released: Settings) -> None:
        cells = observations(released, f"indicator_id = '{ENTITIES}' and region_level <> 'country'")
        shown = [value for *_, value, status in cells if status == "A"]
        hidden = [row for row in cells if row[3] == "Q"]
        assert hidden
        assert all(value == 0 or value >= 10 for value in shown)
        assert all(row[2] is None for row in hidden)
        true = true_cells(released)
        small = {(place, form, board) for (place, form, board), n in true.items() if 0 < n < 10}
        assert small
        status = {(row[0], row[1]): row[3] for row in cells}
        for place, form, board in small:
            assert status[(place, f"legal_form={form};n_directors={board}")] == "Q"

    def test_totals_are_those_of_the_mart(self, released: Settings) -> None:
        true = true_cells(released)
        for place in PLACES:
            total = sum(n for key, n in true.items() if key[0] == place)
            where = f"indicator_id = '{ENTITIES}' and region_code = '{place}'"
            ((_, _, value, status),) = observations(released, f"{where} and breakdown = 'total'")
            assert (value, status) == (total, "A")

    def test_a_region_of_which_a_part_was_not_delivered_is_not_published(
        self, released: Settings
    ) -> None:
        """Four municipalities are not Zeeland, and Zeeland is not the country."""
        assert not observations(released, f"indicator_id = '{ENTITIES}' and region_code = 'PV29'")
        assert not observations(released, f"indicator_id = '{ENTITIES}' and region_code = 'NL01'")

    def test_incomes_are_in_hundreds_and_shares_rest_on_a_hundred(self, released: Settings) -> None:
        counts = observations(released, "indicator_id = 'low_income_households'")
        assert counts
        assert all(value % 100 == 0 for _, _, value, _ in counts)
        shares = observations(released, "indicator_id = 'low_income_households_pct'")
        assert {status for *_, status in shares} <= {"A", "Q"}

    def test_why_is_told_inside_only(self, released: Settings) -> None:
        folder = released.runs / "first" / "disclosure"
        why = duckdb.read_parquet(str(folder / f"{ENTITIES}@{QUARTER}.parquet")).df()
        assert set(why["kind"]) == {"primary", "secondary"}
        assert (why["upper"] > why["lower"]).all()
        for path in (released.releases / "current").resolve().iterdir():
            assert b"minimum_frequency" not in path.read_bytes(), path
            assert b"secondary" not in path.read_bytes(), path

    def test_no_key_of_the_registers_is_in_any_byte(self, released: Settings) -> None:
        raw = next((released.raw / "nhr").glob(f"reference_period={QUARTER}/delivery=*"))
        keys = [
            str(row[0])
            for row in duckdb.sql(
                f"select entity_key from '{raw}/legal_entities.parquet' "
                "using sample 200 (reservoir, 7)"
            ).fetchall()
        ]
        files = sorted((released.releases / "current").resolve().iterdir())
        assert not search_canaries(files, keys)
        assert search_canaries([raw / "legal_entities.parquet"], keys[:3]), "the search finds them"

    def test_the_register_remembers(self, released: Settings) -> None:
        (entry,) = entries(released)
        assert entry.release_id == current_release(released)["release_id"]  # type: ignore[index]
        assert set(entry.protection) >= {
            f"{ENTITIES}@{QUARTER}",
            f"low_income_households@{YEAR}",
            f"low_income_households_pct@{YEAR}",
            f"low_income_households_pct.parts@{YEAR}",
        }


def cautious(folder: Path) -> Mapping[str, Policy]:
    """The policies, where a change that tells of a few records is held back."""
    policies = load_policies(folder)
    default = policies["default"]
    protection = {**default.protection, "small_changes": "hold"}
    return {**policies, "default": replace(default, protection=protection)}


class TestRevision:
    def test_late_records_open_nothing(self, home: Settings, deliveries: Path) -> None:
        before = observations(home, f"indicator_id = '{ENTITIES}'")
        deliver_more(home, deliveries, 3)
        said = refresh_again(home, "second", fixed_clock(LATER))
        assert len(list_releases(home)) == len(entries(home)) == 2
        after = {row[:2]: row[3] for row in observations(home, f"indicator_id = '{ENTITIES}'")}
        hidden = [row[:2] for row in before if row[3] == "Q"]
        assert all(after[cell] == "Q" for cell in hidden)
        # Both are attacked together: two layers of one table, and the incomes as they were.
        attacks = read_json(home.runs / "second" / "attack.json")["attacks"]
        assert max(len(one["tables"]) for one in attacks) == 2
        assert not [f for one in attacks for f in one["findings"] if f["severity"] == "fail"]
        # Three late records can be read off the totals; the reviewers are told.
        assert any("nothing_to_judge" in line or "late records" in line for line in said)

    def test_a_revision_that_tells_of_single_records_can_be_held(
        self, home: Settings, deliveries: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Policy holds three late records back: the figures stay as they were, nothing stops."""
        monkeypatch.setattr(protecting, "load_policies", cautious)
        where = f"indicator_id = '{ENTITIES}'"
        before = observations(home, where)
        deliver_more(home, deliveries, 3)
        said = refresh_again(home, "second", fixed_clock(LATER))
        assert any(f"held back {ENTITIES}@{QUARTER}, the figures of" in line for line in said)
        assert observations(home, where) == before
        held = read_json(home.runs / "second" / "disclosure" / f"{ENTITIES}@{QUARTER}.json")
        assert "Z-DIS-041" in held["held"]

    def test_what_did_not_change_is_not_protected_anew(
        self, home: Settings, deliveries: Path
    ) -> None:
        deliver_more(home, deliveries, 40)
        said = refresh_again(home, "second", fixed_clock(LATER))
        assert [line for line in said if line.strip().startswith(f"{ENTITIES}@")]
        assert not [line for line in said if line.strip().startswith("low_income_households@")]

    def test_cleaning_up_release_files_forgets_nothing(
        self, home: Settings, deliveries: Path
    ) -> None:
        (first,) = entries(home)
        remove_tree((home.releases / "current").resolve())
        (home.releases / "current").unlink()
        deliver_more(home, deliveries, 40)
        refresh_again(home, "second", fixed_clock(LATER))
        tables = [
            table["vintage"]
            for one in read_json(home.runs / "second" / "attack.json")["attacks"]
            for table in one["tables"]
        ]
        assert first.release_id in tables


def careless(folder: Path) -> Mapping[str, Policy]:
    """The policies as somebody might loosen them: every count may be shown."""
    return {
        name: replace(policy, minimum_frequency=1) if policy.minimum_frequency else policy
        for name, policy in load_policies(folder).items()
    }


class TestLeaks:
    def test_a_planted_leak_does_not_pass_gate_4(
        self, home: Settings, deliveries: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = current_release(home)
        monkeypatch.setattr(protecting, "load_policies", careless)
        monkeypatch.setattr(protecting, "published_before", lambda *_: [])
        deliver_more(home, deliveries, 3)
        with pytest.raises(GateError) as caught:
            refresh_again(home, "second", fixed_clock(LATER))
        assert caught.value.code == "Z-GATE-004"
        assert "nothing_can_be_inferred" in caught.value.message
        assert any(place in caught.value.message for place in PLACES)
        report = json.dumps(read_json(home.runs / "second" / "attack.json"))
        assert '"shown_small"' in report
        assert '"printed"' in report
        page = (home.runs / "second" / "report.html").read_text()
        assert "nothing_can_be_inferred" in page
        assert current_release(home) == before
        assert len(entries(home)) == 1

    def test_two_candidates_that_are_each_safe_do_not_leak_together(
        self, home: Settings, deliveries: Path
    ) -> None:
        """While a candidate waits, another release prints what this one hides."""
        deliver_more(home, deliveries, 3)
        clock = fixed_clock(LATER)
        take_in_all(home, clock, ["nhr"])
        refresh.plan(home, "second", clock, silent, None)
        for hop in ("stage", "gate_2", "build", "gate_3", "protect", "forecast", "gate_4"):
            refresh.FUNCTIONS[hop](home, "second", clock, silent)
        (entry,) = entries(home)
        other = entry.database.parent.with_name("2025-05-31-between")
        shutil.copytree(entry.database.parent, other)
        document = read_json(other / "entry.json")
        document |= {"release_id": other.name, "released_at": "2025-05-31T09:00:00Z"}
        (other / "entry.json").write_text(json.dumps(document))
        place, form, board = next(key for key, n in true_cells(home).items() if 0 < n < 10)
        with duckdb.connect(str(other / entry.database.name)) as connection:
            connection.execute(
                "update observations set value = 5, obs_status = 'A', conf_status = 'F' "
                f"where indicator_id = '{ENTITIES}' and region_code = '{place}' "
                f"and breakdown = 'legal_form={form};n_directors={board}'"
            )
            connection.execute(f"update observations set release_id = '{other.name}'")
        with pytest.raises(ZichtError) as caught:
            refresh.publish(home, "second", clock, silent)
        assert caught.value.code == "Z-GATE-004"
        assert place in caught.value.message
        assert len(list_releases(home)) == 1


COUNT = "foundations_founded"
"""An indicator of one number per municipality, so that a hidden one is hidden as a whole."""
HISTORY = [str(Period.parse(QUARTER).before(n)) for n in range(19, -1, -1)]
SMALL, SMALL_PERIODS = PLACES[0], (HISTORY[6], HISTORY[12])
FORECAST_FILES = tuple(
    f"{table}.{kind}"
    for table in ("forecasts", "forecast_scores", "past_forecasts")
    for kind in ("parquet", "csv")
)


def candidate_with_history(settings: Settings, small: int, shown: int) -> Path:
    """A candidate in which one municipality has two hidden quarters in a history of five years.

    The confidential mart gets the history; the wall and the hop ``forecast`` do the rest.

    Args:
        small: the numbers that are hidden.
        shown: added to a number that is not.
    """
    for folder in ("releases", "register", "candidates"):
        shutil.rmtree(settings.home / folder, ignore_errors=True)
    mart = f"mart_rechtspersonen__{COUNT}"
    with duckdb.connect(str(settings.warehouse)) as connection:
        columns = "vintage, known_at, is_provisional, is_estimated, is_missing, lag_days, geo_year"
        connection.execute(f"create temp table likeness as select {columns} from {mart} limit 1")
        connection.execute(f"delete from {mart}")
        rows = []
        for number, period in enumerate(HISTORY):
            for place, region in enumerate(PLACES):
                value = 40 + 15 * place + number + 7 * ((number * (place + 3)) % 5)
                if region == SMALL and period in SMALL_PERIODS:
                    value = small
                elif region == PLACES[1] and period == HISTORY[-1]:
                    value += shown
                rows.append((region, period, value, value, value))
        connection.execute(
            "create temp table new (region_code varchar, reference_period varchar, "
            "numerator double, value double, n_contributors bigint)"
        )
        connection.executemany("insert into new values (?, ?, ?, ?, ?)", rows)
        connection.execute(
            f"insert into {mart} by name "
            "select *, 'municipality' as region_level from new cross join likeness"
        )
    checked = settings.runs / "first" / "marts.json"
    write_json(checked, table_hashes(settings.warehouse, read_json(checked)))
    for hop in ("protect", "forecast"):
        refresh.FUNCTIONS[hop](settings, "first", fixed_clock(FIRST), silent)
    (folder,) = settings.candidates.iterdir()
    return folder


def copy_of(released: Settings, folder: Path) -> Settings:
    """The installation of the first release once more, without what it computed of forecasts."""
    settings = settings_at(folder)
    shutil.copytree(
        released.home, folder, symlinks=True, ignore=shutil.ignore_patterns("forecasts")
    )
    return settings


@pytest.fixture(scope="module")
def historic(released: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with a candidate that has a history; copy it."""
    settings = copy_of(released, tmp_path_factory.mktemp("historic") / "home")
    candidate_with_history(settings, small=6, shown=0)
    return settings


class TestForecasts:
    def test_a_hidden_value_changes_no_byte_of_them(
        self, released: Settings, historic: Settings, tmp_path: Path
    ) -> None:
        """Two installations that differ in nothing but what the wall hides say the same."""
        (before,) = historic.candidates.iterdir()
        hidden = f"region_code = '{SMALL}' and indicator_id = '{COUNT}' and obs_status = 'Q'"
        with duckdb.connect(str(before / "marts.duckdb"), read_only=True) as connection:
            periods = connection.execute(
                f"select reference_period from observations where {hidden} order by 1"
            ).fetchall()
            (n_made,) = connection.execute(
                f"select count(*) from forecasts where indicator_id = '{COUNT}' "
                f"and region_code = '{SMALL}' and obs_status = 'F'"
            ).fetchall()[0]
        assert {period for (period,) in periods} >= set(SMALL_PERIODS)
        assert n_made, "a series without forecasts would prove nothing"
        other = copy_of(released, tmp_path / "other")
        after = candidate_with_history(other, small=9, shown=0)
        assert table_hashes(historic.warehouse) != table_hashes(other.warehouse)
        for name in FORECAST_FILES:
            assert (after / name).read_bytes() == (before / name).read_bytes(), name
        # What is shown does change them, so the comparison can fail.
        third = copy_of(released, tmp_path / "third")
        moved = candidate_with_history(third, small=6, shown=30)
        assert (moved / "forecasts.csv").read_bytes() != (before / "forecasts.csv").read_bytes()

    def test_one_that_knows_what_is_hidden_does_not_pass_gate_4(
        self, historic: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A forecast in which a hidden number takes part is not made again from what is shown."""
        settings = copy_of(historic, tmp_path / "home")
        make = forecasting.make_forecasts

        def leaking(published: duckdb.DuckDBPyConnection, *given: Any, **named: Any) -> None:
            make(published, *given, **named)
            published.execute(f"attach '{settings.warehouse}' as warehouse (read_only)")
            published.execute(
                "update forecasts as f set point = f.point + h.value / 1000 from "
                f"warehouse.mart_rechtspersonen__{COUNT} as h where f.indicator_id = '{COUNT}' "
                f"and f.region_code = '{SMALL}' and h.region_code = '{SMALL}' "
                f"and h.reference_period = '{SMALL_PERIODS[0]}'"
            )
            published.execute("detach warehouse")

        clock = fixed_clock(FIRST)
        with monkeypatch.context() as patch:
            patch.setattr(forecasting, "make_forecasts", leaking)
            refresh.forecast(settings, "first", clock, silent)
        with pytest.raises(GateError) as caught:
            refresh.gate_4(settings, "first", clock, silent)
        assert caught.value.code == "Z-GATE-004"
        assert "follows_from_what_is_published" in caught.value.message
        assert COUNT in caught.value.message
        assert SMALL in caught.value.message
        # Made as it should be, the same candidate passes.
        refresh.forecast(settings, "first", clock, silent)
        refresh.gate_4(settings, "first", clock, silent)

    def test_they_give_the_attacker_nothing(self, historic: Settings, tmp_path: Path) -> None:
        """With them or without, the attack on a candidate finds the same."""
        settings = copy_of(historic, tmp_path / "home")
        (folder,) = settings.candidates.iterdir()
        with_them = attack_candidate(settings, "first", folder / "marts.duckdb", "x", silent)
        with duckdb.connect(str(folder / "marts.duckdb")) as connection:
            for table in ("forecasts", "forecast_scores", "past_forecasts"):
                connection.execute(f"drop table {table}")
        without = attack_candidate(settings, "first", folder / "marts.duckdb", "x", silent)
        assert with_them.equals(without)

    def test_a_file_that_changed_before_they_were_made_stops_the_run(
        self, historic: Settings, tmp_path: Path
    ) -> None:
        """The hop writes the candidate anew, and takes over nothing that it did not find there."""
        settings = copy_of(historic, tmp_path / "home")
        (folder,) = settings.candidates.iterdir()
        with (folder / "observations.csv").open("a") as stream:
            stream.write("BU03630000,secret\n")
        with pytest.raises(ZichtError) as caught:
            refresh.forecast(settings, "first", fixed_clock(FIRST), silent)
        assert caught.value.code == "Z-REL-003"
