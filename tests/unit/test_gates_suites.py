"""Suite files: what they may say, and what is said when they say something else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zicht.errors import ConfigurationError
from zicht.gates.model import ROWS, Severity, Suite
from zicht.gates.suites import load_suites, sql_identifier, sql_literal

RELATIONS = ("mart_b", "mart_a", "stg_c")
CHECK = """
        description: A rule.
        expect: expect_column_values_to_not_be_null
        with: {column: value}
        severity: fail
        remedy: Do something.
"""
WHOLE = f"""
gate: 3
suites:
  - name: one
    relations: "mart_*"
    checks:
      - name: a_check{CHECK}"""


def load(tmp_path: Path, text: str, parameters: Mapping[str, Any] | None = None) -> list[Suite]:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suites(path, relations=RELATIONS, parameters=parameters or {})


def refusal(
    tmp_path: Path, text: str, parameters: Mapping[str, Any] | None = None
) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, parameters)
    assert str(tmp_path / "suite.yaml") in caught.value.message
    assert caught.value.remedy
    return caught.value


def test_one_suite_for_each_match_by_name(tmp_path: Path) -> None:
    suites = load(tmp_path, WHOLE)
    assert [(s.gate, s.name, s.relation) for s in suites] == [
        (3, "one", "mart_a"),
        (3, "one", "mart_b"),
    ]
    (check,) = suites[0].checks
    assert check.expectation == "expect_column_values_to_not_be_null"
    assert check.kwargs == {"column": "value"}
    assert check.severity is Severity.FAIL
    assert check.sql is None


def test_several_globs_give_each_relation_once(tmp_path: Path) -> None:
    suites = load(tmp_path, WHOLE.replace('"mart_*"', '["mart_a", "*_a", "stg_*"]'))
    assert [s.relation for s in suites] == ["mart_a", "stg_c"]


def test_templates_know_the_relation_and_keep_types(tmp_path: Path) -> None:
    suites = load(
        tmp_path,
        """
gate: 2
suites:
  - name: limits
    relations: mart_a
    checks:
      - name: below_maximum
        description: "{{ relation }} stays below {{ parameters.plausible[relation].max }}."
        expect: expect_column_values_to_be_between
        with:
          column: value
          max_value: "{{ parameters.plausible[relation].max }}"
          row_condition: 'col("unit") == "{{ parameters.unit }}"'
          value_set: ["{{ parameters.code }}", "GM{{ parameters.code }}", 3, null]
        severity: warn
        remedy: Compare.
      - name: codes
        description: Codes have six characters.
        rows: |
          select * from {{ relation | identifier }}
          where not regexp_matches(region_code, '^GM[0-9]{4}$')
             or unit in {{ parameters.units | literal }}
             or {{ columns(relation) | join(" is null or ") }} is null
        severity: fail
        remedy: Ask.
