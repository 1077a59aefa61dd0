"""Candidates and releases: the files, their agreement with each other, and the pointer."""

from __future__ import annotations

import csv
import os
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from candidate_support import broken_rules, rows_of
from support import NOW, settings_at, silent
from zicht import refresh
from zicht.catalogue import Mart
from zicht.clock import fixed_clock
from zicht.contracts import load_contracts
from zicht.errors import BusyError, GateError, ReleaseError, UsageError
from zicht.expected import all_statuses
from zicht.files import read_json, write_json
from zicht.releases.across import wide_columns
from zicht.releases.candidate import (
    CandidateInput,
    build_candidate,
    content_hash,
)
from zicht.releases.schema import load_schema
from zicht.releases.store import (
    CURRENT,
    DOCUMENT,
    current_release,
    describe_files,
    list_releases,
    publish,
)
from zicht.settings import Settings

CLOCK = fixed_clock(NOW)
INDICATOR: dict[str, Any] = {
    "id": "i",
    "theme": "t",
    "label": {"nl": "=naam", "en": "name"},
    "description": {"nl": "o", "en": "d"},
    "unit": {"code": "per_1000", "nl": "e", "en": "u"},
    "sources": ["cbs_crime"],
    "policy": "public",
    "kind": "public",
    "rounding_base": 5,
    "decimals": 1,
}
MART = Mart("mart_t__i", ("c",), "d", "g", INDICATOR)
TEXT = {"nl": "o", "en": "d"}
FLAGS = ("is_suppressed", "is_missing", "is_estimated", "is_provisional")
CELLS: dict[str, tuple[float | None, dict[str, bool], str, str]] = {
    # region: value, flags, expected status, expected flags
    "GM0001": (1.5, {}, "A", ""),
    "GM0002": (2.0, {"is_provisional": True}, "P", "provisional"),
    "GM0003": (2.0, {"is_estimated": True, "is_provisional": True}, "E", "estimated;provisional"),
    "GM0004": (None, {"is_missing": True, "is_estimated": True}, "O", "missing;estimated"),
    "GM0005": (9.0, {"is_suppressed": True, "is_provisional": True}, "Q", "suppressed;provisional"),
    "GM0006": (0.0, {}, "A", "rounded_zero"),
}


def candidate_input(folder: Path, settings: Settings) -> CandidateInput:
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            "create table protected (indicator_id varchar, theme varchar, region_code varchar, "
            "region_level varchar, geo_year integer, breakdown varchar, reference_period varchar, "
            "vintage varchar, value double, is_provisional boolean, is_estimated boolean, "
            "is_missing boolean, known_at timestamptz, lag_days integer, is_suppressed boolean, "
            "explanation varchar)"
        )
        for region, (value, flags, _, _) in reversed(CELLS.items()):
            given = [flags.get(flag, False) for flag in ("is_provisional", *FLAGS[2:0:-1])]
            connection.execute(
                "insert into protected values ('i', 't', ?, 'municipality', 2025, 'total', '2024', "
                "'v', ?, ?, ?, ?, timestamptz '2025-04-01 00:00:00+00', 90, ?, 'internal reason')",
                [region, value, *given, flags.get("is_suppressed", False)],
            )
        connection.execute(
            f"copy (from protected order by region_code) to '{folder / 'p.parquet'}'"
        )
        connection.execute(
            "copy (select 'GM0001' as region_code, 'municipality' as region_level, '-naam' as name,"
            " 2025 as geo_year, 'PV20' as province_code, null as corop_code, "
            "null as safety_region_code, null as landsdeel_code, 10 as population_1jan) "
            f"to '{folder / 'r.parquet'}'"
        )
    statuses = all_statuses(settings, load_contracts(settings.contracts), [], [], NOW)
    return CandidateInput(
        protected=folder / "p.parquet",
        regions=folder / "r.parquet",
        marts=[MART],
        statuses=statuses,
        earlier=[],
        released_at=NOW,
        as_of=NOW,
        geo_year=2025,
        code_version="0",
    )


@pytest.fixture
def candidate(settings: Settings, tmp_path: Path) -> Path:
    folder = settings.candidates / "one"
    content = candidate_input(tmp_path / "in", settings)
    counts = build_candidate(folder, "one", content, load_schema(settings))
    assert counts["observations"] == len(CELLS)
    return folder


