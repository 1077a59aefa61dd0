"""The demonstration: all sources through the whole flow, with a late, a revised and refused ones.

The open data is real, of some 25 municipalities; the registers are synthetic, of one province at
its true density.

The DAGs are the real ones, run one after the other in this process by Airflow's ``dag.test()``.
Tasks, gates, dbt and files are those of production; what is missing is the scheduler, which decides
*when* a task runs and never *what* it does.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from zicht.clock import Clock
from zicht.commands import fetch_source, human_path
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.package import (
    DESCRIPTOR,
    ObservationStatus,
    read_descriptor,
    write_delivery,
)
from zicht.deliveries.quarantine import read_quarantine
from zicht.errors import ReleaseError
from zicht.periods import Cadence, Period
from zicht.releases.store import CURRENT, current_release
from zicht.releases.writing import DATABASE
from zicht.settings import Settings
from zicht.statline.replay import replay
from zicht.synthetic import Options, load_geography, make, plan_deliveries, scope_of

Say = Callable[[str], None]

DAMAGED = "demo-damaged-copy"
NEIGHBOURHOOD = "demo-neighbourhood"
HALF_COPIED = "demo-half-copied"
OPEN_CASES = "demo-open-cases"
TRUTH = "ground_truth.json"
PROVINCE = "PV29"
"""Zeeland: the smallest in number of inhabitants, at true density."""
SEED = 7
LATE, REVISED = "cannabis_sites", "kadaster"
HISTORY = {"kadaster": 8, "nhr": 1, "police_suspects": 9, "rdw": 1}
"""Of these registers as many quarters up to the end of the year on which all is known."""
_HISTORY = {Cadence.YEARLY: 1, Cadence.QUARTERLY: 4, Cadence.MONTHLY: 1}
KEY = "ZICHT_KEY_ZICHT_OP_ONDERMIJNING"


def _fetch(settings: Settings, contracts: dict[str, Contract], clock: Clock, say: Say) -> None:
    before = os.environ.get("ZICHT_STATLINE_URL")
    with replay(settings.project / "samples" / "statline") as url:
        os.environ["ZICHT_STATLINE_URL"] = url
        try:
            for source, contract in contracts.items():
                if contract.statline is None:
                    continue
                result = fetch_source(settings, source, clock, lambda _: None)
                say(
                    f"  {source:14} {len(result.written):3} deliveries dropped into landing, "
                    f"{len(result.unchanged)} unchanged"
                )
        finally:
            if before is None:
                del os.environ["ZICHT_STATLINE_URL"]
            else:
                os.environ["ZICHT_STATLINE_URL"] = before


def _due(contract: Contract, now: datetime) -> list[Period]:
    """The periods of which a delivery is due by now, oldest first."""
    period, due = contract.first_period, []
    while contract.due(period) < now.date():
        due.append(period)
        period = period.next()
    return due


def known_year(contracts: Iterable[Contract], now: datetime) -> int:
    """The newest year of which every source has delivered: that of the source that lags most."""
    return min(_due(contract, now)[-1].end.year for contract in contracts)


def periods_for(contract: Contract, years: Iterable[int], now: datetime) -> list[Period]:
    """The newest period of a register, and those that the figures on some years rest on.

    Of the first of these years as much as looking back needs, of the others the last period.
    """
    due = _due(contract, now)
    wanted, history = {due[-1]}, HISTORY.get(contract.source, _HISTORY[contract.cadence])
    for year in years:
        until = [period for period in due if period.end.year <= year]
        wanted |= {*until[-history:]}
        history = 1
    return sorted(wanted)


def drop_synthetic(
    settings: Settings, contracts: Mapping[str, Contract], clock: Clock, say: Say
) -> None:
    """Drops the newest deliveries of every register into landing, once: one late, one revised.

    What was planted in them is in ``ground_truth.json``.
    """
    registers = {s: c for s, c in contracts.items() if c.needs_agreement}
    if any(any((settings.raw / source).glob("reference_period=2*")) for source in registers):
        say("  the synthetic deliveries of the registers were taken in before")
        return
    now = clock()
    years = (known_year(registers.values(), now), settings.geo_year)
    scope = scope_of(load_geography(settings.dbt_project / "seeds" / "geography"), SEED, [PROVINCE])
    wanted = [
        delivery
        for source, contract in registers.items()
        for delivery in plan_deliveries(
            contracts,
            [source],
            periods_for(contract, years, now),
            now,
            Options(
                late=(LATE,) if source == LATE else (),
                revised=(REVISED,) if source == REVISED else (),
            ),
        )
    ]
    # An interrupted demonstration goes on where it stopped.
    folders = {one.id: settings.landing / one.source / one.id for one in wanted}
    for folder in folders.values():
        if folder.exists() and not (folder / DESCRIPTOR).exists():
            shutil.rmtree(folder)
    wanted = [one for one in wanted if not folders[one.id].exists()]
    n_rows = n_made = 0
    for made in make(
        settings.landing, contracts, scope, wanted, lambda _: None, settings.home / TRUTH
    ):
        n_made, n_rows = n_made + 1, n_rows + sum(made.rows.values())
    say(
        f"  {len(registers)} registers   {n_made:3} deliveries, {n_rows:,} rows: made-up people of "
        f"a real province ({PROVINCE})"
    )
    say(f"  among them {LATE} later than agreed, and a correction of {REVISED}")


def drop_open_cases(settings: Settings, contract: Contract) -> list[str]:
    """Drops a copy of the newest delivery of a register with one case that is still open, once."""
    model = max((settings.landing / contract.source).glob(f"{contract.source}-2*"), default=None)
    (table,) = contract.tables
    if model is None or table.settled is None:
        return []
    descriptor = read_descriptor(model)
    content = (model / descriptor.resources[0].path).read_bytes()
    settled = table.settled.values[0].encode()
    write_delivery(
        settings.landing / contract.source,
        id=OPEN_CASES,
        source=contract.source,
        reference_period=descriptor.reference_period,
        observation_status=descriptor.observation_status,
        delivered_at=descriptor.delivered_at,
        tables={descriptor.resources[0].path: content.replace(settled, b"open", 1)},
    )
    return [OPEN_CASES]


def _accepted_folder(settings: Settings, source: str) -> Path | None:
    return next(iter(sorted((settings.landing / source).glob(f"{source}-2024-*"))), None)


def drop_faulty(settings: Settings, source: str) -> list[str]:
    """Drops three faulty variants of the newest delivery of a source into landing, once.

    Returns:
        Their names: one with a changed byte, one with a neighbourhood code, one half copied.
    """
    model = _accepted_folder(settings, source)
    there = {refusal.folder.name for refusal in read_quarantine(settings, source)}
    if model is None or there & {DAMAGED, NEIGHBOURHOOD}:
        return []
    descriptor = read_descriptor(model)
    resource = descriptor.resources[0]
    content = (model / resource.path).read_bytes()
    landing = settings.landing / source

    def deliver(name: str, payload: bytes) -> Path:
        return write_delivery(
            landing,
            id=name,
            source=source,
            reference_period=descriptor.reference_period,
            observation_status=ObservationStatus.PROVISIONAL,
            delivered_at=descriptor.delivered_at,
            tables={resource.path: payload},
            dialect=resource.dialect,
        )

    damaged = deliver(DAMAGED, content)
    position = content.rindex(b"5")
    (damaged / resource.path).write_bytes(content[:position] + b"6" + content[position + 1 :])
    deliver(NEIGHBOURHOOD, content.replace(b"GM0363", b"BU0363", 1))
    half = landing / HALF_COPIED
    shutil.copytree(damaged, half, dirs_exist_ok=True)
    (half / DESCRIPTOR).unlink()
    return [DAMAGED, NEIGHBOURHOOD, HALF_COPIED]


def run_demo(settings: Settings, clock: Clock, say: Say) -> None:
    """Runs the demonstration on ``settings.home`` and prints what came of it.

    Raises:
        ReleaseError: Z-REL-004 if there is no release at the end.
    """
    from zicht.orchestration.local import run_dag_here

    started = time.monotonic()
    contracts = load_contracts(settings.contracts)
    say("1. Deliveries: figures of Statistics Netherlands (26 codes), registers made up")
    _fetch(settings, contracts, clock, say)
    drop_synthetic(settings, contracts, clock, say)
    faulty = drop_faulty(settings, "cbs_crime")
    faulty += drop_open_cases(settings, contracts["police_suspects"])
    if faulty:
        say(f"  and faulty ones: {', '.join(faulty)}")
    # Keyed hashes need a key; that of a demonstration links nothing that anybody has to find again.
    os.environ.setdefault(KEY, secrets.token_urlsafe(48))
    say("2. Intake: gate 1 checks every delivery against its contract")
    for source in contracts:
        say(f"  DAG intake_{source}")
        run_dag_here(settings, f"intake_{source}", say=lambda line: say(f"  {line}"))
    say("3. Refresh: dbt builds, gates 2 to 4 check, the candidate is released")
    run_dag_here(settings, "refresh", say=lambda line: say(f"  {line}"))
    _report(settings, say, time.monotonic() - started)


def _report(settings: Settings, say: Say, seconds: float) -> None:
    current = current_release(settings)
    if current is None:
        raise ReleaseError(
            "there is no release.", code="Z-REL-004", remedy="Read the messages above."
        )
    folder = settings.releases / CURRENT
    refusals = read_quarantine(settings)
    say("")
    say(
        f"Released: {current['release_id']}, {current['n_observations']} figures from "
        f"{len(current['inputs'])} deliveries on the municipal division of {current['geo_year']}"
    )
    say(f"Refused: {len(refusals)}")
    for refusal in refusals:
        say(f"  {refusal.delivery}")
        for reason in refusal.reasons:
            row = reason["rows"][0] if reason["rows"] else None
            where = f" (row {row['_row']}: {str(row['value']).strip()})" if row else ""
            say(f"    {reason['code']} {reason['message']}{where}")
    runs = sorted(settings.runs.glob("*/report.html"), key=lambda path: path.stat().st_mtime)
    say("Files:")
    say(f"  {human_path(folder)}/            CSV, Parquet, release.json")
    say(f"  {human_path(folder / DATABASE)}   open it read-only with DuckDB")
    say(f"  {human_path(settings.quarantine)}/   refused deliveries, whole, with reasons")
    if runs:
        say(f"  {human_path(runs[-1])}   what the gates found")
    say(f"Took {seconds:.0f} s. Next: zicht status, make up, docs/tutorial.md")
