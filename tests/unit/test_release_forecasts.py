"""Forecasts in a release: past ones and what came of them, made again, and what gate 4 asks."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from candidate_support import broken_rules, build, cell, content_of, mart, rows_of
from support import NOW, settings_at
from zicht.periods import Period
from zicht.releases.errata import Break, BreakCode
from zicht.releases.forecasts import (
    FORECASTS,
    PAST,
    SCORES,
    TABLES,
    copy_with_forecasts,
    differences,
    make_past,
    published_only,
)
from zicht.releases.schema import load_schema
from zicht.releases.writing import DATABASE, create_table, fill_rows
from zicht.settings import Settings

MARTS = [mart("homes", theme="t"), mart("crimes", theme="t")]
REGIONS: dict[str, int | None] = dict.fromkeys((f"GM000{i}" for i in range(1, 6)), 1000)
LATER, LATEST = NOW + timedelta(days=30), NOW + timedelta(days=60)
BASE = {
    "theme": "t",
    "region_level": "municipality",
    "breakdown": "total",
    "unit": "pct",
    "method": "drift",
    "obs_status": "F",
    "reason": None,
    "breaks": None,
    "is_reconciled": False,
}


def expected(
    region: str, period: str, point: float | None, made_at: datetime, **other: Any
) -> dict[str, Any]:
    """A forecast of ``homes`` with half a point and two points around it."""
    ends = {"lower_50": -0.5, "upper_50": 0.5, "lower_90": -2.0, "upper_90": 2.0}
    last = other.get("last_period", "2023")
    return {
        **BASE,
        "indicator_id": "homes",
        "region_code": region,
        "reference_period": period,
        "horizon": int(period) - int(last),
        "last_period": last,
        "made_at": made_at,
        "point": point,
        **{name: None if point is None else point + end for name, end in ends.items()},
        **({"obs_status": "M", "reason": "too_few_periods"} if point is None else {}),
        **other,
    }


class Releases:
    """Candidates one after the other, each with forecasts that are given."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.schema = load_schema(settings)
        self.tables = {table.name: table for table in self.schema.tables}
        self.made: list[tuple[str, datetime]] = []
        self.previous: Path | None = None

    def release(
        self,
        at: datetime,
        cells: list[dict[str, Any]],
        forecasts: list[dict[str, Any]],
        **other: Any,
    ) -> Path:
        """The folder of the next release."""
        name = f"r{len(self.made) + 1}"
        earlier = [
            {
                "release_id": one,
                "released_at": moment.isoformat(),
                "as_of": moment.isoformat(),
                "geo_year": 2025,
                "n_observations": 1,
                "code_version": "0",
            }
            for one, moment in self.made
        ]
        content = content_of(
            self.folder / name,
            MARTS,
            cells,
            REGIONS,
            earlier=earlier,
            released_at=at,
            as_of=at,
            previous=self.previous,
            **other,
        )
        built = build(self.settings, content, name)
        folder = self.folder / f"{name}-whole"
        with published_only(built / DATABASE) as made:
            for table, rows in ((FORECASTS, forecasts), (SCORES, [])):
                create_table(made, self.tables[table])
                fill_rows(made, self.tables[table], rows)
            made.execute("create temp table before as from forecasts where false")
            if self.previous:
                made.execute(
                    f"insert into before from read_parquet('{self.previous}/forecasts.parquet')"
                )
            make_past(made, self.schema, self.previous)
            copy_with_forecasts(built, folder, made, self.schema)
        self.made.append((name, at))
        self.previous = folder
        return folder


@pytest.fixture
def releases(settings: Settings, tmp_path: Path) -> Releases:
    return Releases(settings, tmp_path)


def figures(period: str, value: float | None = 50.0, **other: Any) -> list[dict[str, Any]]:
    """A figure of ``homes`` in every region."""
    return [cell("homes", region, period, value, **other) for region in REGIONS]