def test_one_status_per_figure_by_precedence_and_all_flags(candidate: Path) -> None:
    rows = rows_of(
        candidate, "select region_code, value, obs_status, obs_flags, conf_status from observations"
    )
    assert {row[0]: row[2:4] for row in rows} == {
        region: (status, flags) for region, (_, _, status, flags) in CELLS.items()
    }
    values = {row[0]: row[1] for row in rows}
    assert values["GM0001"] == 1.5
    assert values["GM0004"] is None
    assert values["GM0005"] is None, "a suppressed value is nowhere in the release"
    assert {row[0] for row in rows if row[4] == "C"} == {"GM0005"}
    assert [row[0] for row in rows] == sorted(CELLS)


def test_nothing_internal_is_in_any_byte(candidate: Path) -> None:
    for path in candidate.iterdir():
        assert b"internal reason" not in path.read_bytes(), path.name


def test_the_three_forms_say_the_same(settings: Settings, candidate: Path) -> None:
    schema = load_schema(settings).widened(wide_columns([MART]))
    assert {path.stem for path in candidate.glob("*.parquet")} == set(schema.column_names())
    for table in schema.tables:
        names = [column.name for column in table.columns]
        rows = rows_of(candidate, f"from {table.name} order by {', '.join(table.key)}")
        with duckdb.connect() as connection:
            result = connection.execute(f"from '{candidate / table.name}.parquet'")
            assert [column[0] for column in result.description] == names
            assert result.fetchall() == rows
        with (candidate / f"{table.name}.csv").open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream)
        assert header == names
        assert len(lines) == len(rows)
        described = rows_of(candidate, f"describe {table.name}")
        assert [(row[0], row[1]) for row in described] == [
            (column.name, column.sql_type) for column in table.columns
        ]


def test_what_is_awaited_says_so(settings: Settings, tmp_path: Path) -> None:
    awaited = {
        "indicator_id": "i",
        "theme": "t",
        "reference_period": "2024",
        "source": "brp",
        "awaited_period": "2025",
        "expected_on": "2025-01-31",
    }
    content = replace(candidate_input(tmp_path / "in", settings), awaited=[awaited])
    folder = settings.candidates / "one"
    build_candidate(folder, "one", content, load_schema(settings))
    flags = dict(rows_of(folder, "select region_code, obs_flags from observations"))
    assert flags["GM0004"] == "missing;estimated;awaited"
    assert "awaited" not in flags["GM0001"]
    assert rows_of(
        folder, "select * replace (expected_on::varchar as expected_on) from awaited"
    ) == [tuple(awaited.values())]
    hashes = {content_hash(content.protected, [MART], 2025, "1", rows) for rows in ((), (awaited,))}
    assert len(hashes) == 2


def vintage_file(settings: Settings, name: str, **inputs: Any) -> None:
    """Says what a vintage was made of, as the planner does."""
    base = {"definition": "d", "geography": ["g", 2025], "deliveries": [["s", "1", "final", "h"]]}
    document = {"model": "m", "inputs": {**base, **inputs}}
    write_json(settings.home / "vintages" / f"{name}.json", document)


