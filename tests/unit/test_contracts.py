"""Contracts: what is read from ODCS, and that every omission is named with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import PROJECT
from zicht.contracts import Contract, contract_of, load_contract, load_contracts
from zicht.errors import ConfigurationError, UsageError
from zicht.periods import Cadence, Period

FOLDER = PROJECT / "expectations" / "contracts"


def test_the_contracts_of_the_project() -> None:
    contracts = load_contracts(FOLDER)
    assert list(contracts) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    crime = contracts["cbs_crime"]
    assert (crime.cadence, crime.first_period) == (Cadence.YEARLY, Period.parse("2013"))
    assert (crime.lag_days, crime.retention_days) == (90, 20 * 365)
    assert (crime.format.delimiter, crime.format.encoding, crime.kind) == (";", "utf-8", "public")
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
        if contract.kind == "public":
            assert not any(
                column.classification in ("identifier", "sensitive") for column in table.columns
            )


# --- the registers --------------------------------------------------------------------------------

REGISTERS = {name: one for name, one in load_contracts(FOLDER).items() if one.needs_agreement}
# source: cadence, days of lag, stock on 1 January, suffix of its files, encoding
AGREED = {
    "bag_woz": ("yearly", 90, True, "parquet", "utf-8"),
    "brp": ("yearly", 30, True, "zip", "utf-8"),
    "cannabis_sites": ("quarterly", 60, False, "zip", "utf-8"),
    "duo": ("yearly", 150, False, "csv", "utf-8"),
    "kadaster": ("quarterly", 45, False, "txt", "windows-1252"),
    "nhr": ("quarterly", 45, False, "csv", "utf-8"),
    "om_cases": ("quarterly", 90, False, "csv", "windows-1252"),
    "police_suspects": ("quarterly", 90, False, "csv", "windows-1252"),
    "rdw": ("quarterly", 30, False, "txt", "utf-8"),
    "tax_income": ("yearly", 730, False, "parquet", "utf-8"),
    "tax_wealth": ("yearly", 730, False, "zip", "utf-8"),
    "uwv_svb": ("monthly", 200, False, "csv", "utf-8"),
}


def test_the_registers_come_in_the_rhythm_and_form_that_was_agreed() -> None:
    found = {
        name: (c.cadence.value, c.lag_days, c.is_stock, c.format.suffix, c.format.encoding)
        for name, c in REGISTERS.items()
    }
    assert found == AGREED


@pytest.mark.parametrize("source", REGISTERS)
def test_a_register_says_why_it_is_late_and_what_may_not_be_done_with_it(source: str) -> None:
    contract = REGISTERS[source]
    assert len(contract.lag_reason) > 60
    assert "never for investigation" in contract.limitations
    assert "never below the municipality" in contract.limitations
    assert contract.retention_days == 5 * 365
    assert contract.first_period.start.year == 2015


@pytest.mark.parametrize("source", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_the_reason_for_the_lag_stands_beside_it(source: str) -> None:
    contract = load_contracts(FOLDER)[source]
    # The reason stands beside the lag for whoever edits the file, and in the value for all others.
    lines = contract.path.read_text(encoding="utf-8").splitlines()
    (latency,) = [number for number, line in enumerate(lines) if "property: latency" in line]
    start = latency
    while lines[start - 1].strip().startswith("#"):
        start -= 1
    comment = " ".join(line.strip().removeprefix("# ") for line in lines[start:latency])
    assert " ".join(comment.split()) == contract.lag_reason


@pytest.mark.parametrize("source", REGISTERS)
def test_every_key_of_a_register_is_a_pseudonym_or_is_replaced_by_one(source: str) -> None:
    for table in REGISTERS[source].tables:
        assert table.usual
        for column in table.columns:
            where = f"{source}.{table.name}.{column.name}"
            is_key = column.name.endswith("_key")
            assert (column.classification == "identifier") == (is_key or column.is_pseudonymised), (
                where
            )
            if is_key:
                assert column.pattern is not None, where
                assert column.pattern.endswith("[0-9]{9}"), where
            if column.name.endswith("municipality_code"):
                assert (column.required, column.region_levels) == (True, ("municipality",)), where
            if column.sql_type == "DATE":
                assert column.time in ("within_period", "not_after_period"), where


def test_only_settled_cases_may_be_delivered() -> None:
    settled = {
        f"{name}.{table.name}": (table.settled.column, table.settled.values)
        for name, contract in REGISTERS.items()
        for table in contract.tables
        if table.settled is not None
    }
    assert settled == {
        "cannabis_sites.sites": ("site_status", ("cleared",)),
        "om_cases.cases": ("case_status", ("disposed",)),
        "police_suspects.suspects": ("investigation_status", ("closed_and_sent",)),
    }


@pytest.mark.parametrize("source", [n for n in REGISTERS if REGISTERS[n].format.suffix == "txt"])
def test_the_columns_of_a_fixed_width_file_follow_one_another(source: str) -> None:
    for table in REGISTERS[source].tables:
        after = 1
        for column in table.columns:
            assert column.position is not None
            start, width = column.position
            assert start == after, f"{table.name}.{column.name}"
            assert all(len(value) <= width for value in column.values)
            after = start + width


def test_the_page_of_the_registers_says_what_the_contracts_say() -> None:
    page = (PROJECT / "docs" / "reference" / "registers.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    expected = [register_rows(contract) for contract in REGISTERS.values()]
    assert rows == [own for own, *_ in expected] + [row for _, *of in expected for row in of]
    for contract in REGISTERS.values():
        assert contract.lag_reason in " ".join(page.split())
        assert contract.limitations.partition(" Only for prevention")[0] in " ".join(page.split())


def register_rows(contract: Contract) -> list[list[str]]:
    """The rows of the page about one register: itself, then its tables."""
    layout = contract.format
    kind = {"csv": f"CSV `{layout.delimiter}`", "fixed_width": "fixed width", "parquet": "Parquet"}
    form = [kind[layout.kind]]
    if layout.kind != "parquet":
        form.append({"utf-8": "UTF-8", "windows-1252": "Windows-1252"}[layout.encoding])
    if layout.is_zipped:
        form.append("zipped")
    if layout.decimal_mark == ",":
        form.append("decimal comma")
    dates = {c.date_format for t in contract.tables for c in t.columns if c.date_format}
    written = {"%Y%m%d": "20240331", "%Y-%m-%d": "2024-03-31", "%d-%m-%Y": "31-03-2024"}
    form += [f"dates `{written[one]}`" for one in sorted(dates)]
    document = yaml.safe_load(contract.path.read_text(encoding="utf-8"))
    grains = {
        item["name"]: item["dataGranularityDescription"].removeprefix("One row per ").rstrip(".")
        for item in document["schema"]
    }
    cadence = contract.cadence.value + (", 1 January" if contract.is_stock else "")
    first = [f"`{contract.source}`", contract.title["en"], cadence, str(contract.lag_days)]
    return [
        [*first, ", ".join(form)],
        *(
            [
                f"`{contract.source}.{table.name}`",
                grains[table.name],
                ", ".join(f"`{key}`" for key in table.keys),
            ]
            for table in contract.tables
        ),
    ]


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


def server(document: dict[str, Any], name: str, value: Any) -> None:
    document["servers"][0]["customProperties"] = [{"property": name, "value": value}]


def table(document: dict[str, Any], name: str, value: Any) -> None:
    document["schema"][0]["customProperties"] = [{"property": name, "value": value}]


def column(document: dict[str, Any], name: str, value: Any) -> None:
    prop(document, customProperties=[{"property": name, "value": value}])


def refer(document: dict[str, Any], to: str) -> None:
    prop(document, relationships=[{"type": "foreignKey", "to": to}])


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
    "format": (lambda d: d["servers"][0].update(format="excel"), "one of the formats csv"),
    "compression": (lambda d: server(d, "compression", "rar"), "another compression than zip"),
    "decimal mark": (lambda d: server(d, "decimalMark", "'"), "another decimalMark"),
    "kind": (lambda d: custom(d, "kind", "secret"), "kind 'secret'"),
    "date format": (lambda d: prop(d, logicalTypeOptions={"format": "d/M/y"}), "format 'd/M/y'"),
    "time": (lambda d: column(d, "time", "later"), "time 'later'"),
    "position": (lambda d: column(d, "position", [0, 3]), "position [0, 3]"),
    "no position": (lambda d: d["servers"][0].update(format="fixed_width"), "has no position"),
    "reference": (lambda d: refer(d, "crime"), "leads nowhere"),
    "other table": (lambda d: refer(d, "people.key"), "people.key, which is not there"),
    "settled": (lambda d: table(d, "settled", {"column": "RegioS"}), "settled is incomplete"),
    "settled column": (
        lambda d: table(d, "settled", {"column": "state", "values": ["done"]}),
        "no column 'state'",
    ),
    "usual": (lambda d: table(d, "usualRows", {"least": 0.5}), "usual number of rows"),
    "usual column": (
        lambda d: table(d, "usualRegions", {"column": "x", "least": 0.5, "most": 2}),
        "no column 'x'",
    ),
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
