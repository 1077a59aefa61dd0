"""Every fault of the catalogue, dropped in the registers together and taken in by the real DAGs."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest

from support import PROJECT, copy_project

sys.path += [str(PROJECT / "bench"), str(PROJECT / "tests" / "service")]

from service_support import probe
from soak import BASE, KEY, KEY_NAME, NOW, periods_before, small_delivery

from zicht.clock import format_moment
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.formats import delivered_table
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import DESCRIPTOR, read_descriptor
from zicht.deliveries.quarantine import PAGE, PAYLOAD, REPORT, Refusal, read_quarantine
from zicht.settings import Settings
from zicht.synthetic.faults import FAULTS, Outcome, answers, plant

COVERED = ("bag_woz", "brp", "kadaster", "nhr", "police_suspects", "rdw", "uwv_svb")
UNCOVERED = "duo"
HASHED = {
    "nhr": ("legal_entities", ("registration_number",)),
    "rdw": ("vehicles", ("licence_plate", "owner_registration_number")),
}
NEXT = "zzz-next"
"""A good delivery of the next period, that comes after the faulty ones."""
_IDENTIFIER = re.compile(r"\b[A-Z]?[0-9]{9}\b|\b[0-9]{4}\.[0-9]{2}\.[0-9]{3}\b|\bZ[0-9]{5}\b")


def chosen() -> dict[tuple[str, str], str]:
    """Per fault and file format one source that can have it, taking turns."""
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    found: dict[tuple[str, str], str] = {}
    for number, (name, fault) in enumerate(FAULTS.items()):
        if name == "no_agreement":
            found[name, "csv"] = UNCOVERED
            continue
        turn = number % len(COVERED)
        for source in (*COVERED[turn:], *COVERED[:turn]):
            if fault.fits(contracts[source]):
                found.setdefault((name, contracts[source].format.kind), source)
    return found


CHOSEN = chosen()
REFUSED = [(name, source) for (name, _), source in CHOSEN.items() if FAULTS[name].code]


def files_of(folder: Path) -> dict[str, bytes | str]:
    return {
        path.name: f"link to {path.readlink()}" if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.iterdir())
    }


@dataclass(frozen=True)
class Aftermath:
    """What is there after all came in together.

    Attributes:
        settings: the installation; its agreements leave one source out.
        contracts: by source.
        dropped: content of every faulty delivery, by source and name.
        ends: per DAG how it ended and what it said.
        gone: per delivery whose content is destroyed, values that may be nowhere.
        originals: deliveries as they were dropped, of the sources that are hashed.
    """

    settings: Settings
    contracts: Mapping[str, Contract]
    dropped: Mapping[tuple[str, str], Mapping[str, bytes | str]]
    ends: Mapping[str, Mapping[str, Any]]
    gone: Mapping[tuple[str, str], list[str]]
    originals: Path

    def refusal(self, name: str, source: str) -> Refusal:
        (found,) = (r for r in read_quarantine(self.settings, source) if r.folder.name == name)
        return found


def values_of(folder: Path, contract: Contract, table: str, column: str) -> list[str]:
    """The different values of a column in a delivery, as text."""
    paths = {resource.name: resource.path for resource in read_descriptor(folder).resources}
    with TemporaryDirectory() as scratch, duckdb.connect() as connection:
        path, layout = folder / paths[table], contract.format
        found = delivered_table(connection, path, contract.table(table), layout, Path(scratch))
        query = f'select distinct cast("{column}" as varchar) from ({found.query}) order by 1'
        return [value for (value,) in connection.execute(query).fetchall() if value]


def forbidden(folder: Path, name: str, contract: Contract) -> list[str]:
    """What a delivery holds that may not be anywhere afterwards."""
    spot = FAULTS[name].where(contract)
    assert spot is not None
    if name == "service_numbers_in_new_column":
        return values_of(folder, contract, spot.table.name, "remark")
    column = spot.column or spot.table.columns[0]
    settled = spot.table.settled.values if spot.table.settled else ()
    values = values_of(folder, contract, spot.table.name, column.name)
    return [value for value in values if value not in settled]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    base = tmp_path_factory.mktemp("registers")
    project = copy_project(base / "project")
    for path in (project / "expectations" / "agreements").glob("*.yaml"):
        path.write_text(path.read_text().replace(f"  - {UNCOVERED}\n", ""))
    settings = Settings(home=base / "home", project=project)
    contracts = load_contracts(settings.contracts)
    models = {}
    for source in (*COVERED, UNCOVERED):
        periods = periods_before(contracts[source])
        first = periods[len(periods) // 2]
        delivered = datetime.combine(first.end, NOW.timetz()) + timedelta(days=1)
        # Keys follow from the seed: those of the source that is destroyed are in no other one.
        models[source] = small_delivery(
            settings.landing,
            contracts[source],
            first,
            BASE,
            seed=int(source == UNCOVERED) * 77,
            delivered_at=delivered,
        )
        small_delivery(settings.landing, contracts[source], first.next(), NEXT, seed=78)
    dropped, gone = {}, {}
    for (name, _), source in CHOSEN.items():
        contract = contracts[source]
        folder = plant(name, models[source], contract, settings.landing, name, seed=3)
        dropped[source, name] = files_of(folder)
        if FAULTS[name].outcome is Outcome.DESTROYED:
            gone[source, name] = forbidden(folder, name, contract)
    originals = settings.home.with_name("originals")
    for source in HASHED:
        shutil.copytree(models[source], originals / source)
    dags = [f"intake_{source}" for source in (*COVERED, UNCOVERED)]
    variables = {KEY_NAME: KEY, "ZICHT_CLOCK": format_moment(NOW)}
    ends = dict(zip(dags, probe(settings, "run", *dags, **variables), strict=True))
    return Aftermath(settings, contracts, dropped, ends, gone, originals)


def test_every_dag_ends_well(aftermath: Aftermath) -> None:
    assert {name: end.get("state") for name, end in aftermath.ends.items()} == {
        f"intake_{source}": "success" for source in (*COVERED, UNCOVERED)
    }


def test_good_deliveries_of_all_sources_are_accepted(aftermath: Aftermath) -> None:
    accepted = [(record.source, record.id) for record in read_ledger(aftermath.settings)]
    assert sorted(accepted) == [(s, name) for s in COVERED for name in (BASE, NEXT)]


@pytest.mark.parametrize(("name", "source"), REFUSED)
def test_each_fault_is_refused_as_the_catalogue_says(
    aftermath: Aftermath, name: str, source: str
) -> None:
    fault, refusal = FAULTS[name], aftermath.refusal(name, source)
    assert any(answers(fault, reason) for reason in refusal.reasons), refusal.reasons
    assert {reason["code"] for reason in refusal.reasons} <= {fault.code} | fault.also
    if fault.outcome is Outcome.DESTROYED:
        assert refusal.is_destroyed
        assert {path.name for path in refusal.folder.iterdir()} == {
            DESCRIPTOR,
            "gate_1.json",
            PAGE,
            REPORT,
        }
    else:
        assert files_of(refusal.folder / PAYLOAD) == aftermath.dropped[source, name]


def test_every_kind_was_dropped_and_all_formats_were_tried() -> None:
    assert {name for name, _ in CHOSEN} == set(FAULTS)
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    formats = {
        (contracts[s].format.kind, contracts[s].format.encoding, contracts[s].format.is_zipped)
        for s in CHOSEN.values()
    }
    assert formats >= {
        ("csv", "utf-8", False),
        ("csv", "utf-8", True),
        ("csv", "windows-1252", False),
        ("fixed_width", "utf-8", False),
        ("fixed_width", "windows-1252", False),
        ("parquet", "utf-8", False),
    }


def test_what_is_no_refusal_is_noted_or_waits(aftermath: Aftermath) -> None:
    settings = aftermath.settings
    for (name, _), source in CHOSEN.items():
        note = settings.raw / source / "unchanged" / f"{name}.json"
        assert note.exists() == (FAULTS[name].outcome is Outcome.UNCHANGED)
    waiting = {(folder.parent.name, folder.name) for folder in settings.landing.glob("*/[!.]*")}
    assert waiting == {
        (source, name)
        for (name, _), source in CHOSEN.items()
        if FAULTS[name].outcome is Outcome.WAITS
    }


def test_what_may_not_be_here_is_nowhere(aftermath: Aftermath) -> None:
    """Not a byte below the home: reports, logs, Airflow's database, what was accepted."""
    home = aftermath.settings.home
    sought = {value for values in aftermath.gone.values() for value in values[:40]}
    assert "under_investigation" in sought
    assert len(sought) > 150
    seen = re.compile("|".join(re.escape(value) for value in sorted(sought)).encode())
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            hit = seen.search(path.read_bytes())
            assert hit is None, f"{hit} in {path.relative_to(home)}"
    for path in aftermath.settings.raw.rglob("*.parquet"):
        found = duckdb.sql(f"from read_parquet('{path}', hive_partitioning = false)").fetchall()
        assert not sought & {str(value) for row in found for value in row}


