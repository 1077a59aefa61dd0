"""Measures intake with gate 1 beside DuckDB's own `COPY … TO parquet` of the same file.

Run it with `make bench-intake`. Each file is taken in and copied in turn, several times; the best
time of each counts, so that what else the machine does matters least. Imports are apart.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from zicht.clock import fixed_clock
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.intake import take_in
from zicht.deliveries.package import ObservationStatus, write_delivery
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


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copy(contract: Contract, path: Path, target: Path) -> None:
    """What DuckDB needs at least: read the file, write it as Parquet."""
    reader = "read_parquet" if contract.format.kind == "parquet" else "read_csv"
    with duckdb.connect() as connection:
        connection.execute(f"copy (from {reader}('{path}')) to '{target}' (format parquet)")


def take(contract: Contract, path: Path, home: Path) -> float:
    """Seconds for the intake of one delivery, from landing to the ledger."""
    settings = Settings(home=home, project=PROJECT)
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
    seconds = timed(lambda: take_in(settings, contract, fixed_clock(NOW), said.append))
    assert said[0].startswith("  accepted"), said
    return seconds


def main() -> None:
    """Prints one line per format."""
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    print(f"{ROWS:,} rows, best of {ROUNDS}; intake with all of gate 1, imports apart")
    print("format   what      seconds      rows/s    MB/s   times COPY")
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        for source, contract in contracts.items():
            if source not in ROWS_OF:
                continue
            path = make_file(contract, base)
            megabytes = path.stat().st_size / 1e6
            take(contract, path, base / "warm")
            taken, copied = [], []
            for number in range(ROUNDS):
                copied.append(timed(lambda: copy(contract, path, base / "copy.parquet")))  # noqa: B023
                taken.append(take(contract, path, base / f"home-{source}-{number}"))
            for what, seconds in (("COPY", min(copied)), ("intake", min(taken))):
                print(
                    f"{contract.format.kind:8} {what:7} {seconds:9.2f} {ROWS / seconds:11,.0f} "
                    f"{megabytes / seconds:7.0f} {seconds / min(copied):9.2f}"
                )


if __name__ == "__main__":
    main()
