"""The published schema: declared, complete, and changed only as its policy says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import PROJECT, settings_at
from zicht.errors import ConfigurationError
from zicht.releases.schema import (
    Deprecation,
    PublishedColumn,
    PublishedSchema,
    PublishedTable,
    compatible,
    load_history,
    load_schema,
    read_schema,
    version_number,
)

SCHEMA = load_schema(settings_at(PROJECT))


def changed(schema: PublishedSchema, version: str, **other: Any) -> PublishedSchema:
    return replace(schema, version=version, **other)


def table(
    *columns: tuple[str, str] | PublishedColumn, name: str = "t", key: tuple[str, ...] = ("a",)
) -> PublishedTable:
    text = {"nl": "n", "en": "e"}
    made = [
        one if isinstance(one, PublishedColumn) else PublishedColumn(*one, text) for one in columns
    ]
    return PublishedTable(name, text, key, tuple(made))


GOES = Deprecation(date(2026, 1, 1), date(2027, 1, 1), "b")
A, B = ("a", "VARCHAR"), ("b", "DOUBLE")
OLD = PublishedSchema("2.1.0", (table(A, B),))
LEAVING = PublishedColumn("b", "DOUBLE", {"nl": "n", "en": "e"}, GOES)
OLD_LEAVING = PublishedSchema("2.1.0", (table(A, LEAVING),))


def test_no_version_breaks_what_the_one_before_promised() -> None:
    """What a file of ``published_schema_history`` promised is kept, or its removal announced."""
    versions = [*load_history(settings_at(PROJECT)), SCHEMA]
    assert [one.version for one in versions[:1]] == ["2.0.0"]
    assert version_number(SCHEMA.version) >= version_number(versions[-2].version)
    for old, new in pairwise(versions):
        assert compatible(old, new) == []


def test_the_current_version_holds_what_other_work_relies_on() -> None:
    names = SCHEMA.column_names()
    keys = {one.name: one.key for one in SCHEMA.tables}
    assert keys["observations"] == ("indicator_id", "region_code", "breakdown", "reference_period")
    assert keys["revisions"] == (*keys["observations"], "sequence")
    assert names["observations"][-1] == "quality"
    assert {one.name for one in SCHEMA.tables if one.wide} == {"across_themes"}


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        changed(OLD, "2.1.1"),
        changed(OLD, "2.2.0", tables=(table(A, B, ("c", "DATE")), table(A, name="u"))),
        changed(OLD, "2.2.0", tables=(table(A, LEAVING),)),
        changed(OLD, "3.0.0", tables=(table(("a", "BIGINT"), B),)),
        changed(OLD, "3.0.0", tables=(table(B, A, key=("a", "b")),)),
    ],
    ids=lambda new: new.version,
)
def test_what_may_change(new: PublishedSchema) -> None:
    assert compatible(OLD, new) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (OLD, changed(OLD, "2.0.9"), "comes after"),
        (OLD, changed(OLD, "2.1.0", tables=(table(A, B, ("c", "DATE")),)), "within version"),
        (OLD, changed(OLD, "2.1.1", tables=(table(A, B, ("c", "DATE")),)), "new minor version"),
        (OLD, changed(OLD, "2.2.0", tables=(table(A, ("c", "DATE"), B),)), "another order"),
        (OLD, changed(OLD, "2.2.0", tables=(table(A, ("b", "DATE")),)), "another type"),
        (OLD, changed(OLD, "2.2.0", tables=(table(A, B, key=("b",)),)), "another key"),
        (OLD, changed(OLD, "3.0.0", tables=(table(A),)), "b went without having been deprecated"),
        (OLD, changed(OLD, "3.0.0", tables=()), "a went without having been deprecated"),
        (
            OLD_LEAVING,
            changed(OLD, "3.0.0", tables=(table(A),), since=date(2026, 12, 31)),
            "promised until 2027-01-01",
        ),
        (OLD_LEAVING, changed(OLD, "3.0.0", tables=(table(A),)), "promised until 2027-01-01"),
        (
            OLD_LEAVING,
            changed(OLD, "2.2.0", tables=(table(A),), since=date(2027, 1, 1)),
            "without a new major version",
        ),
        (
            PublishedSchema(
                "2.1.0", (table(A, replace(LEAVING, deprecated=replace(GOES, until=date.max))),)
            ),
            changed(OLD_LEAVING, "2.2.0"),
            "promised until 9999",
        ),
    ],
)
def test_what_may_not_change(old: PublishedSchema, new: PublishedSchema, fault: str) -> None:
    faults = compatible(old, new)
    assert any(fault in one for one in faults), faults


def test_a_column_goes_when_its_time_has_run_out() -> None:
    new = changed(OLD, "3.0.0", tables=(table(A),), since=date(2027, 1, 1))
    assert compatible(OLD_LEAVING, new) == []


@pytest.mark.parametrize("one", SCHEMA.tables, ids=lambda one: one.name)
def test_every_table_is_described_and_has_a_key(one: PublishedTable) -> None:
    names = [column.name for column in one.columns]
    assert one.key
    assert set(one.key) <= set(names)
    assert len(names) == len(set(names))
    for thing in (one, *one.columns):
        assert all(thing.description[language].strip() for language in ("nl", "en")), thing.name


def test_every_type_is_one_of_duckdb() -> None:
    with duckdb.connect() as connection:
        for one in SCHEMA.tables:
            for column in one.columns:
                connection.execute(f"select cast(null as {column.sql_type})")


COLUMNS = "{a: {type: VARCHAR, nl: n, en: e%s}}"
TABLE = "version: 1.0.0\ntables: {t: {nl: n, en: e, key: [a]%s, columns: " + COLUMNS + "}}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tables: 3",
        "version: 1\ntables: {}",
        "version: 1.0.0\ntables: {a: {nl: x}}",
        "a: [",
        TABLE % (", wide: regions", ""),
        "since: soon\n" + TABLE % ("", ""),
    ],
)
def test_what_is_no_schema_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "published_schema.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"published_schema\.yaml") as caught:
        load_schema(settings_at(tmp_path / "home", tmp_path))
    assert caught.value.code == "Z-CFG-050"


def test_a_deprecation_says_until_when_and_what_instead(tmp_path: Path) -> None:
    path = tmp_path / "published_schema.yaml"
    said = ", deprecated: {since: 2026-01-01, until: %s, instead: b}"
    path.write_text(TABLE % ("", said % "2027-01-01"))
    assert read_schema(path).tables[0].columns[0].deprecated == GOES
    for wrong in (said % "2026-12-31", said % "later", ", deprecated: {since: 2026-01-01}"):
        path.write_text(TABLE % ("", wrong))
        with pytest.raises(ConfigurationError, match=r"t\.a: deprecated") as caught:
            read_schema(path)
        assert caught.value.code == "Z-REL-024"
