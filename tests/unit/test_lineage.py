"""There is one way from confidential data to a release, and it goes through the wall.

Three walks: over dbt's manifest (what is public in the warehouse rests on seeds alone), over the
code (who can open what), and over the published tables (each has a maker that is looked at here).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support import PROJECT, settings_at, share_manifest, silent
from zicht.contracts import load_contracts
from zicht.releases.schema import load_schema
from zicht.settings import Settings
from zicht.transform import read_manifest

SOURCE = PROJECT / "src" / "zicht"
CONFIDENTIAL = {"warehouse", "raw", "landing", "quarantine", "dbt_target", "scratch", "runs"}
"""Settings that lead to what is not published."""

THE_WALL = "zicht.refresh.protecting"
BUILDERS = {
    *("zicht.releases.candidate", "zicht.releases.writing", "zicht.releases.forecasts"),
    *("zicht.releases.store", "zicht.releases.register", "zicht.refresh.forecasting"),
}
"""What writes below ``candidates/``, ``releases/`` and ``register/``."""

# Who may open the warehouse, and why nothing gets out of it there.
READERS = {
    "zicht.transform": "dbt works in it",
    "zicht.refresh.building": "as-of exports stay in as_of/, which is never published",
    "zicht.refresh.planning": "reads which vintages are built",
    "zicht.refresh.checking": "gates 2 and 3; their reports are confidential",
    "zicht.refresh.attacking": "reads the public geography",
    THE_WALL: "the wall",
    "zicht.upkeep": "destroys rows in it",
    "zicht.backfill": "deletes vintages in it",
}

MADE_FROM = {
    "observations": "protected.parquet, which only the wall writes",
    "indicators": "definitions in the YAML of the marts",
    "breakdowns": "definitions in the YAML of the marts",
    "regions": "dim_regions, which rests on seeds alone",
    "sources": "delivery records and contracts: counts of deliveries, never of what is in them",
    "awaited": "the plan: which delivery is due when",
    "revisions": "observations of this release and the last one",
    "releases": "the documents of earlier releases",
    "themes": "the YAML and the pages of the themes",
    "breaks": "expectations/breaks.yaml",
    "errata": "expectations/errata.yaml",
    "coverage": "counts that the wall rounded, against a public frame",
    "trends": "observations, revisions and regions of this release",
    "across_themes": "observations of this release",
    "correlations": "across_themes of this release",
    "signals": "signals.parquet, which only the wall writes",
    "feature_profiles": "feature_profiles.parquet, which only the wall writes",
    "forecasts": "a copy of the tables of this release, in which there is nothing else",
    "forecast_scores": "the same copy, and past_forecasts",
    "past_forecasts": "forecasts of earlier releases, and observations of this one",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def modules() -> dict[str, ast.Module]:
    return {module_name(path): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def attributes(tree: ast.AST) -> set[str]:
    """Names after ``settings.`` (or ``self.settings.``) anywhere in a piece of code."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "settings")
            or (isinstance(node.value, ast.Attribute) and node.value.attr == "settings")
        )
    }


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = settings_at(tmp_path_factory.mktemp("lineage"))
    share_manifest(settings)
    return dict(read_manifest(settings, silent))


def closure(manifest: dict[str, Any], unique_id: str) -> Iterator[str]:
    seen, todo = set(), [unique_id]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one
        node = manifest["nodes"].get(one) or {}
        todo += (node.get("depends_on") or {}).get("nodes", [])


def test_every_published_table_has_a_maker_that_is_known_here() -> None:
    schema = load_schema(Settings(home=PROJECT, project=PROJECT))
    assert {table.name for table in schema.tables} == set(MADE_FROM)


def test_what_passes_beside_the_wall_rests_on_seeds_alone(manifest: dict[str, Any]) -> None:
    kinds = {one.split(".")[0] for one in closure(manifest, "model.zicht.dim_regions")}
    assert kinds == {"model", "seed"}


def test_a_mart_on_a_confidential_source_is_never_of_the_public_kind(
    manifest: dict[str, Any],
) -> None:
    contracts = load_contracts(PROJECT / "expectations" / "contracts")
    confidential = {name for name, one in contracts.items() if one.kind != "public"}
    n_confidential = 0
    for unique_id, node in manifest["nodes"].items():
        if not node["name"].startswith("mart_"):
            continue
        rests_on = {
            one.split(".")[2] for one in closure(manifest, unique_id) if one.startswith("source.")
        }
        if rests_on & confidential:
            n_confidential += 1
            # What counts deliveries has no kind to choose: it passes as counts.
            meta = node["config"]["meta"]
            kind = "counts" if "coverage" in meta else meta["indicator"]["kind"]
            assert kind != "public", node["name"]
    assert n_confidential, "the test has nothing to look at"


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_what_builds_a_release_cannot_reach_confidential_data(name: str) -> None:
    assert not attributes(modules()[name]) & CONFIDENTIAL


def test_what_forecasts_is_handed_its_tables_and_finds_nothing_by_itself() -> None:
    """It knows no settings, so no place of an installation; who calls it gives it a copy."""
    found = {
        imported
        for name, tree in modules().items()
        if name.startswith("zicht.forecasting")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (imported := node.module or "").startswith("zicht.")
    }
    own = {name for name in found if name.startswith("zicht.forecasting")}
    assert own, "the test has nothing to look at"
    known = {"zicht.catalogue", "zicht.periods", "zicht.sql", "zicht.releases.trends"}
    assert found - own <= known


def test_only_known_code_opens_the_warehouse() -> None:
    found = {name for name, tree in modules().items() if "warehouse" in attributes(tree)}
    assert found <= set(READERS), found - set(READERS)


def test_only_the_wall_writes_protected_cells() -> None:
    """The one function that fills a candidate takes its cells from one file, made in one place."""
    makers = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value == "protected.parquet":
                makers.add(name)
    assert makers == {"zicht.refresh.publishing"}
    publishing = modules()["zicht.refresh.publishing"]
    assert "warehouse" not in attributes(publishing)
    calls = {
        node.func.id
        for node in ast.walk(publishing)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {"protect_marts", "build_candidate"} <= calls


def test_in_the_wall_every_insert_comes_from_protection() -> None:
    """``protected`` is filled in one function: shares, protected rows, and missing ones.

    Public figures get there by the wall itself.
    """
    wall = modules()[THE_WALL]
    inserts = [
        node.value
        for node in ast.walk(wall)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "insert into protected" in node.value
    ]
    assert len(inserts) == 1
    calls = {
        function.name: sum(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "insert"
            for node in ast.walk(function)
        )
        for function in ast.walk(wall)
        if isinstance(function, ast.FunctionDef)
    }
    assert {name: n for name, n in calls.items() if n} == {"_pass_mart": 3}
    imported = {
        alias.name
        for node in ast.walk(wall)
        if isinstance(node, ast.ImportFrom) and node.module == "zicht.disclosure.wall"
        for alias in node.names
    }
    assert {"protect", "pass_public", "require_public"} <= imported
