"""Contracts: what is read from ODCS, and that every omission is named with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import PROJECT
from zicht.contracts import contract_of, load_contract, load_contracts
from zicht.errors import ConfigurationError, UsageError
from zicht.periods import Cadence, Period

FOLDER = PROJECT / "expectations" / "contracts"


def test_the_contracts_of_the_project() -> None:
    contracts = load_contracts(FOLDER)
    assert list(contracts) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    crime = contracts["cbs_crime"]
    assert (crime.cadence, crime.first_period) == (Cadence.YEARLY, Period.parse("2013"))
    assert (crime.lag_days, crime.retention_days) == (90, 20 * 365)
    assert (crime.delimiter, crime.encoding, crime.kind) == (";", "utf-8", "public")
    assert crime.statline is not None
    assert crime.statline.filters == {"SoortMisdrijf": ("0", "T001161")}
    table = crime.table("crime")
    assert table.keys == ("SoortMisdrijf", "RegioS", "Perioden")
    count = table.columns[3]
    assert (count.sql_type, count.minimum, count.multiple_of) == ("BIGINT", 0, 5)
    assert "municipality" in table.columns[1].region_levels


@pytest.mark.parametrize("source", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_contract_says_what_it_may_be_used_for(source: str) -> None:
    contract = load_contracts(FOLDER)[source]
    assert contract.purpose
    assert contract.limitations
    assert contract.owner
    assert contract.version
    assert set(contract.title) >= {"nl", "en"}
    for table in contract.tables:
        assert all(column.description for column in table.columns)
        assert not any(
            column.classification in ("identifier", "sensitive") for column in table.columns
        )


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], None], stem: str = "cbs_crime") -> Path:
    document = yaml.safe_load((FOLDER / "cbs_crime.yaml").read_text())
    edit(document)
    path = tmp_path / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def custom(document: dict[str, Any], name: str, value: Any) -> None:
    for entry in document["customProperties"]:
        if entry["property"] == name:
            entry["value"] = value


def prop(document: dict[str, Any], **fields: Any) -> None:
    document["schema"][0]["properties"][0].update(fields)


def quality(document: dict[str, Any], **fields: Any) -> None:
    rule = {
        "name": "x",
        "type": "custom",
        "engine": "greatExpectations",
        "severity": "error",
        "implementation": {"rows": "select 1"},
    }
    document["schema"][0]["quality"] = [{**rule, **fields}]


def no_keys(document: dict[str, Any]) -> None:
    for entry in document["schema"][0]["properties"]:
        entry.pop("primaryKey", None)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "other name": (lambda d: d.update(id="other"), "file's own name"),
    "no lag": (lambda d: d["slaProperties"].pop(1), "slaProperties has no 'latency'"),
    "lag in hours": (lambda d: d["slaProperties"][1].update(unit="h"), "'latency' has unit 'h'"),
    "every week": (lambda d: d["slaProperties"][0].update(unit="w"), "frequency"),
    "no first period": (lambda d: custom(d, "firstPeriod", None), "firstPeriod"),
    "other cadence": (lambda d: custom(d, "firstPeriod", "2013-Q1"), "differ in length"),
    "no Dutch title": (lambda d: custom(d, "title", {"en": "Crime"}), "title in nl and en"),
    "no limitations": (lambda d: d["description"].pop("limitations"), "limitations"),
    "no servers": (lambda d: d.pop("servers"), "servers has no entry"),
    "parquet": (lambda d: d["servers"][0].update(format="parquet"), "format csv"),
    "encoding": (lambda d: d["servers"][0].update(encoding="ebcdic"), "encoding 'ebcdic'"),
    "delimiter": (lambda d: d["servers"][0].update(delimiter="||"), "delimiter '||'"),
    "type": (lambda d: prop(d, logicalType="object"), "logicalType 'object'"),
    "classification": (lambda d: prop(d, classification="secret"), "classification 'secret'"),
    "no key": (no_keys, "no primary key"),
    "no columns": (lambda d: d["schema"][0].pop("properties"), "lacks a name or properties"),
    "statline": (lambda d: custom(d, "statline", {"table": "x"}), "statline is incomplete"),
    "rule engine": (lambda d: quality(d, engine="soda"), "not of the supported form"),
    "rule severity": (lambda d: quality(d, severity="blocker"), "name or severity"),
    "rule text": (lambda d: quality(d, implementation="select 1"), "not of the supported form"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, what: str) -> None:
    edit, says = WRONG[what]
    path = edited(tmp_path, edit)
    with pytest.raises(ConfigurationError) as caught:
        load_contract(path)
    assert caught.value.code == "Z-CFG-010"
    assert caught.value.message.startswith(f"{path}: ")
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["a: [", "- a list", "", "id: 5", "id: x\nschema: 3"])
def test_what_is_no_contract_is_named_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"x\.yaml: ") as caught:
        load_contract(path)
    assert caught.value.code == "Z-CFG-010"


def test_bytes_that_are_no_utf_8_are_named_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"id: \xe9")
    with pytest.raises(ConfigurationError, match=r"x\.yaml: "):
        load_contract(path)


def test_a_rule_of_the_contract_itself_is_read(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        lambda d: quality(
            d,
            description="what holds",
            severity="warning",
            customProperties=[{"property": "remedy", "value": "look"}],
        ),
    )
    (rule,) = load_contract(path).tables[0].rules
    assert (rule.name, rule.description, rule.severity, rule.remedy) == (
        "x",
        "what holds",
        "warning",
        "look",
    )


def test_an_unknown_source_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'cbs_crimes'") as caught:
        contract_of(FOLDER, "cbs_crimes")
    assert caught.value.code == "Z-USE-002"
    assert "cbs_crime, cbs_measures" in caught.value.remedy
    assert contract_of(FOLDER, "cbs_crime").source == "cbs_crime"
