"""The catalogue, read from the manifest that dbt made of this project."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from zicht.catalogue import Alignment, Catalogue, read_catalogue
from zicht.errors import ConfigurationError
from zicht.files import read_json
from zicht.settings import Settings

CUBE = "model.zicht.cube_open_data__crime"
MART = "model.zicht.mart_ondermijning__registered_crime_per_1000"
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifest(first_release: Settings) -> Manifest:
    return dict(read_json(first_release.dbt_target / "manifest.json"))


def test_the_project_has_its_cubes_and_marts(manifest: Manifest) -> None:
    catalogue = read_catalogue(manifest)
    assert all(name.startswith("cube_") for name in catalogue.cubes)
    assert all(name.startswith("mart_") for name in catalogue.marts)
    assert all(mart.cubes for mart in catalogue.marts.values())
    crime = catalogue.cubes["cube_open_data__crime"]
    assert [item.source for item in crime.inputs] == ["cbs_crime"]
    assert crime.definition
    assert crime.geography
    assert "dim_regions" in catalogue.dimensions
    assert "stg_cbs_crime__crime" in catalogue.staging


def test_a_mart_rests_on_what_its_definition_says(manifest: Manifest) -> None:
    catalogue = read_catalogue(manifest)
    for mart in catalogue.marts.values():
        assert set(mart.sources) == set(mart.indicator["sources"]), mart.name
        assert {i.source for name in mart.cubes for i in catalogue.cubes[name].inputs} <= set(
            mart.sources
        )


def changed(manifest: Manifest, edit: Callable[[Manifest], None]) -> Catalogue:
    other = copy.deepcopy(manifest)
    edit(other)
    return read_catalogue(other)


def models_that_differ(before: Catalogue, after: Catalogue, field: str) -> set[str]:
    pairs = [(before.cubes, after.cubes), (before.marts, after.marts)]
    return {
        name
        for old, new in pairs
        for name in old
        if getattr(old[name], field) != getattr(new[name], field)
    }


def test_other_sql_is_another_definition_of_all_that_rests_on_it(manifest: Manifest) -> None:
    def edit(other: Manifest) -> None:
        other["nodes"]["model.zicht.stg_cbs_crime__crime"]["raw_code"] += " -- x"

    before, after = read_catalogue(manifest), changed(manifest, edit)
    differ = models_that_differ(before, after, "definition")
    assert "cube_open_data__crime" in differ
    assert "cube_open_data__suspects" not in differ
    on_crime = {mart.name for mart in before.marts.values() if "cbs_crime" in mart.sources}
    assert on_crime <= differ
    assert models_that_differ(before, after, "geography") == set()


def test_another_macro_is_another_definition(manifest: Manifest) -> None:
    def edit(other: Manifest) -> None:
        other["macros"]["macro.zicht.recast_public_cube"]["macro_sql"] += " "

    before, after = read_catalogue(manifest), changed(manifest, edit)
    assert set(before.cubes) <= models_that_differ(before, after, "definition")


def test_other_geography_seeds_are_another_geography(manifest: Manifest) -> None:
    def edit(other: Manifest) -> None:
        other["nodes"]["seed.zicht.municipality_transitions"]["checksum"]["checksum"] = "x"

    before, after = read_catalogue(manifest), changed(manifest, edit)
    assert set(before.cubes) <= models_that_differ(before, after, "geography")
    assert models_that_differ(before, after, "definition") == set()


def _meta(node: str, key: str) -> Callable[[Manifest], Any]:
    return lambda other: other["nodes"][node]["config"]["meta"].pop(key)


def _indicator(key: str) -> Callable[[Manifest], Any]:
    return lambda other: other["nodes"][MART]["config"]["meta"]["indicator"].pop(key)


def _same_id(other: Manifest) -> None:
    for name, node in other["nodes"].items():
        if name.startswith("model.zicht.mart_"):
            node["config"]["meta"]["indicator"]["id"] = "the_same"


def _alignment(other: Manifest) -> None:
    other["nodes"][CUBE]["config"]["meta"]["inputs"][0]["alignment"] = "roughly"


def _align(value: object) -> Callable[[Manifest], None]:
    def edit(other: Manifest) -> None:
        other["nodes"][MART]["config"]["meta"]["indicator"]["alignment"] = value

    return edit


def test_a_mart_says_how_its_cubes_align(manifest: Manifest) -> None:
    edit = _align({"cube_open_data__crime": "stock_1_january"})
    mart = changed(manifest, edit).marts[MART.split(".")[-1]]
    assert mart.alignment == {"cube_open_data__crime": Alignment.STOCK_1_JANUARY}
    assert read_catalogue(manifest).marts[mart.name].alignment == {}


@pytest.mark.parametrize(
    ("edit", "code", "says"),
    [
        (_align({"cube_open_data__measures": "same_period"}), "Z-CFG-033", "open_data__measures"),
        (_align({"cube_open_data__crime": "roughly"}), "Z-CFG-033", "roughly"),
        (_align(["cube_open_data__crime"]), "Z-CFG-033", "alignment"),
        (_meta(CUBE, "inputs"), "Z-CFG-030", "cube_open_data__crime"),
        (_alignment, "Z-CFG-030", "roughly"),
        (_meta(MART, "indicator"), "Z-CFG-031", "no meta.indicator"),
        (_indicator("unit"), "Z-CFG-031", "unit is missing"),
        (_indicator("sources"), "Z-CFG-031", "sources is missing"),
        (_same_id, "Z-CFG-032", "both define the_same"),
    ],
)
def test_what_is_incomplete_is_named(
    manifest: Manifest, edit: Callable[[Manifest], Any], code: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        changed(manifest, edit)
    assert caught.value.code == code
    assert caught.value.remedy
