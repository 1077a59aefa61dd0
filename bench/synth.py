"""Rows per second of synthetic deliveries: ``python bench/synth.py [PV29 …|NL] [--source brp]``.

One delivery of every register for one year, written and packed as for landing, and removed again.
Prints wall-clock and processor seconds: on a machine that does other things as well the former says
little.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from zicht.contracts import load_contracts
from zicht.synthetic import load_geography, make, plan_deliveries, scope_of

PROJECT = Path(__file__).resolve().parents[1]


def processor_seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Makes one delivery of every source asked for and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regions", nargs="*", default=["PV29"], help="PV29, GM0654 or NL")
    parser.add_argument("--source", action="append", default=[])
    parser.add_argument("--year", type=int, default=2024)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    geography = load_geography(PROJECT / "dbt_project" / "seeds" / "geography")
    regions = [] if asked.regions == ["NL"] else asked.regions
    scope = scope_of(geography, asked.seed, regions)
    now = datetime(asked.year + 5, 1, 1, tzinfo=UTC)
    every = plan_deliveries(contracts, asked.source, (asked.year, asked.year), now)
    first = list({wanted.source: wanted for wanted in reversed(every)}.values())
    with TemporaryDirectory(prefix="zicht-bench-") as folder:
        began, used = time.perf_counter(), processor_seconds()
        n_rows = n_bytes = 0
        for made in make(Path(folder) / "landing", contracts, scope, first, lambda _: None):
            n_rows += sum(made.rows.values())
            n_bytes += sum(path.stat().st_size for path in made.folder.iterdir())
        seconds, used = time.perf_counter() - began, processor_seconds() - used
    result = {
        "regions": asked.regions,
        "deliveries": len(first),
        "rows": n_rows,
        "megabytes": round(n_bytes / 1e6, 1),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "rows_per_second": round(n_rows / seconds),
        "rows_per_processor_second": round(n_rows / used),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
