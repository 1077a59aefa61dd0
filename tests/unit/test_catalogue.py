"""The catalogue, read from the manifest that dbt made of this project."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import settings_at, share_manifest
from zicht.catalogue import Alignment, Catalogue, read_catalogue
from zicht.errors import ConfigurationError
from zicht.files import read_json, write_json

CUBE = "model.zicht.cube_open_data__crime"
MART = "model.zicht.mart_drugs__registered_crime_per_1000"
BROKEN_DOWN = "model.zicht.mart_rechtspersonen__legal_entities_by_directors"
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    settings = settings_at(tmp_path_factory.mktemp("manifest"))
    share_manifest(settings)
    return dict(read_json(settings.dbt_target / "manifest.json"))


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
    for mart in catalogue.indicators.values():
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


@pytest.mark.parametrize(
    ("macro", "prefix"),
    [
        ("recast_public_cube", "cube_open_data__"),
        ("microdata_cube", "cube_rechtspersonen__"),
        ("counted_deliveries_query", "cube_armoede__"),
        ("duckdb__stop_query", "cube_rechtspersonen__"),
    ],
)
def test_another_macro_is_another_definition(manifest: Manifest, macro: str, prefix: str) -> None:
    def edit(other: Manifest) -> None:
        other["macros"][f"macro.zicht.{macro}"]["macro_sql"] += " "

    before, after = read_catalogue(manifest), changed(manifest, edit)
    cubes = {name for name in before.cubes if name.startswith(prefix)}
    assert cubes
    assert cubes <= models_that_differ(before, after, "definition")


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
        if name.startswith("model.zicht.mart_") and "indicator" in node["config"]["meta"]:
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


def test_a_mart_says_what_it_is_broken_down_by(manifest: Manifest) -> None:
    """In the declared order, which is that of the published key."""
    marts = read_catalogue(manifest).marts
    assert marts[MART.split(".")[-1]].breakdown == {}
    breakdown = marts[BROKEN_DOWN.split(".")[-1]].breakdown
    assert {dimension: list(one) for dimension, one in breakdown.items()} == {
        "legal_form": ["stichting", "vereniging", "bv", "nv"],
        "n_directors": ["none", "one", "two", "three_or_more"],
    }
    assert breakdown["n_directors"]["three_or_more"] == {
        "nl": "Drie of meer",
        "en": "Three or more",
    }


def test_categories_keep_their_order_when_the_manifest_is_written_and_read(
    manifest: Manifest, tmp_path: Path
) -> None:
    write_json(tmp_path / "m.json", manifest)
    again = read_catalogue(read_json(tmp_path / "m.json")).marts[BROKEN_DOWN.split(".")[-1]]
    assert list(again.breakdown["n_directors"]) == ["none", "one", "two", "three_or_more"]


def _broken_down(change: Callable[[Manifest], Any]) -> Callable[[Manifest], Any]:
    return lambda other: change(other["nodes"][BROKEN_DOWN]["config"]["meta"]["indicator"])


def _categories(change: Callable[[Manifest], Any]) -> Callable[[Manifest], Any]:
    return _broken_down(lambda meta: change(meta["breakdown"]["legal_form"]["categories"]))


TEXT = {"nl": "x", "en": "x"}
DIMENSION = {"label": TEXT, "categories": {"a": TEXT, "b": TEXT}}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda meta: meta.update(breakdown=["legal_form"]), "no mapping of dimensions"),
        (lambda meta: meta.update(breakdown={}), "no mapping of dimensions"),
        (lambda meta: meta.update(kind="public", decimals=1), "a public indicator"),
        (
            lambda meta: meta["breakdown"].update({"Legal form": DIMENSION}),
            "'Legal form' is no name",
        ),
        (lambda meta: meta["breakdown"].update({"a=b;c": DIMENSION}), "'a=b;c' is no name"),
        (lambda meta: meta["breakdown"].update(total=DIMENSION), "cannot be called total"),
        (lambda meta: meta["breakdown"].update(region_code=DIMENSION), "called region_code"),
        (lambda meta: meta["breakdown"].update(sex={"label": TEXT}), "sex needs label and categ"),
        (lambda meta: meta["breakdown"].update(sex=None), "sex needs label and categories"),
        (lambda meta: meta["breakdown"]["legal_form"]["label"].pop("nl"), "label of legal_form"),
    ],
)
def test_a_malformed_breakdown_is_named(
    manifest: Manifest, edit: Callable[[Manifest], Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        changed(manifest, _broken_down(edit))
    assert caught.value.code == "Z-CFG-035"
    assert "mart_rechtspersonen__legal_entities_by_directors" in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda categories: categories.update({False: TEXT}), "False is no name of a category"),
        (lambda categories: categories.update({"b;v": TEXT}), "'b;v' is no name of a category"),
        (lambda categories: categories.update(total=TEXT), "'total' is no name of a category"),
        (lambda categories: categories["bv"].update(en=" "), "legal_form=bv needs a text"),
        (lambda categories: categories.update(bv="bv"), "legal_form=bv needs a text"),
        (
            lambda categories: [categories.pop(key) for key in ("bv", "nv", "stichting")],
            "two categ",
        ),
    ],
)
def test_a_malformed_category_is_named(
    manifest: Manifest, edit: Callable[[Manifest], Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        changed(manifest, _categories(edit))
    assert caught.value.code == "Z-CFG-035"


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
        (_broken_down(lambda meta: meta.update(decimals=1)), "Z-CFG-031", "counts are whole"),
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


def test_a_rate_names_cells_that_are_there(manifest: Manifest) -> None:
    """Of its parts, and of the published count that its denominator is."""
    for key, value in (
        ("of", {"indicator": "legal_entities_by_directors", "numerator": {}, "denominator": {}}),
        ("shown_with", {"indicator": "legal_entities_by_directors", "cell": {}}),
    ):
        for change in ({"indicator": "nothing"}, {_cell(key): {"legal_form": "gilde"}}):

            def edit(other: Manifest, key: str = key, own: object = {**value, **change}) -> None:
                model = "model.zicht.mart_rechtspersonen__foundations_home_owner_pct"
                other["nodes"][model]["config"]["meta"]["indicator"][key] = own

            with pytest.raises(ConfigurationError, match="foundations_home_owner_pct") as caught:
                changed(manifest, edit)
            assert caught.value.code == "Z-CFG-039"


def _cell(key: str) -> str:
    return "numerator" if key == "of" else "cell"


def test_a_percentage_divides_by_what_it_is_counted_among(manifest: Manifest) -> None:
    """And only a percentage does: its complement is a count of units too, and is protected."""

    def cube(text: str) -> str:
        return text.split("(", 1)[1].split(")", 1)[0]

    rates = [
        mart
        for mart in read_catalogue(manifest).indicators.values()
        if mart.indicator["kind"] == "rates" and mart.of is None
    ]
    for mart in rates:
        numerator, denominator = (mart.indicator[key] for key in ("numerator", "denominator"))
        assert mart.is_share == (cube(numerator) == cube(denominator)), mart.name
    assert {mart.is_share for mart in rates} == {True, False}
