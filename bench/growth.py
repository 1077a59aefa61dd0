"""What the growth model finds of planted growth: ``python bench/growth.py [SEED …]``.

Makes the trade register of the whole made-up country for one quarter, per seed twice: with the
planted growth of ``zicht synth`` and with none. Counts the delivered files without any of the
project's SQL, protects the counts with the default policy, and fits, tests and protects the growth
model as a release does. Prints per seed how many municipalities were planted, how many were found,
and how many signals are false: of the test itself (all municipalities), and of what may be
published. ``--quarter 2023-Q2`` takes another quarter.

``--simulated 100`` fits that many countries of drawn counts instead, per number of municipalities,
dispersion and share that is planted, six times over; no seeds are made then.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import yaml

from zicht.contracts import load_contracts
from zicht.disclosure.growth import METHOD, GrowthModel, fit_growth, growth_model, signals
from zicht.disclosure.modelled import ModelPolicy
from zicht.disclosure.policies import Kind, load_policies
from zicht.disclosure.wall import Output, protect
from zicht.periods import Period
from zicht.synthetic import load_geography, plan_deliveries, scope_of, synthesise
from zicht.synthetic.geography import Geography

PROJECT = Path(__file__).resolve().parents[1]
SEEDS = PROJECT / "dbt_project" / "seeds" / "geography"
FACTOR = 6
"""So many times the usual number is planted in drawn countries."""
LEVELS = ("corop_code", "province_code", "safety_region_code")

COUNT = """
with boards as (
    select entity_key, count(distinct director_key) as n_directors
    from read_csv($directors, delim = ';', all_varchar = true) group by entity_key
),
entities as (
    select
        municipality_code, legal_form, cast(substr(sbi_code, 1, 2) as int) as division,
        legal_form = 'stichting' and coalesce(n_directors, 0) = 1 as lone,
        strptime(founded_on, '%d-%m-%Y') >= $first as new
    from read_csv($entities, delim = ';', all_varchar = true)
    left join boards using (entity_key)
    where coalesce(dissolved_on, '') = ''
)
select
    municipality_code as code,
    count(*) filter (lone and new) as value,
    count(*) filter (not lone and new) as n_other_founded,
    count(*) filter (not lone and legal_form = 'stichting') as n_other_foundations,
    count(*) filter (not lone and division between 64 and 82) as n_business_services
from entities
group by all
"""


class Quiet(Geography):
    """The same country, with nothing planted."""

    def planted(self, seed: int) -> Mapping[str, int]:
        """No municipality."""
        return {}


def count(landed: Path, geography: Geography, period: Period) -> pd.DataFrame:
    """The columns of the mart, per municipality of the last division, from a delivery's files."""
    with duckdb.connect() as engine:
        found = engine.execute(
            COUNT,
            {
                "entities": str(landed / "legal_entities.csv"),
                "directors": str(landed / "directors.csv"),
                "first": (period.end + timedelta(days=1)).replace(year=period.end.year - 1)
                if period.end.month < 12
                else date(period.year, 1, 1),
            },
        ).fetch_df()
    last = {atom.code(period.start): atom.last_code for atom in geography.atoms}
    made = found.assign(region_code=found["code"].map(last)).drop(columns="code")
    made = made.groupby("region_code", as_index=False).sum()
    inhabitants: Counter[str] = Counter()
    for atom in geography.atoms:
        inhabitants[atom.last_code] += atom.inhabitants[geography.year(period.year)]
    return made.assign(
        n_inhabitants=made["region_code"].map(inhabitants), reference_period=str(period)
    )


