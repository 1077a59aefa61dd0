"""The published schema: what others rely on is declared, complete and of this form."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from support import PROJECT, settings_at
from zicht.errors import ConfigurationError
from zicht.releases.schema import PublishedTable, load_schema

RELIED_ON = {
    "observations": [
        "indicator_id",
        "theme",
        "region_code",
        "region_level",
        "geo_year",
        "breakdown",
        "reference_period",
        "value",
        "unit",
        "obs_status",
        "obs_flags",
        "conf_status",
        "known_at",
        "vintage",
        "lag_days",
        "release_id",
    ],
    "indicators": ["indicator_id"],
    "breakdowns": [
        "indicator_id",
        "dimension",
        "category",
        "dimension_position",
        "category_position",
        "dimension_label_nl",
        "dimension_label_en",
        "label_nl",
        "label_en",
    ],
    "regions": ["region_code"],
    "sources": ["source"],
    "awaited": ["indicator_id", "reference_period", "source", "awaited_period", "expected_on"],
    "revisions": [
        "indicator_id",
        "theme",
        "region_code",
        "breakdown",
        "reference_period",
        "sequence",
        "value",
        "obs_status",
        "known_at",
        "vintage",
        "release_id",
        "cause",
    ],
    "releases": ["release_id"],
}
SCHEMA = load_schema(settings_at(PROJECT))


def test_what_other_work_relies_on_is_there() -> None:
    names = SCHEMA.column_names()
    assert list(names) == list(RELIED_ON)
    for table in ("observations", "breakdowns", "revisions"):
        assert names[table] == RELIED_ON[table]
    keys = {table.name: table.key for table in SCHEMA.tables}
    assert keys["observations"] == ("indicator_id", "region_code", "breakdown", "reference_period")
    assert keys["revisions"] == (*keys["observations"], "sequence")
    assert SCHEMA.version == "2.0.0"
    for table, needed in RELIED_ON.items():
        assert set(needed) <= set(names[table])


@pytest.mark.parametrize("table", SCHEMA.tables, ids=lambda table: table.name)
def test_every_table_is_described_and_has_a_key(table: PublishedTable) -> None:
    names = [column.name for column in table.columns]
    assert table.key
    assert set(table.key) <= set(names)
    assert len(names) == len(set(names))
    for thing in (table, *table.columns):
        assert all(thing.description[language].strip() for language in ("nl", "en")), thing.name


def test_every_type_is_one_of_duckdb() -> None:
    with duckdb.connect() as connection:
        for table in SCHEMA.tables:
            for column in table.columns:
                connection.execute(f"select cast(null as {column.sql_type})")


@pytest.mark.parametrize("text", ["", "tables: 3", "version: 1\ntables: {a: {nl: x}}", "a: ["])
def test_what_is_no_schema_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "published_schema.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"published_schema\.yaml") as caught:
        load_schema(settings_at(tmp_path / "home", tmp_path))
    assert caught.value.code == "Z-CFG-050"
