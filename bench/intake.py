"""Measures intake with gate 1 beside DuckDB's own `COPY … TO parquet` of the same file.

Run it with `make bench-intake`. Each file is taken in and copied in turn, several times; the best
of each counts, so that what else the machine does matters least. Imports are apart, and so is what
is done once for a source. COPY is measured as DuckDB does it by itself, and alike: with the types
and the options of the file that intake writes.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb

from zicht.clock import fixed_clock
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.intake import take_in
from zicht.deliveries.package import ObservationStatus, write_delivery
from zicht.deliveries.reading import PARQUET
from zicht.periods import Period
from zicht.settings import Settings

ROWS = int(os.environ.get("ZICHT_BENCH_ROWS", "1000000"))
ROUNDS = 4
PROJECT = Path(__file__).resolve().parents[1]
NOW = datetime(2025, 6, 1, tzinfo=UTC)
KEY = "'{kind}' || lpad(cast(({factor} * (i + 1)) % 1000000007 % 1000000000 as varchar), 9, '0')"
MUNICIPALITY = "(['GM0363', 'GM0599', 'GM0518', 'GM0344', 'GM0014'])[1 + i % 5]"

ROWS_OF = {
    "uwv_svb": f"""
        select {KEY.format(kind="P", factor=7919)} as person_key,
            (['ww', 'wia', 'wajong', 'aow', 'anw', 'participatiewet'])[1 + i % 6] as benefit_type,
            {MUNICIPALITY} as municipality_code,
            replace(printf('%.2f', 500 + hash(i) % 200000 / 100.0), '.', ',') as amount_eur,
            strftime(date '2000-01-01' + cast(hash(i) % 8000 as integer), '%Y%m%d') as since
        from range({{rows}}) as t(i)""",
    "bag_woz": f"""
        select {KEY.format(kind="V", factor=104729)} as premises_key,
            {MUNICIPALITY} as municipality_code,
            'dwelling' as use_code,
            (['detached', 'semi_detached', 'terraced', 'apartment'])[1 + i % 4] as dwelling_type,
            cast(40 + hash(i) % 200 as bigint) as floor_area_m2,
            cast(1900 + hash(i) % 120 as bigint) as year_built,
            cast(150000 + hash(i) % 800000 as bigint) as woz_value_eur
        from range({{rows}}) as t(i)""",
}
PERIODS = {"uwv_svb": "2024-10", "bag_woz": "2024"}


def make_file(contract: Contract, folder: Path) -> Path:
    """Writes a file of ROWS rows as the contract wants it."""
    (table,) = contract.tables
    path = folder / f"{table.name}.{contract.format.suffix}"
    form = "(format parquet)" if contract.format.kind == "parquet" else "(delimiter ';', header)"
    with duckdb.connect() as connection:
        query = ROWS_OF[contract.source].format(rows=ROWS)
        connection.execute(f"copy ({query}) to '{path}' {form}")
    return path


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes: seconds by the clock, and of processors (all threads)."""

    seconds: float
    processor: float


def processor_seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], object]) -> Cost:
    """What a piece of work takes."""
    started, used = time.perf_counter(), processor_seconds()
    work()
    return Cost(time.perf_counter() - started, processor_seconds() - used)


def reader(contract: Contract, path: Path, *, typed: bool) -> str:
    """DuckDB's reader of the file: with what it finds out itself, or with the contract's types."""
    if contract.format.kind == "parquet":
        return f"read_parquet('{path}')"
    if not typed:
        return f"read_csv('{path}')"
    (table,) = contract.tables
    columns = ", ".join(f"'{column.name}': '{column.stored_type}'" for column in table.columns)
    (written,) = {column.date_format for column in table.columns if column.date_format}
    return (
        f"read_csv('{path}', auto_detect=false, header=true, delim='{contract.format.delimiter}', "
        f"quote='\"', escape='\"', columns={{{columns}}}, dateformat='{written}', "
        f"decimal_separator='{contract.format.decimal_mark}')"
    )


def copy(contract: Contract, path: Path, target: Path, *, alike: bool) -> None:
    """What DuckDB needs at least: read the file, write it as Parquet in the order that it has.

    Args:
        alike: with the types and the options of the Parquet file that intake writes; otherwise
            with all that DuckDB does by itself (types as it guesses, snappy, Bloom filters).
    """
    options = PARQUET if alike else "(format parquet)"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (from {reader(contract, path, typed=alike)}) to '{target}' {options}"
        )


def take(contract: Contract, path: Path, home: Path) -> Cost:
    """The intake of one delivery of a source that was set up before, from landing to the ledger."""
    settings = Settings(home=home, project=PROJECT)
    take_in(settings, contract, fixed_clock(NOW), lambda _: None)
    write_delivery(
        settings.landing / contract.source,
        id="bench",
        source=contract.source,
        reference_period=Period.parse(PERIODS[contract.source]),
        observation_status=ObservationStatus.FINAL,
        delivered_at=NOW,
        tables={path.name: path},
    )
    said: list[str] = []
    cost = timed(lambda: take_in(settings, contract, fixed_clock(NOW), said.append))
    assert said[0].startswith("  accepted"), said
    return cost


def main() -> None:
    """Prints one line per format and piece of work."""
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    print(f"{ROWS:,} rows, best of {ROUNDS}; intake with all of gate 1, imports apart")
    print("format   what           seconds  times COPY  processor  times COPY    rows/s   MB/s")
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        for source in ROWS_OF:
            contract = contracts[source]
            path = make_file(contract, base)
            megabytes = path.stat().st_size / 1e6
            take(contract, path, base / "warm")
            costs: dict[str, list[Cost]] = {"COPY, default": [], "COPY, alike": [], "intake": []}
            for number in range(ROUNDS):
                for what, alike in (("COPY, default", False), ("COPY, alike", True)):
                    copied = partial(copy, contract, path, base / "copy.parquet", alike=alike)
                    costs[what].append(timed(copied))
                costs["intake"].append(take(contract, path, base / f"home-{source}-{number}"))
            best = {
                what: Cost(min(c.seconds for c in found), min(c.processor for c in found))
                for what, found in costs.items()
            }
            least = best["COPY, alike"]
            for what, cost in best.items():
                print(
                    f"{contract.format.kind:8} {what:13} {cost.seconds:8.2f} "
                    f"{cost.seconds / least.seconds:11.2f} {cost.processor:10.2f} "
                    f"{cost.processor / least.processor:11.2f} {ROWS / cost.seconds:9,.0f} "
                    f"{megabytes / cost.seconds:6.0f}"
                )


if __name__ == "__main__":
    main()
