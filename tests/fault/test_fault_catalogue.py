"""The catalogue of faults: its reference page, and planting."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from support import PROJECT

sys.path.append(str(PROJECT / "bench"))

from soak import BASE, NOW, periods_before, small_delivery

from zicht.contracts import Contract, load_contracts
from zicht.deliveries.intake import MAY_NOT_BE_HERE
from zicht.errors import UsageError
from zicht.synthetic.faults import FAULTS, Outcome, plant, reference_table

PAGE = PROJECT / "docs" / "reference" / "faults.md"


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    """Those of the registers."""
    found = load_contracts(PROJECT / "expectations" / "contracts")
    return {source: contract for source, contract in found.items() if contract.needs_agreement}


@pytest.fixture(scope="module")
def models(contracts: dict[str, Contract], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good delivery of every register."""
    landing = tmp_path_factory.mktemp("models") / "landing"
    for contract in contracts.values():
        period = periods_before(contract, NOW)[-1]
        small_delivery(landing, contract, period, BASE, per_region=100)
    return landing


def content(folder: Path) -> dict[str, bytes | str]:
    return {
        path.name: f"link to {path.readlink()}" if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.iterdir())
    }


def test_the_page_shows_the_catalogue() -> None:
    assert reference_table() in PAGE.read_text(encoding="utf-8")


def test_there_are_many_kinds_and_each_has_its_words() -> None:
    assert len(FAULTS) >= 32
    for name, fault in FAULTS.items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        is_refused = fault.outcome in (Outcome.KEPT, Outcome.DESTROYED)
        assert is_refused == bool(fault.code) == bool(fault.message) == bool(fault.remedy)
        may_not = fault.code in MAY_NOT_BE_HERE | {"Z-DEL-013"}
        assert (fault.outcome is Outcome.DESTROYED) == may_not
    whats = [fault.what for fault in FAULTS.values()]
    assert len(set(whats)) == len(whats)


@pytest.mark.parametrize("name", FAULTS)
def test_planting_leaves_the_model_alone_and_gives_the_same_bytes_twice(
    contracts: dict[str, Contract], models: Path, tmp_path: Path, name: str
) -> None:
    source = next(s for s in ("cannabis_sites", *contracts) if FAULTS[name].fits(contracts[s]))
    contract, model = contracts[source], models / source / BASE
    before = content(model)
    made = plant(name, model, contract, tmp_path / "one" / "landing", "planted", seed=5)
    again = plant(name, model, contract, tmp_path / "two" / "landing", "planted", seed=5)
    assert made == tmp_path / "one" / "landing" / source / "planted"
    assert content(model) == before
    if name not in ("zip_bomb", "two_files_in_zip"):
        assert content(made) == content(again)
    assert content(made) != before
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert left == []


def test_every_register_can_have_most_faults(contracts: dict[str, Contract]) -> None:
    for contract in contracts.values():
        assert sum(fault.fits(contract) for fault in FAULTS.values()) >= 28, contract.source


def test_what_cannot_be_planted_is_said(
    contracts: dict[str, Contract], models: Path, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    rdw, model = contracts["rdw"], models / "rdw" / BASE
    with pytest.raises(UsageError, match="there is no fault 'flood'") as unknown:
        plant("flood", model, rdw, landing, "x")
    assert unknown.value.code == "Z-SYN-020"
    with pytest.raises(UsageError, match="rdw cannot have this fault") as misfit:
        plant("zip_bomb", model, rdw, landing, "x")
    assert misfit.value.code == "Z-SYN-021"
    period = periods_before(rdw, NOW)[0]
    small = small_delivery(landing, rdw, period, "few", per_region=9)
    with pytest.raises(UsageError, match="no municipality has 100 rows"):
        plant("municipality_doubled", small, rdw, landing, "x")
