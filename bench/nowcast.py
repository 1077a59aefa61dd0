"""Whether forecasts see a planted change in slope before the tax data does.

``python bench/nowcast.py [SEED …]`` makes, per seed, incomes (two years late), benefits of December
(seven months late) and the population register from 2015 on, as archived deliveries that were known
when they were made. Every year from 2016 on low income turns in some of the municipalities, up or
down, and social assistance with it: eight in ten turn at one time or another. The deliveries go
through intake, gates, dbt and the wall; forecasts are made of what that publishes.

The truth of the periods to come is counted straight from incomes of later years, which nobody had.
Where low income turned in the newest year of which incomes are known, or the year before, these
show nothing or one step of it. A forecast has *seen* it when it lies closer to the truth than to
the line through the years before. Where nothing was planted, it is a *false alarm* when it leaves
that line by half of what was planted elsewhere, or more. The two plain baselines are judged alike.

``--turns 2022`` plants that one change only, so that there is nothing to learn from; ``--regions``
takes other provinces, of which no municipality may have been split since 2015.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np

from zicht import refresh
from zicht.clock import fixed_clock
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.intake import take_in
from zicht.deliveries.package import read_descriptor
from zicht.periods import Period
from zicht.refresh.run import read_candidate
from zicht.releases.writing import DATABASE
from zicht.settings import GEO_YEAR, Settings
from zicht.synthetic import Options, Scope, Wanted, load_geography, plan_deliveries, scope_of
from zicht.synthetic import synthesise as synthesise_into
from zicht.synthetic.facts import figure
from zicht.synthetic.geography import Turn

PROJECT = Path(__file__).resolve().parents[1]
INDICATOR = "low_income_households"
NOW = datetime(2026, 9, 1, 9, tzinfo=UTC)
FIRST_YEAR = 2015
"""The agreements begin with it."""
REGIONS = ("PV22", "PV29", "PV31")
"""Drenthe, Zeeland and Limburg: 56 municipalities, two million inhabitants."""
TURNS = (2016, 2017, 2018, 2019, 2020, 2021, 2022, 2023)
JUST = 1
"""Years before the newest one of which incomes are known in which a turn is too new to show."""
HOPS = ("stage", "gate_2", "build", "gate_3", "protect", "forecast")
BASELINES = ("last_value", "drift")
FORECAST = "forecast"
Series = Mapping[int, float]
"""Per year a figure."""


def silent(_: str) -> None:
    """Says nothing."""


def processor_seconds() -> float:
    """Of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def known_deliveries(contracts: Mapping[str, Contract]) -> list[Wanted]:
    """All that had been delivered by now; of the benefits only December."""
    years = range(FIRST_YEAR, NOW.year + 1)
    periods = [Period.parse(text) for year in years for text in (str(year), f"{year}-12")]
    archive = Options(is_archive=True)
    return plan_deliveries(contracts, ["brp", "tax_income", "uwv_svb"], periods, NOW, archive)


def release_of(settings: Settings, scope: Scope) -> Path:
    """Takes everything in and makes a release of it, forecasts included; the database."""
    contracts, clock = load_contracts(settings.contracts), fixed_clock(NOW)
    wanted = known_deliveries(contracts)
    synthesise_into(settings.landing, contracts, scope, wanted, silent)
    for source in sorted({one.source for one in wanted}):
        report = take_in(settings, contracts[source], clock, silent)
        assert not report.refused, report
    assert refresh.plan(settings, "nowcast", clock, silent, None)
    for name in HOPS:
        refresh.FUNCTIONS[name](settings, "nowcast", clock, silent)
    candidate = read_candidate(settings, "nowcast")
    assert candidate is not None
    return settings.candidates / str(candidate["release_id"]) / DATABASE


def count(folder: Path) -> dict[str, int]:
    """Households with a low income per municipality, straight from a delivered file."""
    (name,) = [one.path for one in read_descriptor(folder).resources if one.name == "households"]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select municipality_code, count(*) from read_parquet($1) where is_low_income "
            "group by 1",
            [str(folder / name)],
        ).fetchall()
    return dict(rows)


def to_come(settings: Settings, scope: Scope, years: Sequence[int]) -> dict[str, dict[int, int]]:
    """Per municipality and year what incomes say that were not delivered yet."""
    contracts = load_contracts(settings.contracts)
    later = datetime(years[-1] + 4, 1, 1, tzinfo=UTC)
    wanted = plan_deliveries(contracts, ["tax_income"], (years[0], years[-1]), later)
    found: dict[str, dict[int, int]] = {}
    landing = settings.home / "to_come"
    for one, folder in zip(
        wanted, synthesise_into(landing, contracts, scope, wanted, silent), strict=True
    ):
        for code, n in count(folder).items():
            found.setdefault(code, {})[one.period.year] = n
    return found


@dataclass(frozen=True)
class Published:
    """What the release says of one municipality.

    Attributes:
        series: figures as published.
        said: per way of forecasting and year the point.
        methods: that were chosen.
    """

    series: Series
    said: Mapping[str, Series]
    methods: frozenset[str]


def baselines(series: Series, years: Sequence[int]) -> dict[str, Series]:
    """The newest figure; and that with the mean step so far."""
    first, last = min(series), max(series)
    step = (series[last] - series[first]) / (last - first)
    return {
        "last_value": dict.fromkeys(years, series[last]),
        "drift": {year: series[last] + step * (year - last) for year in years},
    }


