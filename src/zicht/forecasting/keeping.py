"""Results per indicator, kept by the hash of what they follow from; safe to delete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pandas as pd

from zicht.sql import literal

Result = tuple[pd.DataFrame, pd.DataFrame]
_NAMES = ("forecasts", "scores")


def _path(folder: Path, key: str, name: str) -> Path:
    return folder / f"{key}.{name}.parquet"


def kept(folder: Path, key: str) -> Result | None:
    """What was kept under a key; None when it is not there, or cannot be read."""
    paths = [_path(folder, key, name) for name in _NAMES]
    if not all(path.exists() for path in paths):
        return None
    try:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            read = [connection.execute(f"from read_parquet({literal(str(p))})").df() for p in paths]
    except duckdb.Error:
        return None
    return read[0], read[1]


def keep(folder: Path, key: str, result: Result) -> Result:
    """Keeps a result, and gives it as it will be read again."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for name, frame in zip(_NAMES, result, strict=True):
            connection.register("result", frame.astype(object).where(frame.notna(), None))
            partial = folder / f".{key}.{name}.partial"
            columns = ", ".join(
                f"cast({c} as {_TYPES.get(c, 'varchar')}) as {c}" for c in map(str, frame)
            )
            connection.execute(
                f"copy (select {columns} from result) to {literal(str(partial))} (format parquet)"
            )
            os.replace(partial, _path(folder, key, name))
    again = kept(folder, key)
    assert again is not None
    return again


def forget_others(folder: Path, keys: Iterable[str]) -> None:
    """Removes what is kept under other keys than these."""
    wanted = {_path(folder, key, name) for key in keys for name in _NAMES}
    for path in folder.glob("*.parquet"):
        if path not in wanted:
            path.unlink(missing_ok=True)


_TYPES = {
    **dict.fromkeys(("horizon", "n_cases", "n_origins", "n_real_time"), "integer"),
    **dict.fromkeys(("point", "lower_50", "upper_50", "lower_90", "upper_90"), "double"),
    **dict.fromkeys(("mase", "relative_wis", "coverage_50", "coverage_90"), "double"),
    **dict.fromkeys(("is_chosen", "is_baseline", "is_reconciled"), "boolean"),
    "made_at": "timestamptz",
}
"""Types of columns that are no text, so that a column without values has one as well."""