def published(cells: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The counts that pass the wall, in all levels of region."""
    with (SEEDS / "municipality_divisions.csv").open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: int(row["last_year"]))
    regions = pd.DataFrame(rows).drop_duplicates("region_code", keep="last")
    own = cells.merge(regions[["region_code", *LEVELS]], on="region_code", validate="one_to_one")
    own = own.astype({"value": "int64"})
    chains = [["region_code", "corop_code", "province_code"], ["region_code", "safety_region_code"]]
    policy = load_policies(PROJECT / "expectations" / "policies")["default"]
    passed = protect(
        Output(
            "foundations_founded",
            Kind.COUNTS,
            policy,
            own[["region_code", *LEVELS, "value"]],
            {"region_code": {"hierarchies": chains, "total": "NL01"}},
        )
    ).cells
    shown = passed[passed["obs_status"] == "A"]
    period = cells["reference_period"].iloc[0]
    return {
        (period, code): value
        for code, value in zip(shown["region_code"], shown["value"], strict=True)
    }


def fitted(cells: pd.DataFrame, model: GrowthModel) -> pd.DataFrame:
    """What was to be expected, and what are signals."""
    return fit_growth(
        cells,
        observed=model.observed,
        exposure=model.exposure,
        explain=model.explain,
        false_discovery_rate=model.false_discovery_rate,
        least=model.least_expected,
    )


def measure(cells: pd.DataFrame, planted: Mapping[str, int], indicator: Any) -> dict[str, Any]:
    """Finds signals, and holds them against what was planted."""
    rows = fitted(cells, growth_model(indicator))
    shown = published(cells)
    policies = load_policies(PROJECT / "expectations" / "policies")
    policy = ModelPolicy(**policies["modelled"].protection)
    table = signals(cells, indicator, policy, shown, {})
    out = table[table["obs_status"] == "A"]
    all_found = set(rows.loc[rows["is_signal"].astype(bool), "region_code"])
    told = set(out.loc[out["is_signal"].astype(bool), "region_code"])
    may = set(out["region_code"])
    by_factor = {
        str(factor): f"{len(own & told)} told, {len(own & all_found)} found of {len(own)}"
        for factor in sorted(set(planted.values()))
        if (own := {code for code, one in planted.items() if one == factor})
    }
    return {
        "municipalities": len(rows),
        "shown": len(may),
        "planted": len(planted),
        "planted_and_shown": len(may & set(planted)),
        "found": len(all_found & set(planted)),
        "false": len(all_found - set(planted)),
        "told": len(told & set(planted)),
        "told_falsely": len(told - set(planted)),
        "false_share_of_told": round(len(told - set(planted)) / max(1, len(told)), 3),
        "by_factor": by_factor,
        "planted_and_not_told": {
            code: f"factor {factor}, {int(own['n_inhabitants'])} inhabitants, "
            f"{int(own['value'])} counted"
            for code, factor in planted.items()
            if code not in told
            for own in cells[cells["region_code"] == code].to_dict("records")
        },
    }


def indicator_with(method: str) -> Any:
    """The definition of the indicator whose model has a method."""
    for path in sorted((PROJECT / "dbt_project" / "models" / "marts").rglob("mart_*.yml")):
        model = yaml.safe_load(path.read_text(encoding="utf-8"))["models"][0]
        indicator = model["config"].get("meta", {}).get("indicator") or {}
        if (indicator.get("model") or {}).get("method") == method:
            return indicator
    raise SystemExit(f"no mart has a model with the method {method}")


def drawn(seed: int, n: int, dispersion: float, is_planted: Any) -> pd.DataFrame:
    """Municipalities of every size; foundations go along with other foundings, by halves."""
    draw = np.random.default_rng(seed)
    inhabitants = np.round(np.exp(draw.normal(10.4, 0.8, n))) + 900
    per_head = np.exp(draw.normal(0, 0.3, (3, n))) * np.array([[0.0136], [0.027], [0.032]])
    founded, foundations, services = draw.poisson(inhabitants * per_head)
    mean = 1e-4 * inhabitants * np.sqrt(per_head[0] / 0.0136)
    if dispersion:
        mean = mean * draw.gamma(1 / dispersion, dispersion, n)
    return pd.DataFrame(
        {
            "region_code": [str(number) for number in range(n)],
            "value": draw.poisson(mean * np.where(is_planted, FACTOR, 1)),
            "n_inhabitants": inhabitants,
            "n_other_founded": founded,
            "n_other_foundations": foundations,
            "n_business_services": services,
        }
    )


def simulate(n_countries: int, indicator: Any) -> None:
    """Prints the rate of false discoveries and the power over drawn countries."""
    model = growth_model(indicator)
    for n, dispersion, share in product((342, 60), (0.0, 0.2, 0.5), (0.0, 1 / 16)):
        is_planted = np.arange(n) < round(n * share)
        false, power = [], []
        for seed in range(n_countries):
            rows = fitted(drawn(seed, n, dispersion, is_planted), model)
            found = rows["is_signal"].to_numpy(dtype=bool)
            false.append(np.sum(found & ~is_planted) / max(1, np.sum(found)))
            power.append(np.sum(found & is_planted) / max(1, np.sum(is_planted)))
        result = {"municipalities": n, "dispersion": dispersion, "planted": int(is_planted.sum())}
        result |= {"false_discovery_rate": round(float(np.mean(false)), 3)}
        result |= {"power": round(float(np.mean(power)), 2)} if share else {}
        print(json.dumps(result), flush=True)


def main() -> None:
    """Prints one line of JSON per seed and country."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--quarter", type=Period.parse, default=Period.parse("2024-Q4"))
    parser.add_argument("--simulated", type=int, default=0)
    asked = parser.parse_args()
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    indicator = indicator_with(METHOD)
    if asked.simulated:
        return simulate(asked.simulated, indicator)
    true = load_geography(SEEDS)
    quiet = Quiet(true.atoms, true.years, true.population)
    now = datetime(asked.quarter.year + 5, 1, 1, tzinfo=UTC)
    wanted = plan_deliveries(contracts, ["nhr"], [asked.quarter], now)
    for seed in asked.seeds:
        for geography in (true, quiet):
            began, used = time.perf_counter(), time.process_time()
            with TemporaryDirectory(prefix="zicht-bench-") as folder:
                landing, scope = Path(folder) / "landing", scope_of(geography, seed)
                landed = synthesise(landing, contracts, scope, wanted, lambda _: None)[0]
                cells = count(landed, geography, asked.quarter)
            planted = geography.planted(seed)
            result = {"seed": seed, "quarter": str(asked.quarter)}
            result |= measure(cells, planted, indicator)
            result |= {
                "seconds": round(time.perf_counter() - began, 1),
                "processor_seconds": round(time.process_time() - used, 1),
            }
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