def read(database: Path) -> dict[str, Published]:
    """Every municipality with figures and forecasts of the indicator."""
    series: dict[str, dict[int, float]] = {}
    said: dict[str, dict[int, float]] = {}
    methods: dict[str, set[str]] = {}
    where = "indicator_id = $1 and region_level = 'municipality' and breakdown = 'total'"
    with duckdb.connect(str(database), read_only=True) as connection:
        for code, year, value in connection.execute(
            "select region_code, cast(reference_period as integer), value from observations "
            f"where {where} and value is not null",
            [INDICATOR],
        ).fetchall():
            series.setdefault(code, {})[year] = value
        for code, year, point, method in connection.execute(
            "select region_code, cast(reference_period as integer), point, method from forecasts "
            f"where {where} and point is not null and cast(reference_period as integer) <= $2",
            [INDICATOR, NOW.year],
        ).fetchall():
            said.setdefault(code, {})[year] = point
            methods.setdefault(code, set()).add(f"{method} ({year})")
    return {
        code: Published(
            series[code],
            {FORECAST: own, **baselines(series[code], sorted(own))},
            frozenset(methods[code]),
        )
        for code, own in said.items()
    }


def line(series: Series, last: int, year: int) -> float:
    """The straight line through the years up to ``last``, by least squares, in another year."""
    known = [one for one in series if one <= last]
    slope, start = np.polyfit(known, [series[one] for one in known], 1)
    return float(start + slope * year)


def has_seen(point: float, truth: float, before: float) -> bool:
    """Whether a forecast lies closer to the truth than to what went before."""
    return abs(point - truth) < abs(point - before)


def is_alarm(point: float, before: float, year: int, turn: int) -> bool:
    """Whether a forecast leaves the line by half of what was planted elsewhere, or more."""
    so_far = min(1.0, (year - turn) / figure("low_income_turn_years"))
    up, down = figure("low_income_rise") - 1, figure("low_income_fall") - 1
    return not 1 + down * so_far / 2 < point / before < 1 + up * so_far / 2


def judge(
    published: Mapping[str, Published],
    truth: Mapping[str, Mapping[int, int]],
    turning: Mapping[str, Turn],
    newest: int,
) -> list[dict[str, int]]:
    """Per year to come what was seen where low income just turned, and where it never did.

    Args:
        newest: year of which incomes are known.
    """
    rows = []
    names = (FORECAST, *BASELINES)
    for year in sorted({year for one in published.values() for year in one.said[FORECAST]}):
        seen: dict[str, list[bool]] = {name: [] for name in names}
        alarm: dict[str, list[bool]] = {name: [] for name in names}
        for code, one in published.items():
            turn = turning[code].year if code in turning else newest - JUST
            if turn < newest - JUST:
                continue
            before = line(one.series, turn, year)
            for name in names:
                point = one.said[name][year]
                if code in turning:
                    seen[name].append(has_seen(point, truth[code][year], before))
                else:
                    alarm[name].append(is_alarm(point, before, year, turn))
        rows.append(
            {
                "year": year,
                "planted": len(seen[FORECAST]),
                **{f"seen by {name}": sum(found) for name, found in seen.items()},
                "not planted": len(alarm[FORECAST]),
                **{f"alarm by {name}": sum(found) for name, found in alarm.items()},
            }
        )
    return rows


def added(rows: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """The rows of all seeds, by year."""
    total: dict[int, dict[str, int]] = {}
    for row in rows:
        own = total.setdefault(row["year"], {"year": row["year"]})
        for name, value in row.items():
            if name != "year":
                own[name] = own.get(name, 0) + value
    return list(total.values())


def main() -> None:
    """Prints one line of JSON per seed and year, and per year for all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--regions", nargs="*", default=list(REGIONS))
    parser.add_argument("--turns", nargs="*", type=int, default=list(TURNS))
    asked = parser.parse_args()
    geography = load_geography(PROJECT / "dbt_project" / "seeds" / "geography")
    every: list[dict[str, int]] = []
    for seed in asked.seeds:
        began, used = time.perf_counter(), processor_seconds()
        scope = scope_of(geography, seed, asked.regions, asked.turns)
        with tempfile.TemporaryDirectory(prefix="zicht-nowcast-") as folder:
            settings = Settings(home=Path(folder), project=PROJECT, geo_year=GEO_YEAR)
            published = read(release_of(settings, scope))
            last = max(max(one.series) for one in published.values())
            truth = to_come(settings, scope, range(last + 1, NOW.year + 1))
        turning = geography.turning(seed, scope.turns)
        rows = judge(published, truth, turning, last)
        for row in rows:
            print(json.dumps({"seed": seed, **row}), flush=True)
        every += rows
        timed = {
            "seed": seed,
            "methods": sorted({name for one in published.values() for name in one.methods}),
            "seconds": round(time.perf_counter() - began),
            "processor_seconds": round(processor_seconds() - used),
        }
        print(json.dumps(timed), flush=True)
    for row in added(every):
        print(json.dumps({"seed": "all", **row}), flush=True)


if __name__ == "__main__":
    main()