""",
        {
            "plausible": {"mart_a": {"max": 12.5}},
            "unit": "eur",
            "units": ["it's", 4],
            "code": "0363",
            "columns": {"mart_a": ["x", "y"]},
        },
    )
    limit, codes = suites[0].checks
    assert limit.description == "mart_a stays below 12.5."
    assert limit.kwargs == {
        "column": "value",
        "max_value": 12.5,
        "row_condition": 'col("unit") == "eur"',
        "value_set": ["0363", "GM0363", 3, None],
    }
    assert codes.expectation == ROWS
    assert codes.sql == (
        'select * from "mart_a"\n'
        "where not regexp_matches(region_code, '^GM[0-9]{4}$')\n"
        "   or unit in ('it''s', 4)\n"
        "   or x is null or y is null"
    )


def test_for_each_makes_a_check_per_item(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "name: a_check", "name: '{{ item }}_there'\n        for_each: parameters.m"
    )
    text = text.replace("column: value", 'column: "{{ item }}"')
    suites = load(tmp_path, text, {"m": ["value", "vintage"]})
    assert [(c.name, c.kwargs["column"]) for c in suites[0].checks] == [
        ("value_there", "value"),
        ("vintage_there", "vintage"),
    ]
    assert load(tmp_path, text, {"m": []})[0].checks == ()


def test_nothing_that_matches_is_an_error_unless_optional(tmp_path: Path) -> None:
    text = WHOLE.replace("mart_*", "cube_*")
    error = refusal(tmp_path, text)
    assert error.code == "Z-CFG-024"
    assert "cube_*" in error.message
    assert load(tmp_path, text.replace("checks:", "optional: true\n    checks:")) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gate: 3", "gate: 5", "gate is 5"),
        ("gate: 3", "gate: true", "gate is True"),
        ("gate: 3", "gates: 3", "unknown 'gates'"),
        ("gate: 3", "gate: 3\ngate: 3", "the key 'gate' is there twice"),
        ("gate: 3", "gate: [", "is not YAML"),
        ("gate: 3", "gate: 3\nx: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("name: one", "name: [one]", "'name' is missing"),
        ('relations: "mart_*"', "relations: 3", "'relations' must be a glob"),
        ("checks:", "optional: perhaps\n    checks:", "'optional' must be"),
        ("name: a_check", "name: A-Check", "not in snake_case"),
        ("name: a_check", "name: a_check\n        for_each: relation", "must give a list"),
        ("name: a_check", "name: a_check\n        for_each: '[1, 2]'", "is called 'a_check'"),
        ("name: a_check", "name: a_check\n        when: now", "unknown 'when'"),
        ("severity: fail", "severity: critical", "must be fail or warn"),
        ("        severity: fail\n", "", "'severity' is missing"),
        ("        remedy: Do something.\n", "", "'remedy' is missing"),
        ("        description: A rule.\n", "", "'description' is missing"),
        ("expect: expect_column_values_to_not_be_null", "", "either 'expect' or 'rows'"),
        ("expect: expect_", "rows: select 1\n        expect: expect_", "either 'expect' or 'rows'"),
        ("expect: expect_column_values_to_not_be_null", "rows: select 1", "'with' belongs to"),
        ("{column: value}", "value", "'with' must be a mapping"),
        ("{column: value}", "{1: value}", "'with' must be a mapping"),
        ("A rule.", "'{{ parameter }}'", "'parameter' is undefined"),
        ("A rule.", "'{{ parameters.limit.max }}'", "has no attribute 'limit'"),
        ("column: value", "column: '{{ parameters.limit }}'", "has no attribute 'limit'"),
        ("column: value", "column: '{{ 1 / 0 }}'", "division by zero"),
        ("column: value", "column: '{{ columns(relation) }}'", "columns of 'mart_a'"),
        ("A rule.", "'{% if %}'", "fails"),
        ("A rule.", "\"{{ ''.__class__.__mro__ }}\"", "unsafe"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in WHOLE
    error = refusal(tmp_path, WHOLE.replace(old, new, 1))
    assert error.code == "Z-CFG-021"
    assert said in error.message


def test_the_suite_and_the_check_are_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, WHOLE.replace("severity: fail", "severity: no")).message
    assert "suite 'one'" in message
    assert "check 'a_check'" in message
    nameless = refusal(tmp_path, WHOLE.replace("name: a_check", "remark: none"))
    assert "check 'number 1'" in nameless.message


@pytest.mark.parametrize(
    "text", ["", "- 1", "gate: 3", "gate: 3\nsuites: []", "gate: 3\nsuites: x"]
)
def test_a_file_without_suites_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).code == "Z-CFG-021"


def test_two_suites_or_checks_of_one_name_are_refused(tmp_path: Path) -> None:
    body = WHOLE.split("suites:\n")[1]
    assert "another suite" in refusal(tmp_path, WHOLE + body).message
    twice = WHOLE + f"      - name: a_check{CHECK}"
    assert "another check" in refusal(tmp_path, twice).message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as caught:
        load_suites(tmp_path / "none.yaml", relations=RELATIONS, parameters={})
    assert caught.value.code == "Z-CFG-021"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        "it's {braces} -- and :colons",
        date(2024, 1, 31),
        datetime(2024, 1, 31, 9, 30),
    ],
)
def test_a_literal_is_read_back_as_it_was(value: object) -> None:
    (row,) = duckdb.sql(f"select {sql_literal(value)}").fetchall()
    assert row == (value,)


def test_literals_of_lists_and_names_are_quoted() -> None:
    assert sql_literal(["a'b", 1, None]) == "('a''b', 1, null)"
    assert sql_identifier('od"d name') == '"od""d name"'
    assert duckdb.sql(f"select {sql_literal(float('nan'))}::varchar").fetchall() == [("nan",)]
    for value in ([], object()):
        with pytest.raises(TypeError):
            sql_literal(value)
