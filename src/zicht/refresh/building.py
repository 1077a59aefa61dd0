"""The hops ``stage`` and ``build``: one dbt invocation each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import duckdb

from zicht.catalogue import Catalogue, Mart, read_catalogue, source_of
from zicht.checkpoints import checkpoint
from zicht.clock import Clock
from zicht.files import move_folder, remove_tree
from zicht.refresh.run import Say, computed_sources, ending, holding_warehouse, read_state
from zicht.settings import Settings
from zicht.sql import literal
from zicht.transform import build as dbt_build
from zicht.transform import read_manifest


def _tests_of_empty_views(settings: Settings, state: Mapping[str, Any], say: Say) -> list[str]:
    """dbt selectors of the tests of sources of which nothing is planned: their views are empty."""
    looked_at = {delivery["source"] for delivery in state["variables"]["plan"]["staging"]}
    planned = computed_sources(state) | looked_at
    catalogue = read_catalogue(read_manifest(settings, say))
    empty = {source_of(view) for view in catalogue.staging} - planned
    return [f"path:models/staging/{source},resource_type:test" for source in sorted(empty)]


def stage(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Builds seeds, dimensions and staging views.

    Raises:
        TransformError: if dbt fails; the release stays as it was.
    """
    state = read_state(settings, run_id)
    with holding_warehouse(settings, run_id), ending(settings, run_id, "stage", clock):
        select = ["resource_type:seed", "path:models/staging", "path:models/dimensions"]
        exclude = _tests_of_empty_views(settings, state, say)
        dbt_build(settings, select, state["variables"], say, all_tests=False, exclude=exclude)
    checkpoint("refresh-staged")


def _export_as_of(settings: Settings, state: Mapping[str, Any], say: Say) -> None:
    """Writes the confidential marts as they were known at a past moment, as Parquet."""
    folder = settings.home / "as_of" / state["as_of"].replace(":", "")
    partial = folder.with_name(f".{folder.name}.partial")
    remove_tree(partial)
    partial.mkdir(parents=True)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        for mart in sorted(state["variables"]["plan"]["marts"]):
            connection.execute(
                f"copy (select * from {mart} order by all) to "
                f"{literal(str(partial / f'{mart}.parquet'))} (format parquet, compression zstd)"
            )
    remove_tree(folder)
    move_folder(partial, folder)
    say(f"  marts as known at {state['as_of']}: {folder}")


def _digest(mart: Mart, plan: Mapping[str, Any], geo_year: int) -> str:
    """What the table of a mart follows from: the pairs that it shows, and its definition."""
    pairs = plan["marts"].get(mart.name, [])
    content = [pairs, mart.definition, mart.geography, geo_year]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_build(settings: Settings, catalogue: Catalogue, state: Mapping[str, Any]) -> dict[str, str]:
    """The cubes with pairs to compute, and the marts that are not as the plan wants them.

    A mart's digest is the comment on its table, so that it goes when the table goes.

    Returns:
        Model to digest; of a cube the digest is empty.
    """
    plan, geo_year = state["variables"]["plan"], state["geo_year"]
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            "select table_name, coalesce(comment, '') from duckdb_tables() "
            "where schema_name = 'main'"
        ).fetchall()
    built = {str(name): str(comment) for name, comment in rows}
    wanted = {}
    for name, mart in catalogue.marts.items():
        digest = _digest(mart, plan, geo_year)
        if built.get(name) != digest and (name in built or plan["marts"].get(name)):
            wanted[name] = digest
    needed = {cube for name in wanted for cube in catalogue.marts[name].cubes}
    cubes = {cube for cube in catalogue.cubes if plan["cubes"].get(cube)} | (needed - set(built))
    return {**dict.fromkeys(sorted(cubes), ""), **wanted}


def _note_built(settings: Settings, digests: Mapping[str, str]) -> None:
    with duckdb.connect(str(settings.warehouse)) as connection:
        for name, digest in digests.items():
            if digest:
                connection.execute(f"comment on table {name} is {literal(digest)}")


def build(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Computes the missing cube vintages, and the marts that show something else than before.

    A mart of which nothing is planned is not made; one that was made is emptied.

    Raises:
        TransformError: if dbt fails; the release stays as it was.
    """
    state = read_state(settings, run_id)
    if not state["builds"]:
        return
    with holding_warehouse(settings, run_id), ending(settings, run_id, "build", clock):
        catalogue = read_catalogue(read_manifest(settings, say))
        wanted = _to_build(settings, catalogue, state)
        if wanted:
            dbt_build(settings, [*wanted], state["variables"], say, all_tests=True)
            _note_built(settings, wanted)
        if state["as_of"]:
            _export_as_of(settings, state, say)
    checkpoint("refresh-built")
