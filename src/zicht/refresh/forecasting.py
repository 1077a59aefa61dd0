"""The hop ``forecast``, and making its tables again for gate 4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from zicht.checkpoints import checkpoint
from zicht.clock import Clock, parse_moment
from zicht.errors import ReleaseError
from zicht.files import hidden_beside, move_folder, remove_tree, write_json
from zicht.refresh.run import Say, ending, read_candidate, read_state, run_folder
from zicht.releases.forecasts import (
    PAST,
    copy_with_forecasts,
    count_forecasts,
    differences,
    make_forecasts,
    make_past,
    published_only,
)
from zicht.releases.schema import load_schema
from zicht.releases.store import describe_files, require_files
from zicht.releases.writing import DATABASE, count_rows
from zicht.settings import Settings
from zicht.sql import literal

REMADE = "forecasts.parquet"
"""In the folder of a run: where its forecasts are not what the published tables lead to."""
_COLUMNS = ["table_name", "indicator_id", "region_code", "reference_period", "what"]


def _previous(settings: Settings, candidate: Mapping[str, Any]) -> Path | None:
    """The release that the candidate was made beside, which never changes."""
    name = candidate.get("previous")
    return settings.releases / name if name else None


def _mend(folder: Path, partial: Path, candidate: Mapping[str, Any]) -> None:
    """Puts in its place what an earlier attempt left that was whole, and is the candidate."""
    if partial.exists() and describe_files(partial) == candidate["files"]:
        remove_tree(folder)
        move_folder(partial, folder)


def forecast(settings: Settings, run_id: str, clock: Clock, say: Say) -> None:
    """Adds forecasts to the candidate, made from its own published tables and nothing else.

    The candidate is replaced by a copy with the tables filled, whole or not at all.

    Raises:
        ReleaseError: Z-REL-002 if the candidate is not there, Z-REL-003 if a file of it changed
            since it was built.
    """
    candidate = read_candidate(settings, run_id)
    if candidate is None:
        return
    state = read_state(settings, run_id)
    release_id = candidate["release_id"]
    folder = settings.candidates / release_id
    partial = hidden_beside(folder, ".forecast-")
    _mend(folder, partial, candidate)
    if not folder.exists():
        if (settings.releases / release_id).exists():
            return
        raise ReleaseError(
            f"candidate {release_id} is not there.",
            code="Z-REL-002",
            remedy="Run the refresh again: it makes the candidate anew.",
        )
    require_files(folder, candidate["files"])
    schema, previous = load_schema(settings), _previous(settings, candidate)
    moment = parse_moment(state["planned_at"])
    ended = ending(settings, run_id, "forecast", clock)
    with ended, published_only(folder / DATABASE) as published:
        cache = settings.home / "forecasts" / "made"
        make_forecasts(published, schema, moment, previous, cache=cache, say=say)
        make_past(published, schema, previous)
        checkpoint("refresh-forecast-made")
        copy_with_forecasts(folder, partial, published, schema)
        n_made, n_past = count_forecasts(published), count_rows(published, PAST)
    # From here on the copy is the candidate: who comes after a crash puts it in its place.
    files = describe_files(partial)
    write_json(run_folder(settings, run_id) / "candidate.json", {**candidate, "files": files})
    checkpoint("refresh-forecast-copied")
    remove_tree(folder)
    move_folder(partial, folder)
    checkpoint("refresh-forecast")
    say(f"  {n_made} forecasts, {n_past} of earlier releases kept to be scored")


def make_again(
    settings: Settings, run_id: str, database: Path, candidate: Mapping[str, Any], say: Say
) -> pd.DataFrame:
    """Makes the forecasts of a candidate again from what is published, and compares.

    What the hop left in its cache is not used: this has a cache of its own, so that only what
    follows from other figures than before is computed. Writes ``forecasts.parquet`` (a row per
    difference) to the folder of the run.

    Args:
        database: the DuckDB file of the candidate.
        candidate: what the run said of it.

    Returns:
        Table, indicator, region, period or horizon, and the columns that differ.
    """
    schema, previous = load_schema(settings), _previous(settings, candidate)
    moment = parse_moment(read_state(settings, run_id)["planned_at"])
    with published_only(database) as published:
        cache = settings.home / "forecasts" / "checked"
        make_forecasts(published, schema, moment, previous, cache=cache, say=lambda _: None)
        make_past(published, schema, previous)
        found = pd.DataFrame(
            differences(published, database, schema), columns=_COLUMNS, dtype="str"
        )
        n_made = count_forecasts(published)
    with duckdb.connect() as connection:
        connection.register("found", found)
        target = literal(str(run_folder(settings, run_id) / REMADE))
        connection.execute(f"copy (select * from found) to {target} (format parquet)")
    say(f"  made {n_made} forecasts again from what is published: {len(found)} differences")
    return found
