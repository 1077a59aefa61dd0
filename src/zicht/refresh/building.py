"""The hops ``stage`` and ``build``: one dbt invocation each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from zicht.catalogue import read_catalogue, source_of
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
    catalogue = read_catalogue(read_manifest(settings, say))
    folder = settings.home / "as_of" / state["as_of"].replace(":", "")
    partial = folder.with_name(f".{folder.name}.partial")
    remove_tree(partial)
    partial.mkdir(parents=True)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        for mart in sorted(catalogue.marts):
            connection.execute(
                f"copy (select * from {mart} order by all) to "
                f"{literal(str(partial / f'{mart}.parquet'))} (format parquet, compression zstd)"
            )
    remove_tree(folder)
    move_folder(partial, folder)
    say(f"  marts as known at {state['as_of']}: {folder}")


def build(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Computes the missing cube vintages and the marts; does nothing when no figure is new.

    Raises:
        TransformError: if dbt fails; the release stays as it was.
    """
    state = read_state(settings, run_id)
    if not state["builds"]:
        return
    with holding_warehouse(settings, run_id), ending(settings, run_id, "build", clock):
        select = ["path:models/cubes", "path:models/marts"]
        dbt_build(settings, select, state["variables"], say, all_tests=True)
        if state["as_of"]:
            _export_as_of(settings, state, say)
    checkpoint("refresh-built")
