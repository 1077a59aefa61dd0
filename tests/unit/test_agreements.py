"""Agreements: how they are read, what they cover, and that they fit the contracts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import PROJECT
from zicht.agreements import (
    Agreement,
    agreement_for,
    check_agreements,
    covered_until,
    covers,
    is_pseudonymising,
    load_agreements,
)
from zicht.contracts import load_contracts
from zicht.errors import ConfigurationError

EXAMPLES = PROJECT / "expectations" / "agreements"
MODEL = yaml.safe_load((EXAMPLES / "zicht_op_armoede.yaml").read_text())


def write(folder: Path, name: str, **changed: Any) -> None:
    folder.mkdir(exist_ok=True)
    document = {**MODEL, "id": name, **changed}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))


def refusal(call: Callable[..., Any], *arguments: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments)
    return caught.value


def test_the_projects_agreements_cover_every_source_that_needs_one() -> None:
    agreements = load_agreements(EXAMPLES)
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    check_agreements(agreements, contracts)
    needing = [source for source, contract in contracts.items() if contract.needs_agreement]
    assert len(needing) == 12
    for source in needing:
        assert agreement_for(agreements, source, date(2026, 1, 1)) is not None, source
    for agreement in agreements.values():
        assert "EXAMPLE" in agreement.path.read_text(), "made-up parties have to be known as such"


def test_the_last_day_counts_and_the_theme_decides(tmp_path: Path) -> None:
    write(tmp_path, "b", sources=["brp"], themes=["armoede"], valid_until=date(2024, 6, 30))
    write(tmp_path, "a", sources=["brp", "duo"], themes=["wonen"], valid_from=date(2024, 6, 30))
    agreements = load_agreements(tmp_path)
    last, after, before = date(2024, 6, 30), date(2024, 7, 1), date(2022, 12, 31)
    assert covers(agreements, "brp", "armoede", last)
    assert not covers(agreements, "brp", "armoede", after)
    assert not covers(agreements, "brp", "armoede", before)
    assert not covers(agreements, "duo", "armoede", last)
    found = [agreement_for(agreements, "brp", day) for day in (last, after, before)]
    assert [one.id if one else None for one in found] == ["a", "a", None]


def test_cover_goes_on_where_the_next_agreement_begins_the_day_after(tmp_path: Path) -> None:
    write(tmp_path, "a", valid_until=date(2024, 6, 30))
    write(tmp_path, "b", valid_from=date(2024, 7, 1), valid_until=date(2025, 6, 30))
    write(tmp_path, "c", valid_from=date(2025, 7, 2), valid_until=date(2026, 6, 30))
    agreements = load_agreements(tmp_path)
    assert covered_until(agreements, "brp", date(2024, 1, 1)) == date(2025, 6, 30)
    assert covered_until(agreements, "brp", date(2025, 7, 1)) is None
    assert covered_until(agreements, "brp", date(2025, 7, 2)) == date(2026, 6, 30)


def test_no_folder_is_no_agreement(tmp_path: Path) -> None:
    assert load_agreements(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"id": "other"}, "id 'other'"),
        ({"retention": 5}, "missing or unknown: retention"),
        ({"title": {"nl": "Convenant"}}, "title"),
        ({"parties": []}, "parties"),
        ({"sources": ["brp", "brp"]}, "sources names something twice"),
        ({"themes": "armoede"}, "themes"),
        ({"purpose": " "}, "purpose"),
        ({"valid_from": "2023"}, "valid_from"),
        ({"valid_until": date(2022, 12, 31)}, "valid_until lies before"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": True}, "retention_days"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_fault(
    tmp_path: Path, changed: dict[str, Any], fault: str
) -> None:
    write(tmp_path, "a", **changed)
    error = refusal(load_agreements, tmp_path)
    assert error.code == "Z-CFG-054"
    assert "a.yaml" in error.message
    assert fault in error.message
    assert error.remedy


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("id: [")
    assert "not YAML" in refusal(load_agreements, tmp_path).message


def test_a_source_without_a_contract_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", sources=["brp", "bpr"])
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    error = refusal(check_agreements, load_agreements(tmp_path), contracts)
    assert (error.code, "bpr" in error.message) == ("Z-CFG-053", True)


def test_a_source_that_is_hashed_is_in_one_agreement_only(tmp_path: Path) -> None:
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    assert {s for s, c in contracts.items() if is_pseudonymising(c)} == {"nhr", "rdw"}
    write(tmp_path, "a", sources=["brp", "rdw"])
    write(tmp_path, "b", sources=["brp"])
    agreements = load_agreements(tmp_path)
    check_agreements(agreements, contracts)
    double = {**agreements, "b": replace(agreements["b"], sources=("brp", "rdw"))}
    error = refusal(check_agreements, double, contracts)
    assert (error.code, "a, b" in error.message) == ("Z-CFG-052", True)


def test_the_reference_page_has_every_field_and_an_example_that_is_read(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "reference" / "agreements.md").read_text()
    documented = re.findall(r"^\| `([a-z_]+)` \|", page.partition("## What it decides")[0], re.M)
    assert documented == [f.name for f in fields(Agreement) if f.name != "path"]
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "zicht_op_voorbeeld.yaml").write_text(example)
    (read,) = load_agreements(tmp_path).values()
    assert read.sources == ("brp", "tax_income")
