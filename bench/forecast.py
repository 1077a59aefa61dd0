"""Forecasts judged on real series, and how long they take for all indicators of the country.

``python bench/forecast.py open`` takes the open tables of Statistics Netherlands beside the project
(``../shared/data/statline``) through intake and refresh, puts the years before 2013 in front of the
series of crimes and suspects where a municipality is made of the same ones, and says how forecasts
from every past year would have done: the method, the intervals and the choice as they would have
been then. The years that arrived at once have no moment of their own, so every year is held to have
come after the one before.

``python bench/forecast.py size`` times 26 indicators of 342 municipalities, provinces and country,
half of them by quarter: all of them, and once more after one indicator got a new period.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from zicht.forecasting import forecast
from zicht.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared" / "data"
NOW = datetime(2025, 11, 25, tzinfo=UTC)
SERIES = {
    "registered_crimes": ("83648NED", "TotaalGeregistreerdeMisdrijven_1", "RegioS"),
    "suspects": ("85655NED", "TotaalVerdachtenVanMisdrijven_1", "Woongemeente"),
}
"""Indicator, and the table, column and column of regions that it was made of."""
N_INDICATORS = 26
SEED = 7


def installation(home: Path) -> Settings:
    """The whole open tables, taken in and released."""
    sys.path.insert(0, str(PROJECT / "tests"))
    from support import SAMPLES, fetch_all, run_refresh, settings_at, take_in_all

    settings = settings_at(home)
    fetch_all(settings, SHARED / "statline", describe=SAMPLES)
    take_in_all(settings)
    run_refresh(settings, "whole")
    return settings


def open_tables(settings: Settings) -> duckdb.DuckDBPyConnection:
    """The tables of the release with the two series as numbers, from 2010 on."""
    made = duckdb.connect()
    made.execute(f"attach '{settings.releases}/current/marts.duckdb' as release (read_only)")
    made.execute(f"attach '{settings.warehouse}' as inside (read_only)")
    for table in ("regions", "coverage", "revisions", "breaks", "indicators", "observations"):
        made.execute(f"create table {table} as from release.{table}")
    # Open figures of suspects are published as a rate; the number behind it is as open.
    made.execute("delete from indicators where indicator_id <> 'registered_crimes'")
    made.execute(
        "insert into indicators select * replace ('suspects' as indicator_id, "
        "10 as rounding_base) from indicators"
    )
    made.execute(
        "create or replace table observations as "
        "select * from observations where indicator_id = 'registered_crimes' union all by name "
        "select o.* replace ('suspects' as indicator_id, round(m.numerator) as value) "
        "from observations as o inner join inside.mart_drugs__suspects_per_10000 as m "
        "using (region_code, reference_period, vintage) "
        "where o.indicator_id = 'suspects_per_10000'"
    )
    for indicator, (table, column, region) in SERIES.items():
        made.execute(
            f"""
            insert into observations by name
            with told as (
                select trim("{region}") as code, left("Perioden", 4) as year, "{column}" as value
                from read_csv('{SHARED}/statline/{table}_TypedDataSet.csv', delim = ';')
                where left("Perioden", 4) < '2013' {_totals(table)}
            ), recast as (
                select r.to_code as region_code, y.year,
                    if(count(*) = count(t.value), sum(t.value * r.weight), null) as value
                from inside.dim_recast as r
                cross join (select distinct year from told) as y
                left join told as t on t.code = r.from_code and t.year = y.year
                where r.from_year = 2013
                group by all
                union all
                select code, year, value from told where code = 'NL01'
            )
            select f.* exclude (value, reference_period),
                round(recast.value) as value, recast.year as reference_period
            from (
                from observations
                where indicator_id = '{indicator}' and reference_period = '2013'
            ) as f
            inner join recast using (region_code)
            where recast.value is not null
            """
        )
    return made


def _totals(table: str) -> str:
    """The rows of a table that are about all offences, ages and sexes."""
    if table == "83648NED":
        return (
            'and "SoortMisdrijf" = (select min("SoortMisdrijf") from read_csv('
            f"'{SHARED}/statline/{table}_TypedDataSet.csv', delim = ';'))"
        )
    return ""


def said(scores: pd.DataFrame) -> None:
    """Prints what the scores say."""
    chosen = scores[scores["method"] == "as_chosen"]
    print("as the choice would have been at every moment, all municipalities:")
    columns = ["n_origins", "n_cases", "mase", "relative_wis", "coverage_50", "coverage_90"]
    print(
        chosen[chosen["peer_group"] == "all"]
        .set_index(["indicator_id", "horizon"])[["first_origin", "last_origin", *columns]]
        .to_string()
    )
    print("the method used now, against the better baseline:")
    used = scores[(scores["peer_group"] == "all") & scores["is_chosen"]]
    print(used[["indicator_id", "horizon", "method", "relative_wis"]].to_string(index=False))
    local = chosen[~chosen["peer_group"].isin(["country", "province", "corop", "safety_region"])]
    for group, own in local.groupby("peer_group"):
        both = [
            float(np.average(own[column], weights=own["n_cases"]))
            for column in ("coverage_50", "coverage_90")
        ]
        print(f"  {group:15} {own['n_cases'].sum():6} cases: {both[0]:.3f} and {both[1]:.3f}")


def judge_open() -> None:
    """The open series."""
    with tempfile.TemporaryDirectory(prefix="zicht-forecast-") as folder:
        settings = installation(Path(folder) / "home")
        made = open_tables(settings)
        started = time.monotonic()
        found = forecast(made, NOW)
        print(f"forecasts and scores of {len(SERIES)} series: {time.monotonic() - started:.1f} s")
        said(found.scores)


def made_up(regions: pd.DataFrame, n: int) -> duckdb.DuckDBPyConnection:
    """Tables of a release with ``n`` made-up indicators; every other one is a number by quarter."""
    chance = np.random.default_rng(SEED)
    made = duckdb.connect()
    made.register("given", regions)
    made.execute("create table regions as from given")
    frames, definitions = [], []
    for number in range(n):
        per_year = 4 if number % 2 else 1
        periods = [
            f"{year}-Q{quarter + 1}" if per_year == 4 else str(year)
            for year in range(2012 if per_year == 1 else 2019, 2026)
            for quarter in range(per_year)
        ]
        size = np.maximum(regions["population_1jan"].to_numpy(float), 1000) / 100 / per_year
        steps = chance.normal(0.01, 0.05, (len(regions), len(periods))).cumsum(axis=1)
        values = chance.poisson(size[:, None] * np.exp(steps)).astype(float)
        values[chance.random(values.shape) < 0.03] = np.nan
        frame = pd.DataFrame(values, columns=periods, index=regions["region_code"])
        long = (
            frame.rename_axis("region_code")
            .reset_index()
            .melt("region_code", var_name="reference_period")
        )
        frames.append(long.assign(indicator_id=f"indicator_{number:02}"))
        definitions.append((f"indicator_{number:02}", "theme", "number", 0, None, 10.0, "counts"))
    every = pd.concat(frames, ignore_index=True)
    made.register("cells", every)
    made.execute(
        "create table observations as select c.*, r.region_level, 'total' as breakdown, "
        "timestamptz '2026-01-01 00:00:00+00' as known_at, 60 as lag_days, 'A' as obs_status "
        "from cells as c inner join regions as r using (region_code)"
    )
    made.execute(
        "create table indicators (indicator_id varchar, theme varchar, unit varchar, "
        "decimals integer, denominator varchar, rounding_base double, kind varchar, "
        "sources varchar)"
    )
    made.executemany("insert into indicators values (?, ?, ?, ?, ?, ?, ?, 'source')", definitions)
    made.execute(
        "create table revisions (indicator_id varchar, region_code varchar, breakdown varchar, "
        "reference_period varchar, known_at timestamptz, value double)"
    )
    made.execute(
        "create table breaks (indicator_id varchar, reference_period varchar, code varchar)"
    )
    made.execute(
        "create table coverage (source varchar, unit varchar, reference_period varchar, "
        "region_code varchar, coverage_pct double)"
    )
    return made


def time_all() -> None:
    """All indicators of the country, and one of them again."""
    seeds = PROJECT / "dbt_project/seeds/geography"
    local = duckdb.sql(
        f"select d.region_code, 'municipality' as region_level, d.province_code, d.corop_code, "
        f"d.safety_region_code, p.population_1jan "
        f"from read_csv('{seeds}/municipality_divisions.csv') as d "
        f"inner join read_csv('{seeds}/municipality_population.csv') as p "
        "using (region_code) where geo_year = 2025 and 2025 between first_year and last_year "
        "order by region_code"
    ).df()
    uppers = [("NL01", "country", local["population_1jan"].sum())]
    for level in ("province", "corop", "safety_region"):
        sums = local.groupby(f"{level}_code")["population_1jan"].sum()
        uppers += [(code, level, number) for code, number in sums.items()]
    upper = pd.DataFrame(uppers, columns=["region_code", "region_level", "population_1jan"])
    made = made_up(pd.concat([local, upper], ignore_index=True), N_INDICATORS)
    n_series = made.execute(
        "select count(distinct (indicator_id, region_code)) from observations"
    ).fetchall()[0][0]
    with tempfile.TemporaryDirectory(prefix="zicht-forecast-") as folder:
        cache = Path(folder)
        started = time.monotonic()
        found = forecast(made, datetime(2026, 2, 1, tzinfo=UTC), cache=cache)
        print(
            f"{len(found.made)} indicators, {n_series:,} series, {len(found.forecasts):,} "
            f"forecasts, {len(found.scores):,} scores: {time.monotonic() - started:.0f} s"
        )
        made.execute(
            "insert into observations select * replace ('2026' as reference_period) "
            "from observations where indicator_id = 'indicator_00' and reference_period = '2025'"
        )
        started = time.monotonic()
        found = forecast(made, datetime(2026, 2, 1, tzinfo=UTC), cache=cache)
        print(f"after a new period of {found.made}: {time.monotonic() - started:.0f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["open", "size"])
    what = parser.parse_args(arguments).what
    if what == "open":
        judge_open()
    else:
        time_all()


if __name__ == "__main__":
    main()