def past(folder: Path, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """Rows of past forecasts by key."""
    return rows_of(folder, f"select {columns} from {PAST} where {where} order by all")


def test_a_forecast_is_kept_and_scored_when_the_truth_arrives(
    settings: Settings, releases: Releases
) -> None:
    """Replaced, carried on, and laid beside the figure, release after release."""
    first = releases.release(
        NOW,
        figures("2023"),
        [
            *(expected(region, "2024", 50.0, NOW) for region in REGIONS),
            expected("GM0001", "2025", 51.0, NOW),
            expected("GM0002", "2025", None, NOW),
        ],
    )
    assert past(first, "count(*)") == [(0,)]
    # The figures arrive: within both intervals, within one, in none, hidden, not there.
    came = {"GM0001": 50.5, "GM0002": 51.0, "GM0003": 52.1, "GM0004": None}
    second = releases.release(
        LATER,
        [
            *figures("2023"),
            *(
                cell("homes", region, "2024", value, is_suppressed=value is None)
                for region, value in came.items()
            ),
        ],
        [
            expected("GM0001", "2025", 51.5, LATER, last_period="2024"),
            expected("GM0005", "2024", 50.0, NOW),
        ],
    )
    columns = (
        "region_code, reference_period, horizon, release_id, value, is_within_50, is_within_90"
    )
    assert past(second, columns) == [
        ("GM0001", "2024", 1, "r1", 50.5, True, True),
        ("GM0001", "2025", 2, "r1", None, None, None),
        ("GM0002", "2024", 1, "r1", 51.0, False, True),
        ("GM0003", "2024", 1, "r1", 52.1, False, False),
        # Hidden: the figure is not told, so whether it lies within is not told either.
        ("GM0004", "2024", 1, "r1", None, None, None),
    ], "what is still current is not past, and what was not possible was no forecast"
    assert rows_of(
        second,
        "select horizon, peer_group, method, n_cases, n_origins, n_real_time, first_origin, "
        f"round(coverage_50, 2), round(coverage_90, 2) from {SCORES}",
    ) == [(1, "all", "as_made", 3, 1, 3, "2023", 0.33, 0.67)]
    third = releases.release(
        LATEST,
        [*figures("2023"), *figures("2024"), *figures("2025", 51.0)],
        [expected("GM0005", "2026", 50.0, LATEST, last_period="2025")],
    )
    assert past(third, "made_at, release_id, horizon, value", "reference_period = '2025'") == [
        (NOW, "r1", 2, 51.0),
        (LATER, "r2", 1, 51.0),
    ]
    assert past(third, "count(*)", "reference_period = '2024'") == [(5,)]
    assert broken_rules(settings, third, [PAST, SCORES]) == {}


def test_a_forecast_of_something_else_is_not_judged(releases: Releases) -> None:
    """Another definition of the figures, other borders of one region, or a break in between."""
    before = [*figures("2022"), *figures("2023")]
    given = [
        *(expected(region, "2024", 50.0, NOW) for region in REGIONS),
        *(expected(region, "2025", 50.0, NOW) for region in REGIONS),
    ]
    releases.release(NOW, before, given)
    # The figures of one region were made anew in another way: its vintage says so.
    moved = [c | {"value": 80.0} if c["region_code"] == "GM0002" else c for c in before]
    vintages = releases.folder / "vintages"
    vintages.mkdir()
    basis = '{"model": "m", "inputs": {"deliveries": ["d"], "definition": "%s", "geography": "%s"}}'
    (vintages / "v.json").write_text(basis % ("one", "2025"))
    (vintages / "w.json").write_text(basis % ("one", "2026"))
    moved = [c | {"vintage": "w"} for c in moved]
    broken = Break(
        Period.parse("2025"), BreakCode.METHOD, "homes", None, {"nl": "a", "en": "b"}, "c"
    )
    after = releases.release(
        LATER,
        [*moved, *figures("2024", vintage="w"), *figures("2025", vintage="w")],
        [],
        vintages=vintages,
        breaks=[broken],
    )
    assert rows_of(
        after, "select distinct region_code, cause from revisions where sequence = 2"
    ) == [("GM0002", "geography")]
    judged = {
        (period, region): (value, within)
        for period, region, value, within in past(
            after, "reference_period, region_code, value, is_within_90"
        )
    }
    assert judged["2024", "GM0001"] == (50.0, True)
    assert judged["2024", "GM0002"] == (50.0, None), "the region has other borders"
    assert judged["2025", "GM0001"] == (50.0, None), "a break lies in between"


def test_a_release_from_before_there_were_forecasts_has_none_to_score(
    settings: Settings, releases: Releases
) -> None:
    folder = releases.release(NOW, figures("2023"), [])
    for table in TABLES:
        (folder / f"{table}.parquet").unlink()
    built = build(
        settings, content_of(releases.folder / "new", MARTS, figures("2024"), REGIONS), "new"
    )
    with published_only(built / DATABASE) as made:
        for table in (FORECASTS, SCORES):
            create_table(made, releases.tables[table])
        made.execute("create temp table before as from forecasts")
        make_past(made, releases.schema, folder)
        assert made.execute(f"from {PAST}").fetchall() == []


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second release, with a past forecast."""
    folder = tmp_path_factory.mktemp("releases")
    made = Releases(settings_at(folder / "home"), folder)
    now = [expected(region, "2024", 50.0, NOW) for region in REGIONS]
    made.release(NOW, figures("2023"), now)
    later = [expected(r, "2025", 51.0, LATER, last_period="2024") for r in REGIONS]
    return made.release(LATER, [*figures("2023"), *figures("2024")], later)


@pytest.fixture
def whole(second: Path, tmp_path: Path) -> Path:
    """The same, to write in."""
    return Path(shutil.copytree(second, tmp_path / "whole"))


def changed(folder: Path, *statements: str) -> Path:
    """The release after somebody wrote in it."""
    with duckdb.connect(str(folder / DATABASE)) as connection:
        for statement in statements:
            connection.execute(statement)
    return folder


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update forecasts set point = 51.4", ("forecasts", "GM0001", "2025", "point")),
        (
            "update forecasts set made_at = made_at - interval 7 microsecond",
            ("forecasts", "GM0001", "2025", "made_at"),
        ),
        (
            "delete from forecasts where region_code = 'GM0001'",
            ("forecasts", "GM0001", "2025", "it is missing"),
        ),
        (
            "insert into forecasts select * replace ('2026' as reference_period) from forecasts",
            ("forecasts", "GM0001", "2026", "it does not follow from them"),
        ),
        (
            "update forecast_scores set coverage_90 = 0.5, n_cases = 7",
            ("forecast_scores", "", "horizon 1", "n_cases, coverage_90"),
        ),
        (
            "update past_forecasts set value = null where region_code = 'GM0001'",
            ("past_forecasts", "GM0001", "2024", "value"),
        ),
    ],
)
def test_what_was_not_made_of_the_published_tables_is_named(
    settings: Settings, whole: Path, statement: str, said: tuple[str, ...]
) -> None:
    """Held against the very tables, every difference has its indicator, region and period."""
    schema = load_schema(settings)
    with published_only(whole / DATABASE) as made:
        for table in TABLES:
            made.execute(f"create table {table} as from read_parquet('{whole}/{table}.parquet')")
        assert differences(made, whole / DATABASE, schema) == []
        found = differences(made, changed(whole, statement) / DATABASE, schema)
    table, *rest = said
    assert (table, "homes", *rest) in found


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("update forecasts set indicator_id = 'unknown'", "indicator_is_published"),
        ("update forecasts set region_code = 'GM9999'", "indicator_is_published"),
        ("update forecasts set breakdown = 'a=b'", "indicator_is_published"),
        ("delete from forecasts where region_code = 'GM0001'", "every_series_is_looked_at"),
        ("update forecasts set upper_90 = null", "forecast_or_reason"),
        ("update forecasts set obs_status = 'M'", "forecast_or_reason"),
        ("update forecasts set reason = 'no_figures'", "forecast_or_reason"),
        ("update forecasts set upper_50 = 60", "intervals_are_nested"),
        ("update forecasts set point = lower_50 - 0.1", "intervals_are_nested"),
        ("update forecasts set reference_period = '2024'", "nothing_known_is_forecast"),
        (
            "insert into observations select * replace ('2025' as reference_period, null as value, "
            "'Q' as obs_status) from observations where reference_period = '2024'",
            "nothing_known_is_forecast",
        ),
        ("update forecasts set made_at = made_at + interval 1 day", "made_before_released"),
        ("update forecast_scores set coverage_90 = 1.1", "shares_and_counts"),
        ("update forecast_scores set n_real_time = n_cases + 1", "shares_and_counts"),
        ("update forecast_scores set indicator_id = 'unknown'", "shares_and_counts"),
        ("update past_forecasts set value = 1", "figure_is_published"),
        ("update past_forecasts set is_within_90 = false", "figure_is_published"),
        ("update past_forecasts set release_id = 'r2'", "release_is_known"),
    ],
)
def test_gate_4_looks_at_forecasts(
    settings: Settings, whole: Path, statement: str, rule: str
) -> None:
    assert rule in broken_rules(settings, changed(whole, statement), TABLES)


def test_gate_4_passes_what_is_right(settings: Settings, whole: Path) -> None:
    assert broken_rules(settings, whole, TABLES) == {}


def test_the_moment_is_in_utc(whole: Path) -> None:
    """As everywhere: a reader in another zone finds the same moment."""
    assert rows_of(whole, "select distinct made_at from forecasts") == [(LATER.astimezone(UTC),)]
