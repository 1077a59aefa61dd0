"""Soak: hundreds of random deliveries, a third of them faulty, intake killed at random.

`python bench/soak.py` does 500 with ten kills; a test does fewer. At the end every delivery has to
be in one place only: the ledger, quarantine, a note that it brought nothing new, or, when it was
never finished by its provider, landing. Seeds decide what is dropped and when a kill comes; what
intake is doing at that moment is up to the machine, which is the point.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import duckdb

from zicht.clock import fixed_clock
from zicht.contracts import Column, Contract, Table, load_contracts
from zicht.deliveries.intake import take_in
from zicht.deliveries.landing import complete_deliveries, incomplete_deliveries
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import (
    DESCRIPTOR,
    ObservationStatus,
    read_descriptor,
    sha256_of,
    write_delivery,
)
from zicht.deliveries.quarantine import PAYLOAD, REPORT, read_quarantine
from zicht.files import read_json
from zicht.periods import Period
from zicht.settings import Settings
from zicht.sql import literal, quoted
from zicht.synthetic.faults import FAULTS, Outcome, plant, write_file

PROJECT = Path(__file__).resolve().parents[1]
NOW = datetime(2025, 6, 1, 9, 0, tzinfo=UTC)
KEY_NAME = "ZICHT_KEY_ZICHT_OP_ONDERMIJNING"
KEY = "a key of the soak, made up for it: 0123456789"
SOURCES = ("bag_woz", "cannabis_sites", "kadaster", "nhr", "police_suspects", "uwv_svb")
LARGE = ("GM0363", "GM0599", "GM0518", "GM0344", "GM0772", "GM0855", "GM0392", "GM0307")
"""Municipalities that no re-division touched since 2015."""
PER_MUNICIPALITY = 110
BASE = "000-base"
LEFT_OUT = frozenset({"no_agreement", "zip_bomb"})
"""The first is in the platform's agreements and not in a delivery; the second unpacks a quarter of
a gigabyte each time."""
_PATTERNS = {
    "[0-9]{8}": "lpad(cast(10000019 + 37 * i as varchar), 8, '0')",
    "[A-Z0-9]{6}": "'Z' || lpad(cast(i as varchar), 5, '0')",
    "[0-9]{2,5}": "lpad(cast(hash(i) % 90 + 10 as varchar), 4, '4')",
}
_DAYS_BACK = 3000


# Small good deliveries.


def _key(letter: str, seed: int) -> str:
    # An odd multiplier without a factor five: no two numbers become one.
    number = f"(387420489 * (i + 1) + {seed % 1000} * 1000003) % 1000000000"
    return f"{literal(letter)} || lpad(cast({number} as varchar), 9, '0')"


def _day(column: Column, contract: Contract, period: Period) -> str:
    if column.time == "within_period":
        days = (period.end - period.start).days + 1
        return f"date '{period.start}' + cast(hash(i) % {days} as int)"
    last: date = contract.reference_day(period)
    return f"date '{last}' - cast(hash(i) % {_DAYS_BACK} as int)"


def _value(
    column: Column,
    table: Table,
    contract: Contract,
    period: Period,
    regions: Sequence[str],
    seed: int,
) -> str:
    """SQL of a sound value in row ``i`` of a column, from nothing but its contract."""
    if column.region_levels:
        return f"({list(regions)})[1 + i % {len(regions)}]"
    if table.settled is not None and column.name == table.settled.column:
        return literal(table.settled.values[0])
    if column.values:
        return (
            f"({list(column.values)})[1 + cast(hash(i, {seed}) % {len(column.values)} as bigint)]"
        )
    match column.sql_type:
        case "DATE":
            return _day(column, contract, period)
        case "BOOLEAN":
            return "i % 3 = 0"
        case "BIGINT":
            return f"{int(column.minimum or 0)} + cast(hash(i, {seed}) % 40 as bigint)"
        case "DOUBLE":
            return f"{column.minimum or 0} + cast(hash(i, {seed}) % 40 as bigint) + 0.25"
    if column.pattern in _PATTERNS:
        return _PATTERNS[column.pattern]
    if column.pattern:
        return _key(column.pattern.strip("[")[0], seed)
    return "'Diefstal in cafés'"


def small_delivery(
    landing: Path,
    contract: Contract,
    period: Period,
    id: str,
    *,
    seed: int = 0,
    regions: Sequence[str] = LARGE,
    per_region: int = PER_MUNICIPALITY,
    **fields: Any,
) -> Path:
    """Drops a small good delivery of any register: sound by its contract, and no more than that.

    Keys and amounts follow from the seed; a registration number only from the number of its row,
    so it is the same in all sources.
    """
    rows = len(regions) * per_region
    landing.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=landing.parent, prefix=".small-") as name:
        folder = Path(name)
        files = []
        with duckdb.connect() as connection:
            for table in contract.tables:
                columns = ", ".join(
                    f"{_value(c, table, contract, period, regions, seed)} as {quoted(c.name)}"
                    for c in table.columns
                )
                query = f"select {columns} from range({rows}) as t(i) order by i"
                files.append(write_file(connection, query, contract, table, folder))
        arguments: dict[str, Any] = {
            "observation_status": ObservationStatus.FINAL,
            "delivered_at": datetime.combine(contract.due(period), NOW.timetz()),
            "encoding": contract.format.encoding,
            "contract_version": contract.version,
            **fields,
        }
        return write_delivery(
            landing / contract.source,
            id=id,
            source=contract.source,
            reference_period=period,
            tables={path.name: path for path in files},
            **arguments,
        )


def periods_before(contract: Contract, now: datetime = NOW) -> list[Period]:
    """The periods that a source has delivered by now, if it is never late."""
    found, period = [], contract.first_period
    while contract.due(period) < now.date():
        found.append(period)
        period = period.next()
    return found


# The soak.


@dataclass(frozen=True)
class Dropped:
    """One delivery that was dropped, and what has to become of it.

    Attributes:
        source: the register.
        name: of its folder.
        id: in its descriptor.
        fault: what is wrong with it; empty when it is good.
        content: sha256 per file, to see that quarantine keeps it whole.
    """

    source: str
    name: str
    id: str
    fault: str
    content: Mapping[str, str]

    @property
    def end(self) -> str:
        """Where it belongs: ledger, quarantine, unchanged or landing."""
        if not self.fault:
            return "ledger"
        match FAULTS[self.fault].outcome:
            case Outcome.WAITS:
                return "landing"
            case Outcome.UNCHANGED:
                return "unchanged"
        return "quarantine"


@dataclass
class Soaked:
    """What a soak did and found.

    Attributes:
        dropped: all deliveries.
        kills: how often intake was killed at work.
        wrong: per delivery that is not where it belongs, or not whole, what is the matter.
        seconds: per part of the soak.
    """

    dropped: list[Dropped] = field(default_factory=list)
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def _content(folder: Path) -> dict[str, str]:
    return {
        path.name: "link" if path.is_symlink() else sha256_of(path)
        for path in sorted(folder.iterdir())
    }


def drop(
    settings: Settings, contracts: Mapping[str, Contract], count: int, seed: int
) -> list[Dropped]:
    """Makes ``count`` deliveries in a place beside landing, a third of them faulty.

    Each source begins with a good one, of a period of its own, that the faults are planted in.
    """
    dice = random.Random(seed)
    stage = settings.home.with_name("stage")
    made: list[Dropped] = []
    models: dict[str, Path] = {}
    # Those that end elsewhere first, so that they are in the smallest soak too; then all by turns.
    deck = [k for k, f in FAULTS.items() if f.outcome in (Outcome.WAITS, Outcome.UNCHANGED)]
    for number in range(count):
        source = SOURCES[number % len(SOURCES)] if number < len(SOURCES) else dice.choice(SOURCES)
        contract = contracts[source]
        others = periods_before(contract)
        first = others.pop(len(others) // 2)
        name, fault = f"{number:04d}", ""
        if source not in models:
            # Earlier than all others, so that it is there when these are compared with it.
            folder = small_delivery(
                stage, contract, first, BASE, regions=LARGE[:3],
                delivered_at=datetime.combine(first.end, NOW.timetz()) + timedelta(days=1),
            )  # fmt: skip
            models[source] = folder
        elif dice.random() < 1 / 3:
            deck = deck or [k for k in dice.sample(list(FAULTS), len(FAULTS)) if k not in LEFT_OUT]
            fault = next((k for k in deck if FAULTS[k].fits(contract)), "wrong_checksum")
            deck = [k for k in deck if k != fault]
            folder = plant(fault, models[source], contract, stage, f"{name}-{fault}", seed=number)
        else:
            folder = small_delivery(
                stage, contract, dice.choice(others), f"{name}-good", seed=number,
                regions=LARGE[:3], is_archive=dice.random() < 0.5,
            )  # fmt: skip
        has_id = (folder / DESCRIPTOR).exists() and fault != "path_traversal"
        id = read_descriptor(folder).id if has_id else folder.name
        made.append(Dropped(source, folder.name, id, fault, _content(folder)))
    return made


def _work(settings: Settings, handled: Synchronized[int] | Any) -> None:
    """Intake of all sources, in a process of its own."""
    os.environ[KEY_NAME] = KEY
    contracts = load_contracts(settings.contracts)

    def say(_: str) -> None:
        handled.value += 1

    for source in SOURCES:
        take_in(settings, contracts[source], fixed_clock(NOW), say)


def soak(settings: Settings, count: int, kills: int, seed: int) -> Soaked:
    """Drops deliveries bit by bit, kills intake again and again, lets it end, and counts."""
    contracts = load_contracts(settings.contracts)
    result, dice = Soaked(), random.Random(seed + 1)
    started = time.perf_counter()
    result.dropped = drop(settings, contracts, count, seed)
    result.seconds["making"] = time.perf_counter() - started
    # A server that has imported everything and opened nothing forks the processes.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["great_expectations", "zicht.deliveries.intake"])
    started = time.perf_counter()
    stage = settings.home.with_name("stage")
    share = -(-count // (kills + 1))
    for number in range(kills + 1):
        for one in result.dropped[number * share : (number + 1) * share]:
            target = settings.landing / one.source / one.name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / one.source / one.name, target)
        work = sum(len(complete_deliveries(settings, source)) for source in SOURCES)
        handled = server.RawValue("i", 0)
        process = server.Process(target=_work, args=(settings, handled))
        process.start()
        if number < kills:
            after, pause = dice.randint(0, work * 3 // 4), dice.uniform(0, 0.3)
            while handled.value < after and process.is_alive():
                time.sleep(0.005)
            time.sleep(pause)
            process.kill()
        process.join()
        result.kills += process.exitcode == -9
        if process.exitcode not in (0, -9):
            result.wrong.append(f"intake ended with {process.exitcode}")
    result.seconds["intake"] = time.perf_counter() - started
    result.wrong += compare(settings, result.dropped)
    return result


def _found(settings: Settings) -> Counter[tuple[str, str, str]]:
    """Every delivery that is anywhere: source, name of its folder, place."""
    found: Counter[tuple[str, str, str]] = Counter()
    for record in read_ledger(settings):
        found[record.source, record.id, "ledger"] += 1
    for refusal in read_quarantine(settings):
        name = read_json(refusal.folder / REPORT)["landing_name"]
        found[refusal.source, name, "quarantine"] += 1
    for note in settings.raw.glob("*/unchanged/*.json"):
        found[note.parents[1].name, note.stem, "unchanged"] += 1
    for source in SOURCES:
        lying = (*complete_deliveries(settings, source), *incomplete_deliveries(settings, source))
        for folder in lying:
            found[source, folder.name, "landing"] += 1
    return found


def compare(settings: Settings, dropped: Sequence[Dropped]) -> list[str]:
    """What is lost, invented, twice there, in the wrong place or not whole."""
    found = _found(settings)
    wanted = Counter((one.source, one.name, one.end) for one in dropped)
    wrong = [f"{' '.join(key)}: {n} too few" for key, n in (wanted - found).items()]
    wrong += [f"{' '.join(key)}: {n} too many" for key, n in (found - wanted).items()]
    reports = {
        (refusal.source, read_json(refusal.folder / REPORT)["landing_name"]): refusal
        for refusal in read_quarantine(settings)
    }
    for one in dropped:
        refusal = reports.get((one.source, one.name))
        if one.end != "quarantine" or refusal is None:
            continue
        fault, payload = FAULTS[one.fault], refusal.folder / PAYLOAD
        if fault.code not in {reason["code"] for reason in refusal.reasons}:
            wrong.append(f"{one.source} {one.name}: refused for {refusal.reasons[0]}")
        if fault.outcome is Outcome.DESTROYED:
            if payload.exists():
                wrong.append(f"{one.source} {one.name}: content was not destroyed")
        elif not payload.exists() or _content(payload) != one.content:
            wrong.append(f"{one.source} {one.name}: content is not whole")
    for path in settings.home.rglob(".*"):
        wrong.append(f"{path.relative_to(settings.home)} was left behind")
    return wrong


def main() -> int:
    """Prints what was done and what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--deliveries", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    # Who is killed leaves semaphores behind, which Python's tracker cleans up and complains of.
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    with tempfile.TemporaryDirectory(prefix="zicht-soak-") as folder:
        settings = Settings(home=Path(folder) / "home", project=PROJECT)
        result = soak(settings, chosen.deliveries, chosen.kills, chosen.seed)
    ends = Counter(one.end for one in result.dropped)
    kinds = {one.fault for one in result.dropped if one.fault}
    print(f"{len(result.dropped)} deliveries, {result.kills} kills, {len(kinds)} kinds of fault")
    print(", ".join(f"{n} {end}" for end, n in sorted(ends.items())))
    print(", ".join(f"{part} {seconds:.0f} s" for part, seconds in result.seconds.items()))
    print("\n".join(result.wrong) or "Nothing lost, nothing invented, everything in one place.")
    return bool(result.wrong)


if __name__ == "__main__":
    raise SystemExit(main())