class Releases:
    """A row of candidates, each compared with the one before."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.number = settings, folder, 0

    def make(self, *cells: tuple[str, float | None, str], **flags: bool) -> list[tuple[Any, ...]]:
        """Makes a release of (region, value, vintage) and returns its revisions.

        A region may be followed by a breakdown: ``GM0001/a=b``.
        """
        self.number += 1
        base = candidate_input(self.folder / str(self.number), self.settings)
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"create table p as from '{base.protected}' limit 0")
            for region, value, vintage in cells:
                connection.execute(
                    "insert into p values ('i', 't', ?, 'municipality', 2025, ?, '2024', ?, ?, "
                    "?, false, ?, timestamptz '2025-04-01 00:00:00+00' + to_days(?), 90, ?, '')",
                    [
                        region.partition("/")[0],
                        region.partition("/")[2] or "total",
                        vintage,
                        value,
                        flags.get("is_provisional", False),
                        value is None,
                        self.number,
                        flags.get("is_suppressed", False),
                    ],
                )
            connection.execute(f"copy p to '{base.protected}'")
        before = self.settings.candidates / f"r{self.number - 1}"
        content = replace(
            base,
            previous=before if self.number > 1 else None,
            vintages=self.settings.home / "vintages",
        )
        name = f"r{self.number}"
        build_candidate(self.settings.candidates / name, name, content, load_schema(self.settings))
        return self.rows()

    def rows(self) -> list[tuple[Any, ...]]:
        """The revisions of the last release."""
        return rows_of(
            self.settings.candidates / f"r{self.number}",
            "select region_code || if(breakdown = 'total', '', '/' || breakdown), sequence, value, "
            "obs_status, release_id, cause from revisions order by all",
        )


@pytest.fixture
def chain(settings: Settings, tmp_path: Path) -> Releases:
    vintage_file(settings, "v1")
    vintage_file(settings, "data", deliveries=[["s", "2", "final", "h2"]])
    vintage_file(settings, "sql", deliveries=[["s", "2", "final", "h2"]], definition="d2")
    vintage_file(
        settings,
        "map",
        deliveries=[["s", "2", "final", "h2"]],
        definition="d2",
        geography=["g2", 1],
    )
    return Releases(settings, tmp_path)


def test_successive_values_have_their_causes(chain: Releases) -> None:
    """What never changed has no revisions; a value that changed has all of its values."""
    assert chain.make(("GM0001", 1.0, "v1"), ("GM0002", 5.0, "v1")) == []
    first = ("GM0001", 1, 1.0, "A", "r1", "first")
    second = ("GM0001", 2, 2.0, "A", "r2", "data")
    assert chain.make(("GM0001", 2.0, "data"), ("GM0002", 5.0, "data")) == [first, second]
    assert chain.make(("GM0001", 2.0, "data"), ("GM0002", 5.0, "data")) == [first, second]
    third = ("GM0001", 3, 3.0, "A", "r4", "definition")
    assert chain.make(("GM0001", 3.0, "sql"), ("GM0002", 5.0, "sql")) == [first, second, third]
    fourth = ("GM0001", 4, 4.0, "A", "r5", "geography")
    assert chain.make(("GM0001", 4.0, "map"), ("GM0002", 5.0, "map"))[-1] == fourth
    # Data before definition before geography, when several changed.
    assert chain.make(("GM0001", 9.0, "v1"), ("GM0002", 5.0, "v1"))[-1][-1] == "data"
    assert len(chain.rows()) == 5


def test_a_value_that_went_and_came_back(chain: Releases) -> None:
    chain.make(("GM0001", 1.0, "v1"), ("GM0002", 5.0, "v1"))
    assert chain.make(("GM0002", 5.0, "map")) == [
        ("GM0001", 1, 1.0, "A", "r1", "first"),
        ("GM0001", 2, None, "O", "r2", "data"),
    ]
    assert chain.make(("GM0001", 1.0, "map"), ("GM0002", 5.0, "map"))[2:] == [
        ("GM0001", 3, 1.0, "A", "r3", "data")
    ]
    assert chain.make()[3:] == [
        ("GM0001", 4, None, "O", "r4", "data"),
        ("GM0002", 1, 5.0, "A", "r3", "first"),
        ("GM0002", 2, None, "O", "r4", "data"),
    ]


def test_another_status_is_a_revision_and_hides_what_is_hidden(chain: Releases) -> None:
    chain.make(("GM0001", 1.0, "v1"), is_provisional=True)
    assert chain.make(("GM0001", 1.0, "data"))[-1] == ("GM0001", 2, 1.0, "A", "r2", "data")
    hidden = chain.make(("GM0001", 7.0, "data"), is_suppressed=True)
    assert hidden[-1] == ("GM0001", 3, None, "Q", "r3", "definition")
    assert 7.0 not in {row[2] for row in hidden}


def test_a_lost_record_of_a_vintage_is_not_guessed(chain: Releases) -> None:
    chain.make(("GM0001", 1.0, "v1"))
    (chain.settings.home / "vintages" / "v1.json").unlink()
    assert chain.make(("GM0001", 2.0, "data"))[-1][-1] == "unknown"


def test_a_release_from_before_there_were_revisions(chain: Releases) -> None:
    chain.make(("GM0001", 1.0, "v1"))
    (chain.settings.candidates / "r1" / "revisions.parquet").unlink()
    assert [row[1:3] for row in chain.make(("GM0001", 2.0, "data"))] == [(1, 1.0), (2, 2.0)]


def test_equal_histories_have_equal_revisions(chain: Releases, tmp_path: Path) -> None:
    twin = Releases(settings_at(tmp_path / "twin"), tmp_path / "other")
    shutil.copytree(chain.settings.home / "vintages", twin.settings.home / "vintages")
    for one in (chain, twin):
        one.make(("GM0001", 1.0, "v1"), ("GM0002", 5.0, "v1"))
        one.make(("GM0002", 6.0, "data"), ("GM0001", 2.0, "data"))
    files = [s.candidates / "r2" / "revisions.parquet" for s in (chain.settings, twin.settings)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_every_category_has_revisions_of_its_own(chain: Releases) -> None:
    chain.make(("GM0001", 30.0, "v1"), ("GM0001/f=a", 10.0, "v1"), ("GM0001/f=b", 20.0, "v1"))
    changed = chain.make(
        ("GM0001", 31.0, "data"), ("GM0001/f=a", 10.0, "data"), ("GM0001/f=b", 21.0, "data")
    )
    assert [row[:3] for row in changed] == [
        ("GM0001", 1, 30.0),
        ("GM0001", 2, 31.0),
        ("GM0001/f=b", 1, 20.0),
        ("GM0001/f=b", 2, 21.0),
    ]


def test_a_release_from_before_there_were_breakdowns_had_totals(chain: Releases) -> None:
    chain.make(("GM0001", 1.0, "v1"), ("GM0002", 5.0, "v1"))
    chain.make(("GM0001", 2.0, "data"), ("GM0002", 5.0, "v1"))
    for table in ("observations", "revisions"):
        path = chain.settings.candidates / "r2" / f"{table}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"create table t as select * exclude (breakdown) from '{path}'")
            connection.execute(f"copy t to '{path}'")
    assert chain.make(("GM0001", 3.0, "sql"), ("GM0002", 5.0, "v1")) == [
        ("GM0001", 1, 1.0, "A", "r1", "first"),
        ("GM0001", 2, 2.0, "A", "r2", "data"),
        ("GM0001", 3, 3.0, "A", "r3", "definition"),
    ]


BROKEN_DOWN = replace(
    MART,
    indicator={
        **INDICATOR,
        "policy": "default",
        "kind": "counts",
        "rounding_base": 100,
        "decimals": 0,
        "breakdown": {
            "form": {
                "label": {"nl": "Vorm", "en": "Form"},
                "categories": {"b": {"nl": "Bé", "en": "B"}, "a": {"nl": "Aa", "en": "A"}},
            },
            "age": {
                "label": {"nl": "Leeftijd", "en": "Age"},
                "categories": {"young": {"nl": "Jong", "en": "Young"}, "old": TEXT},
            },
        },
    },
)


def broken_down(settings: Settings, folder: Path, *rows: tuple[str, float, bool]) -> Path:
    """A candidate of counts: (breakdown, value as it left the wall, is_suppressed)."""
    base = candidate_input(folder / "in", settings)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"create table p as from '{base.protected}' limit 0")
        for breakdown, value, is_suppressed in rows:
            connection.execute(
                "insert into p values ('i', 't', 'GM0001', 'municipality', 2025, ?, '2024', 'v', "
                "?, false, false, false, timestamptz '2025-04-01 00:00:00+00', 90, ?, '')",
                [breakdown, value, is_suppressed],
            )
        connection.execute(f"copy p to '{base.protected}'")
    target = settings.candidates / folder.name
    content = replace(base, marts=[BROKEN_DOWN])
    build_candidate(target, folder.name, content, load_schema(settings))
    return target


def test_what_left_the_wall_is_not_rounded_again(settings: Settings, tmp_path: Path) -> None:
    folder = broken_down(
        settings,
        tmp_path / "one",
        ("total", 17.5, False),
        ("form=b", 0.0, True),
        ("form=a;age=old", 0.0, False),
    )
    rows = rows_of(
        folder, "select breakdown, value, obs_flags, conf_status from observations order by 1"
    )
    assert rows == [
        ("form=a;age=old", 0.0, "rounded_zero", "F"),
        # Not even a flag says that the hidden value is zero.
        ("form=b", None, "suppressed", "C"),
        ("total", 17.5, "", "F"),
    ]


def test_categories_are_published_with_place_and_labels(settings: Settings, tmp_path: Path) -> None:
    folder = broken_down(settings, tmp_path / "one", ("total", 20.0, False))
    assert rows_of(folder, "select * exclude (indicator_id) from breakdowns") == [
        ("age", "old", 2, 2, "Leeftijd", "Age", "o", "d"),
        ("age", "young", 2, 1, "Leeftijd", "Age", "Jong", "Young"),
        ("form", "a", 1, 2, "Vorm", "Form", "Aa", "A"),
        ("form", "b", 1, 1, "Vorm", "Form", "Bé", "B"),
    ]
    other = replace(BROKEN_DOWN, indicator={**BROKEN_DOWN.indicator, "breakdown": None})
    protected = candidate_input(tmp_path / "x", settings).protected
    hashes = {content_hash(protected, [mart], 2025, "1") for mart in (BROKEN_DOWN, other)}
    assert len(hashes) == 2


def broken_breakdowns(settings: Settings, candidate: Path) -> dict[str, set[str]]:
    """The breakdowns that break a rule of gate 4 on observations."""
    broken = broken_rules(settings, candidate, ["observations"])
    return {name: {row["breakdown"] for row in rows} for name, rows in broken.items()}


def test_gate_4_looks_at_every_category(settings: Settings, tmp_path: Path) -> None:
    good = [("total", 20.0, False), ("form=a;age=old", 10.0, False), ("age=old", 0.0, True)]
    assert broken_breakdowns(settings, broken_down(settings, tmp_path / "good", *good)) == {}
    undeclared = {"age=old;form=a", "form=c", "form=a;form=b", "form=a;", ""}
    bad = [*((one, 20.0, False) for one in undeclared), ("form=a", 20.5, False)]
    bad += [("form=b", 9.0, False)]
    assert broken_breakdowns(settings, broken_down(settings, tmp_path / "bad", *bad)) == {
        "breakdown_declared": undeclared,
        "rounded_as_announced": {"form=a"},
        "no_small_cell": {"form=b"},
    }


def test_a_spreadsheet_runs_no_formula(candidate: Path) -> None:
    assert "'=naam" in (candidate / "indicators.csv").read_text()
    assert "'-naam" in (candidate / "regions.csv").read_text()
    assert rows_of(candidate, "select label_nl from indicators") == [("=naam",)]


def test_every_table_and_column_explains_itself(candidate: Path) -> None:
    empty = rows_of(
        candidate,
        "select table_name, column_name from duckdb_columns() where not internal "
        "and coalesce(comment, '') = ''",
    )
    assert empty == []


def test_equal_inputs_make_equal_files(settings: Settings, tmp_path: Path, candidate: Path) -> None:
    content = candidate_input(tmp_path / "again", settings)
    (candidate.parent / ".two.partial").mkdir()
    other = candidate.parent / "two"
    build_candidate(other, "one", content, load_schema(settings))
    assert not (candidate.parent / ".two.partial").exists()
    for path in candidate.iterdir():
        if path.suffix != ".duckdb":
            assert (other / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_content_hash_follows_figures_and_definitions(
    settings: Settings, tmp_path: Path
) -> None:
    first = candidate_input(tmp_path / "one", settings)
    again = candidate_input(tmp_path / "two", settings)
    base = content_hash(first.protected, [MART], 2025, "1")
    assert content_hash(again.protected, [MART], 2025, "1") == base
    other = Mart("mart_t__i", ("c",), "d", "g", {**INDICATOR, "unit": {**INDICATOR["unit"]}})
    assert content_hash(first.protected, [other], 2025, "1") == base
    renamed = Mart("mart_t__i", ("c",), "d", "g", {**INDICATOR, "theme": "other"})
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * replace (value + 1 as value) from '{first.protected}') "
            f"to '{tmp_path / 'x.parquet'}'"
        )
    others = {
        content_hash(first.protected, [renamed], 2025, "1"),
        content_hash(first.protected, [MART], 2024, "1"),
        content_hash(first.protected, [MART], 2025, "2"),
        content_hash(tmp_path / "x.parquet", [MART], 2025, "1"),
    }
    assert len(others | {base}) == 5


def document(release_id: str, at: datetime = NOW) -> dict[str, Any]:
    return {"release_id": release_id, "released_at": at.isoformat()}


def look_away(_: Path) -> None:
    """Finds nothing in a candidate."""


def test_publishing_moves_points_and_locks_away(settings: Settings, candidate: Path) -> None:
    assert current_release(settings) is None
    files = describe_files(candidate)
    target = publish(settings, "one", document("one"), files, look_away)
    assert target == settings.releases / "one"
    assert not candidate.exists()
    assert os.readlink(settings.releases / CURRENT) == "one"
    assert describe_files(settings.releases / CURRENT) == files
    assert current_release(settings) == document("one")
    assert [release["release_id"] for release in list_releases(settings)] == ["one"]
    for path in (target, *target.iterdir()):
        assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    assert publish(settings, "one", document("one"), files, look_away) == target


def test_a_candidate_that_changed_is_not_published(settings: Settings, candidate: Path) -> None:
    cleared = describe_files(candidate)
    with (candidate / "observations.csv").open("a") as stream:
        stream.write("one more\n")
    with pytest.raises(ReleaseError, match="a file changed") as caught:
        publish(settings, "one", document("one"), cleared, look_away)
    assert caught.value.code == "Z-REL-003"
    (candidate / "extra.csv").write_text("")
    with pytest.raises(ReleaseError):
        publish(settings, "one", document("one"), describe_files(candidate)[:-1], look_away)
    assert current_release(settings) is None
    assert candidate.exists()


def test_what_a_killed_write_left_does_not_hinder(settings: Settings, candidate: Path) -> None:
    cleared = describe_files(candidate)
    (candidate / f".{DOCUMENT}.123.partial").write_text("{")
    target = publish(settings, "one", document("one"), cleared, look_away)
    assert describe_files(target) == cleared


def test_a_candidate_that_is_gone_is_named(settings: Settings) -> None:
    with pytest.raises(ReleaseError, match="candidate x is not there") as caught:
        publish(settings, "x", {}, [], look_away)
    assert caught.value.code == "Z-REL-002"


def test_releases_are_listed_oldest_first(settings: Settings) -> None:
    for name, year in (("b", 2024), ("a", 2025), ("c", 2023)):
        at = datetime(year, 1, 1, tzinfo=UTC)
        write_json(settings.releases / name / DOCUMENT, document(name, at))
    (settings.releases / CURRENT).symlink_to("b")
    write_json(settings.releases / ".hidden" / DOCUMENT, document("hidden"))
    assert [release["release_id"] for release in list_releases(settings)] == ["c", "b", "a"]


def test_the_released_figures_add_up(first_release: Settings) -> None:
    folder = first_release.releases / CURRENT
    released = read_json(folder / DOCUMENT)
    assert describe_files(folder) == released["files"]
    assert [gate["gate"] for gate in released["gates"]] == [1, 2, 3, 4]
    assert all(gate["passed"] for gate in released["gates"])
    assert rows_of(folder, "select count(*) from observations") == [(released["n_observations"],)]
    assert rows_of(folder, "select release_id from releases") == [(released["release_id"],)]
    assert len(released["inputs"]) == 29
    assert first_release.home.name not in (folder / DOCUMENT).read_text()


def test_a_second_refresh_has_nothing_to_do(first_release: Settings) -> None:
    assert not refresh.pending(first_release)


@pytest.mark.parametrize("hop", refresh.HOPS)
def test_a_hop_without_a_plan_is_refused(settings: Settings, hop: str) -> None:
    (settings.home).mkdir()
    (settings.home / "warehouse.run").write_text("never-planned\n")
    with pytest.raises(UsageError, match="has no plan") as caught:
        getattr(refresh, hop)(settings, "never-planned", CLOCK, silent)
    assert caught.value.code == "Z-USE-003"


@pytest.mark.parametrize("hop", ["forecast", "gate_4", "publish"])
def test_a_run_that_was_not_protected_has_nothing_to_publish(
    settings: Settings, first_release: Settings, hop: str
) -> None:
    plan = read_json(first_release.runs / "first" / "plan.json")
    write_json(settings.runs / "r" / "plan.json", plan)
    with pytest.raises(UsageError, match="the hop protect has not run"):
        getattr(refresh, hop)(settings, "r", CLOCK, silent)
    write_json(settings.runs / "r" / "outcome.json", {"state": "nothing_new"})
    getattr(refresh, hop)(settings, "r", CLOCK, silent)
    assert current_release(settings) is None


def test_publishing_trusts_no_task_state(
    settings: Settings, first_release: Settings, tmp_path: Path
) -> None:
    """A task that was marked as a success has not passed its gate."""
    run = settings.runs / "r"
    source = first_release.runs / "first"
    for name in ("plan.json", "candidate.json", "cleared.json", "gate_2.json", "gate_4.json"):
        write_json(run / name, read_json(source / name))
    with pytest.raises(GateError, match=r"gates \[3\]") as caught:
        refresh.publish(settings, "r", CLOCK, silent)
    assert caught.value.code == "Z-GATE-005"
    failed = read_json(source / "gate_3.json")
    failed["results"][0].update(success=False, severity="fail")
    write_json(run / "gate_3.json", failed)
    with pytest.raises(GateError):
        refresh.publish(settings, "r", CLOCK, silent)
    write_json(run / "gate_3.json", read_json(source / "gate_3.json"))
    (run / "cleared.json").unlink()
    with pytest.raises(GateError):
        refresh.publish(settings, "r", CLOCK, silent)
    assert current_release(settings) is None


def test_another_refresh_in_between_is_noticed(settings: Settings, first_release: Settings) -> None:
    write_json(settings.runs / "r" / "plan.json", read_json(first_release.runs / "first/plan.json"))
    settings.home.mkdir(exist_ok=True)
    (settings.home / "warehouse.run").write_text("other\n")
    with pytest.raises(BusyError, match="of run other, not of r") as caught:
        refresh.stage(settings, "r", CLOCK, silent)
    assert caught.value.code == "Z-BUSY-002"


def test_a_refresh_of_nothing_does_nothing(tmp_path: Path, first_release: Settings) -> None:
    settings = settings_at(tmp_path / "home")
    shutil.copytree(first_release.dbt_target, settings.dbt_target)
    said: list[str] = []
    assert refresh.refresh_here(settings, "r", CLOCK, said.append) is False
    assert "nothing to do" in said[-1]
    assert not refresh.pending(settings)
    with pytest.raises(UsageError, match="'tomorrow'") as caught:
        refresh.plan(settings, "r", CLOCK, silent, as_of="tomorrow")
    assert caught.value.code == "Z-USE-004"


def test_a_mart_that_changed_after_gate_3_does_not_pass_the_wall(
    settings: Settings, first_release: Settings
) -> None:
    shutil.copytree(first_release.dbt_target, settings.dbt_target)
    shutil.copy(first_release.warehouse, settings.warehouse)
    for name in ("plan.json", "marts.json"):
        write_json(settings.runs / "r" / name, read_json(first_release.runs / "first" / name))
    (settings.home / "warehouse.run").write_text("r\n")
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute(
            "update mart_drugs__registered_crimes set value = value + 1 "
            "where region_code = 'GM0855'"
        )
    with pytest.raises(ReleaseError, match="mart_drugs__registered_crimes") as caught:
        refresh.protect(settings, "r", CLOCK, silent)
    assert caught.value.code == "Z-REL-007"
    (settings.runs / "r" / "marts.json").unlink()
    with pytest.raises(GateError, match="gate 3") as unchecked:
        refresh.protect(settings, "r", CLOCK, silent)
    assert unchecked.value.code == "Z-GATE-005"


def test_planning_nothing_leaves_the_warehouse_to_the_run_at_work(
    tmp_path: Path, first_release: Settings
) -> None:
    settings = settings_at(tmp_path / "home")
    for folder in ("dbt", "raw", "checked", "vintages", "releases"):
        shutil.copytree(first_release.home / folder, settings.home / folder, symlinks=True)
    shutil.copy(first_release.warehouse, settings.warehouse)
    (settings.home / "warehouse.run").write_text("at-work\n")
    assert refresh.plan(settings, "r", CLOCK, silent) is False
    assert (settings.home / "warehouse.run").read_text() == "at-work\n"
    # A delivery that nobody has looked at is work.
    mark = next((settings.home / "checked" / "gate_2" / "cbs_crime").iterdir())
    mark.unlink()
    assert refresh.plan(settings, "r", CLOCK, silent) is True
    plan = read_json(settings.runs / "r" / "plan.json")
    assert plan["new_deliveries"] == [mark.stem]
    assert plan["builds"] is False
    assert (settings.home / "warehouse.run").read_text() == "r\n"
