"""Feature profile against what was planted: ``python bench/profile.py [PV28 …|NL] [--seeds 7 …]``.

Makes premises, rights, transfers and cleared sites of a made-up country, counts patterns with the
compiled SQL of ``cube_vastgoed__premises_features``, and fits and protects the profile as a
refresh does. Prints per seed what stands out, whether that is what was planted, and what becomes
of the feature that only goes together with a planted one; then the same with nothing planted,
from sites made without factors and from events drawn at random over the same patterns. Prints
processor seconds beside wall-clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zicht.disclosure.modelled import ModelPolicy
from zicht.disclosure.policies import load_policy
from zicht.disclosure.profile import fit_profile, profiles
from zicht.periods import Period
from zicht.synthetic import Scope, load_geography, scope_of
from zicht.synthetic.facts import facts
from zicht.synthetic.planning import NEEDS
from zicht.synthetic.world import World, parts, sql

PROJECT = Path(__file__).resolve().parents[1]
CUBE = "cube_vastgoed__premises_features"
MART = PROJECT / "dbt_project/models/marts/vastgoed/mart_vastgoed__premises_features.yml"
YEAR = 2023
QUARTERS = tuple(range(1, 5))
PLANTED = {
    ("premises_type", "industry"): "odds_industry",
    ("floor_area", "from_200_m2"): "odds_large",
    ("year_built", "from_1945_to_1970"): "odds_rebuilding",
}
CONFOUNDED = ("premises_type", "terraced")
DWELLINGS = ("detached", "semi_detached", "terraced", "apartment")
SITES = "warehouse.main.stg_cannabis_sites__sites"
COUNTS = ("n_units", "n_events")
"""Of a pattern."""
KEPT = ("feature", "category", "lift", "odds_ratio", "odds_lower", "odds_upper")


def dbt(home: Path, command: str, *selected: str) -> None:
    """Runs dbt with a plan in which this cube has one pair."""
    kadaster = [(f"k{q}", f"{YEAR - 1}-Q{q}", "kadaster") for q in QUARTERS]
    sites = [(f"s{q}", f"{YEAR}-Q{q}", "cannabis_sites") for q in QUARTERS]
    deliveries = [
        {"source": source, "id": name, "status": "final", "reference_period": period}
        for name, period, source in (("b", str(YEAR), "bag_woz"), *kadaster, *sites)
    ]
    pair = {"reference_period": str(YEAR), "vintage": "made up", "deliveries": deliveries}
    plan = {"cubes": {CUBE: [pair]}, "marts": {}, "staging": []}
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("dbt")), command, "--quiet"),
            *("--project-dir", str(PROJECT / "dbt_project")),
            *("--profiles-dir", str(PROJECT / "dbt_project")),
            *("--target-path", str(home / "dbt"), "--log-path", str(home / "dbt/logs")),
            *("--vars", json.dumps({"plan": plan}), "--select", *selected),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "ZICHT_HOME": str(home), "DO_NOT_TRACK": "1"},
    )


def compiled(home: Path) -> str:
    """The SQL of the cube; the dimensions that it reads are in the warehouse of ``home``."""
    dbt(home, "seed", "path:seeds/geography")
    dbt(home, "run", "dim_recast", "dim_regions")
    dbt(home, "compile", CUBE)
    found = (home / "dbt/compiled/zicht/models/cubes").rglob(f"{CUBE}.sql")
    return next(found).read_text(encoding="utf-8")


def add(world: World, source: str, table: str, period: Period, delivery: str, into: str) -> None:
    """Adds a delivery to a staging table, as intake and staging would leave it."""
    world.at(period, NEEDS[source])
    query = (
        f"select '{delivery}' as delivery_id, '{period}' as reference_period, * exclude (_unit) "
        f"from ({sql(f'deliveries/{source}.{table}')})"
    )
    target = f"warehouse.main.stg_{source}__{table}{into}"
    known = world.rows(
        f"select 1 from duckdb_tables() where table_name = 'stg_{source}__{table}{into}'"
    )
    world.connection.execute(
        f"{'insert into' if known else 'create table'} {target} {'' if known else 'as '}{query}"
    )


def count_part(scope: Scope, atoms: Sequence[int], home: Path, query: str) -> list[pd.DataFrame]:
    """The patterns of a part of the country: as planted, and with nothing planted."""
    with closing(World(scope, atoms, home / "spill")) as world:
        world.connection.execute("attach ':memory:' as warehouse")
        world.connection.execute(f"attach '{home / 'warehouse.duckdb'}' as built (read_only)")
        for dimension in ("dim_recast", "dim_regions"):
            world.connection.execute(
                f"create table warehouse.main.{dimension} as from built.main.{dimension}"
            )
        for quarter in QUARTERS:
            before = Period.parse(f"{YEAR - 1}-Q{quarter}")
            add(world, "kadaster", "transfers", before, f"k{quarter}", "")
        add(world, "kadaster", "rights", before, f"k{quarter}", "")
        add(world, "bag_woz", "premises", Period.parse(str(YEAR)), "b", "")
        found = []
        for odds in ({}, dict.fromkeys(PLANTED.values(), 1)):
            # Without factors there would be fewer sites; what is compared is which, not how many.
            more = 1.65 if odds else 1
            world.set(sites_per_quarter=float(facts()["sites_per_quarter"]) * more, **odds)
            world.connection.execute(
                "drop table if exists warehouse.main.stg_cannabis_sites__sites"
            )
            for quarter in QUARTERS:
                period = Period.parse(f"{YEAR}-Q{quarter}")
                add(world, "cannabis_sites", "sites", period, f"s{quarter}", "")
            found.append(world.connection.execute(query).df())
        return found


def count_all(scope: Scope, home: Path, query: str, workers: int) -> list[pd.DataFrame]:
    """The patterns of the whole scope: as planted, and with nothing planted."""
    with ThreadPoolExecutor(workers) as pool:
        made = list(pool.map(lambda one: count_part(scope, one, home, query), parts(scope)))
    keys = [one for one in made[0][0].columns if one not in COUNTS]
    return [
        pd.concat(own).groupby(keys, as_index=False)[list(COUNTS)].sum()
        for own in zip(*made, strict=True)
    ]


def found_in(rows: pd.DataFrame) -> set[tuple[str, str]]:
    """The distinguishing categories of a profile."""
    own = rows[rows["is_distinguishing"].fillna(False).astype(bool)]
    return set(zip(own["feature"], own["category"], strict=True))


def among(rows: pd.DataFrame, keys: set[tuple[str, str]]) -> pd.DataFrame:
    """The rows of these categories."""
    return rows[[one in keys for one in zip(rows["feature"], rows["category"], strict=True)]]


def told(rows: pd.DataFrame) -> str:
    """Some rows of a profile, one per line."""
    return "\n".join(
        f"    {one.feature}={one.category}: lift {one.lift:.2f}, adjusted {one.odds_ratio:.2f} "
        f"({one.odds_lower:.2f} to {one.odds_upper:.2f})"
        for one in rows[list(KEPT)].itertuples()
    )


def judge(
    cells: Sequence[pd.DataFrame], meta: Mapping[str, Any], policy: ModelPolicy, draws: int
) -> dict[str, float]:
    """Prints what a seed shows, and returns what is averaged over seeds."""
    features = {name: list(one["categories"]) for name, one in meta["breakdown"].items()}
    rate = meta["model"]["false_discovery_rate"]

    def fit(frame: pd.DataFrame, own: Mapping[str, Sequence[str]] = features) -> pd.DataFrame:
        return fit_profile(frame, own, policy, false_discovery_rate=rate)

    planted, nothing = cells
    together = planted.groupby(list(features), as_index=False)[list(COUNTS)].sum()
    rows = fit(together)
    print(
        f"  {together['n_units'].sum():,} premises, {together['n_events'].sum():,} with a site, "
        f"{len(together):,} patterns"
    )
    top = among(rows, found_in(rows)).sort_values("odds_ratio", ascending=False)
    print(f"  distinguishing, the strongest first:\n{told(top)}")
    # The planted years raise the chance of a row of houses among dwellings; industry, that of
    # all that is no dwelling.
    dwellings = together[together["premises_type"].isin(DWELLINGS)]
    alone = {"premises_type": features["premises_type"]}
    before = among(fit(dwellings, alone), {CONFOUNDED})
    after = among(fit(dwellings), {CONFOUNDED})
    print(f"  the confounded one among dwellings, by itself:\n{told(before)}")
    print(f"  and with the other features equal:\n{told(after)}")
    most = list(zip(top["feature"], top["category"], strict=True))[: len(PLANTED)]
    published = profiles(planted, meta, policy)
    regional = [own for code, own in published.groupby("region_code") if code != "NL01"]
    hits = [one in PLANTED for own in regional for one in found_in(own)]
    country = published[published["region_code"] == "NL01"]
    print(
        f"  published: country {(country['obs_status'] == 'A').sum()} of {len(country)} rows; "
        f"{len(regional)} safety regions with "
        f"{sum((own['obs_status'] == 'A').sum() for own in regional)} rows, in which "
        f"{len(hits)} distinguishing, {sum(hits)} of them planted"
    )
    random = np.random.default_rng(len(planted))
    chance = together["n_events"].sum() / together["n_units"].sum()
    drawn = [
        fit(together.assign(n_events=random.binomial(together["n_units"], chance)))
        for _ in range(draws)
    ]
    found = found_in(fit(nothing))
    print(f"  nothing planted, {nothing['n_events'].sum():,} with a site: found {sorted(found)}")
    result = {
        "planted_are_the_top": float(set(most) == set(PLANTED)),
        "others_found": float(len(top) - len(found_in(rows) & set(PLANTED))),
        "confounded_before": float(len(found_in(before))),
        "confounded_after": float(len(found_in(after) | found_in(rows) & {CONFOUNDED})),
        "found_with_nothing_planted": float(len(found)),
        "tables_with_a_finding_of_drawn": float(np.mean([bool(found_in(one)) for one in drawn])),
    }
    print(f"  {json.dumps(result)}", flush=True)
    return result


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regions", nargs="*", default=["PV28", "PV30"], help="PV28, GM0654 or NL")
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--draws", type=int, default=200, help="of events with nothing planted")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    meta = yaml.safe_load(MART.read_text(encoding="utf-8"))["models"][0]["config"]["meta"]
    policy = ModelPolicy(**load_policy(PROJECT / "expectations/policies/modelled.yaml").protection)
    geography = load_geography(PROJECT / "dbt_project/seeds/geography")
    regions = [] if asked.regions == ["NL"] else asked.regions
    results = []
    with TemporaryDirectory(prefix="zicht-bench-") as folder:
        query = compiled(Path(folder))
        for seed in asked.seeds:
            began, used = time.perf_counter(), time.process_time()
            print(f"seed {seed}, {' '.join(asked.regions)}, {YEAR}")
            cells = count_all(
                scope_of(geography, seed, regions), Path(folder), query, asked.workers
            )
            made = time.perf_counter() - began, time.process_time() - used
            results.append(judge(cells, meta["indicator"], policy, asked.draws))
            total = time.perf_counter() - began, time.process_time() - used
            print(
                f"  {total[0]:.0f} s, {total[1]:.0f} processor seconds, of which {made[0]:.0f} and "
                f"{made[1]:.0f} for making and counting"
            )
    print(json.dumps(pd.DataFrame(results).mean().round(3).to_dict(), indent=2))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