def test_no_report_or_log_shows_an_identifier(aftermath: Aftermath) -> None:
    home = aftermath.settings.home
    shown = [
        path
        for refusal in read_quarantine(aftermath.settings)
        for path in refusal.folder.iterdir()
        if path.is_file()
    ]
    shown += [path for path in (home / "airflow" / "logs").rglob("*") if path.is_file()]
    assert len(shown) > len(REFUSED)
    for path in shown:
        text = path.read_text(errors="replace")
        assert not _IDENTIFIER.findall(text), path.relative_to(home)
    said = "\n".join(line for end in aftermath.ends.values() for line in end["said"])
    assert not _IDENTIFIER.findall(said)


def test_direct_identifiers_are_hashed_alike_in_all_sources(aftermath: Aftermath) -> None:
    """What is in ``raw/`` is what Python's own HMAC makes of what was delivered."""
    hashes = {}
    for source, (table, columns) in HASHED.items():
        contract = aftermath.contracts[source]
        raw = next(aftermath.settings.raw.glob(f"{source}/*/delivery={BASE}/{table}.parquet"))
        for column in columns:
            original = aftermath.originals / source
            delivered = values_of(original, contract, table, column)
            query = f"select distinct {column} from '{raw}' where {column} is not null"
            kept = {value for (value,) in duckdb.sql(query).fetchall()}
            assert kept == {
                hmac.new(KEY.encode(), value.encode(), hashlib.sha256).hexdigest()[:32]
                for value in delivered
            }
            hashes[source, column] = kept
            for path in aftermath.settings.raw.glob(f"{source}/*/*/*.parquet"):
                found = duckdb.sql(f"from read_parquet('{path}')").fetchall()
                assert not set(delivered) & {str(value) for row in found for value in row}
    assert hashes["nhr", "registration_number"] == hashes["rdw", "owner_registration_number"]
    assert not hashes["rdw", "licence_plate"] & hashes["nhr", "registration_number"]


def test_the_key_is_nowhere(aftermath: Aftermath) -> None:
    for path in aftermath.settings.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert KEY.encode() not in path.read_bytes(), path
