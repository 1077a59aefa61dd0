"""The table ``coverage``: coverage marts through the wall, and shares made of what came out.

What was delivered leaves the wall rounded to hundreds; the frame is public. A share is made of
these two and is therefore a function of what is published.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import duckdb
import pandas as pd

from zicht.catalogue import Catalogue, Mart
from zicht.coverage import COLUMNS, low_coverage, with_shares
from zicht.disclosure.policies import Kind, Method, Policy
from zicht.disclosure.protecting import HeldBackError
from zicht.disclosure.wall import Output, protect
from zicht.errors import ConfigurationError, DisclosureError
from zicht.periods import Period
from zicht.refresh.run import Say
from zicht.refresh.tables import (
    REGION,
    UNPUBLISHED,
    MartTable,
    Regions,
    mart_tables,
)
from zicht.sql import literal, quoted

__all__ = ["FRAMES", "UNSHOWN", "coverage_rows", "expected_query", "low_coverage", "write_coverage"]

UNSHOWN = "none"
"""In place of a policy: gate 3 looks at the mart, and nothing of it is published."""

FRAMES = "mart_coverage__frame_"
"""How the names of the marts begin that hold public counts to compare with."""

_FRAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPES = {
    "n_expected": "bigint",
    "n_delivered": "bigint",
    "coverage_pct": "double",
    "before_pct": "double",
    "limit_pct": "double",
    "is_below_limit": "boolean",
    "known_at": "timestamptz",
}


def _policy_of(mart: Mart, policies: Mapping[str, Policy]) -> Policy:
    """The policy of a coverage mart, which has to round.

    Exact counts of a register would be a second table of units that an indicator counts as well.
    """
    name = str(mart.indicator["policy"])
    if name not in policies:
        raise ConfigurationError(
            f"{mart.name}: meta.coverage has an unknown policy {name!r}.",
            code="Z-CFG-056",
            remedy=f"Choose {UNSHOWN} or one of: {', '.join(sorted(policies))}.",
        )
    policy = policies[name]
    if policy.method is not Method.ROUND or not policy.rounding_base:
        raise DisclosureError(
            f"{mart.name}: policy {name} does not round, and coverage is published rounded only.",
            code="Z-DIS-070",
            remedy="Choose a policy with the method round and a rounding_base.",
        )
    return policy


def expected_query(
    connection: duckdb.DuckDBPyConnection, catalogue: Catalogue, frame: str, schema: str = "main"
) -> str:
    """What a frame expects, as a query: ``region_code``, ``reference_year``, ``n_expected``.

    The frame ``population`` is the inhabitants on 1 January; any other one, ``x``, is the column
    ``n_x`` of a mart ``mart_coverage__frame_…``. It is empty while no source of it was delivered.

    Args:
        connection: sees the warehouse.
        frame: ``meta.coverage.frame`` of a mart.
        schema: of the warehouse in that connection.

    Raises:
        ConfigurationError: Z-CFG-058 for a frame that is no plain word.
    """
    if not _FRAME.fullmatch(frame):
        raise ConfigurationError(
            f"meta.coverage.frame is {frame!r}, which names no frame.",
            code="Z-CFG-058",
            remedy="Write none, population, or x for the column n_x of a frame mart.",
        )
    if frame == "population":
        return (
            "select region_code, reference_year, population_1jan as n_expected "
            f"from {schema}.dim_population"
        )
    for name in sorted(catalogue.coverage):
        if name.startswith(FRAMES) and _has_column(connection, name, f"n_{frame}"):
            return (
                "select region_code, cast(left(reference_period, 4) as integer) as reference_year, "
                f"n_{frame} as n_expected from {schema}.{quoted(name)}"
            )
    return (
        "select null::varchar as region_code, null::integer as reference_year, "
        "null::double as n_expected where false"
    )


def _has_column(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_columns() where table_name = ? and column_name = ?", [table, column]
    )
    return found.fetchone() is not None


def _expected(table: MartTable, frame: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """What the frame has per region; of a larger region nothing if it lacks a part."""
    year = Period.parse(table.reference_period).year
    cells = table.cells.assign(
        n_expected=[frame.get((code, year), float("nan")) for code in table.cells[REGION]]
    )
    found = dict(zip(cells[REGION], cells["n_expected"], strict=True))
    for level in (*table.levels, "country"):
        sums = cells.groupby(f"{level}_code")["n_expected"].agg(lambda own: own.sum(skipna=False))
        found |= {str(code): float(value) for code, value in sums.items()}
    return found


def _counts(table: MartTable, frame: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    """Delivered and expected units of one period, as they may be shown."""
    output = Output(table.name, Kind.COUNTS, table.policy, table.cells, table.axes)
    cells = protect(output).cells
    shown = cells[~cells[REGION].str.endswith(UNPUBLISHED)]
    codes = [*shown[REGION], *table.missing]
    expected = _expected(table, frame)
    return pd.DataFrame(
        {
            "reference_period": table.reference_period,
            REGION: codes,
            "n_delivered": [*shown["value"].astype(float), *[float("nan")] * len(table.missing)],
            "n_expected": [expected.get(code, float("nan")) for code in codes],
            "known_at": table.common["known_at"],
            "vintage": table.common["vintage"],
        }
    )


def coverage_rows(
    connection: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    policies: Mapping[str, Policy],
    regions: Regions,
    say: Say,
    schema: str = "main",
) -> pd.DataFrame:
    """Protects every coverage mart, and makes shares of what came out.

    A table that cannot be protected is left out; it stops no other one.

    Args:
        connection: sees the warehouse.
        schema: of the warehouse in that connection: ``main``, or ``w.main`` where it is attached.

    Returns:
        one row per source, unit, period and region (municipalities, provinces and the country that
        were delivered whole), in that order, with :data:`zicht.coverage.COLUMNS`. Shares in
        percent with one decimal.

    Raises:
        ConfigurationError: Z-CFG-056 if a mart names a policy that is not there, Z-CFG-058 if
            its frame cannot be one.
        DisclosureError: Z-DIS-070 if its policy does not round.
    """
    rows = connection.execute("select table_name from duckdb_tables()").fetchall()
    built: Collection[str] = {str(name) for (name,) in rows}
    found = []
    for _, mart in sorted(catalogue.coverage.items()):
        if mart.indicator["policy"] == UNSHOWN or mart.name not in built:
            continue
        policy = _policy_of(mart, policies)
        query = expected_query(connection, catalogue, str(mart.indicator["frame"]), schema)
        frame = {
            (str(code), int(year)): float("nan") if n is None else float(n)
            for code, year, n in connection.execute(query).fetchall()
        }
        relation = f"{schema}.{quoted(mart.name)}"
        counts = []
        for table in mart_tables(connection, relation, mart, policy, regions):
            try:
                counts.append(_counts(table, frame))
            except HeldBackError as error:
                say(f"  held back {table.name}, it is left out: {error}")
        if not counts:
            continue
        shares = with_shares(pd.concat(counts, ignore_index=True), mart.indicator["limit_pct"])
        meta = mart.indicator
        found.append(
            shares.assign(source=meta["source"], unit=meta["unit"]["code"], frame=meta["frame"])
        )
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    whole = pd.concat(found, ignore_index=True)[list(COLUMNS)]
    for name in ("n_expected", "n_delivered"):
        whole[name] = whole[name].round().astype("Int64")
    say(f"  coverage: {len(whole)} rows, {int(whole['is_below_limit'].sum())} below their limit")
    order = ["source", "unit", "reference_period", REGION]
    return whole.sort_values(order, ignore_index=True)


def write_coverage(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame, target: Path) -> None:
    """Writes the table as Parquet, typed also when it is empty, in the order of the rows."""
    columns = ", ".join(
        f"cast({quoted(name)} as {_TYPES.get(name, 'varchar')}) as {quoted(name)}"
        for name in COLUMNS
    )
    order = "source, unit, reference_period, region_code"
    connection.register("coverage_rows", rows)
    try:
        connection.execute(
            f"copy (select {columns} from coverage_rows order by {order}) "
            f"to {literal(str(target))} (format parquet, compression zstd)"
        )
    finally:
        connection.unregister("coverage_rows")
