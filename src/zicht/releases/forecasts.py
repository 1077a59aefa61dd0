"""The tables ``forecasts``, ``forecast_scores`` and ``past_forecasts`` of a release.

They are functions of published tables: of those of the release itself, and for what earlier
releases forecast of the files of the last one. No other data is at hand where they are made, so
nobody can learn more from them than from the figures themselves (Cover and Thomas, Elements of
Information Theory, 2006, theorem 2.8.1).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from zicht.clock import format_moment
from zicht.files import remove_tree, sync_file
from zicht.periods import Period
from zicht.releases.schema import PublishedSchema, PublishedTable
from zicht.releases.writing import DATABASE, create_table, export_table, fill_frame, fill_table
from zicht.sql import literal

Say = Callable[[str], None]

FORECASTS, SCORES, PAST = "forecasts", "forecast_scores", "past_forecasts"
TABLES = (FORECASTS, SCORES, PAST)
"""What is made here, in order."""
READ = (
    *("observations", "revisions", "indicators", "regions", "breaks", "coverage", "sources"),
    "releases",
)
"""Of which tables of the release."""
AS_MADE = "as_made"
"""In ``forecast_scores``: the forecasts that earlier releases really gave."""


@contextmanager
def published_only(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A scratch database with a copy of what forecasts are made from, and nothing else.

    Args:
        database: the DuckDB file of a candidate or release.
    """
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(str(database))} as released (read_only)")
        for table in READ:
            connection.execute(f"create table {table} as from released.{table}")
        connection.execute("detach released")
        yield connection


def _tables(schema: PublishedSchema) -> Mapping[str, PublishedTable]:
    return {table.name: table for table in schema.tables}


def _before(previous: Path | None, table: PublishedTable) -> str:
    """The rows that a table had in the last release, as a query; none when it had no such table."""
    columns = ", ".join(f"cast(null as {c.sql_type}) as {c.name}" for c in table.columns)
    empty = f"select {columns} where false"
    path = previous / f"{table.name}.parquet" if previous else None
    if path is None or not path.exists():
        return empty
    return f"{empty} union all by name from read_parquet({literal(str(path))})"


def make_forecasts(
    published: duckdb.DuckDBPyConnection,
    schema: PublishedSchema,
    moment: datetime,
    previous: Path | None,
    *,
    cache: Path,
    say: Say,
) -> None:
    """Makes ``forecasts`` and ``forecast_scores`` in a scratch database.

    A forecast that the last release gave in the same words keeps the moment at which it was made;
    any other one was made now, whether or not a cache had it.

    Args:
        published: from :func:`published_only`.
        schema: the published schema.
        moment: that of the release.
        previous: folder of the release before; None for the first one.
        cache: folder for what need not be computed again.
    """
    # Costs seconds, which who only reads a release need not wait for.
    from zicht.forecasting import forecast

    made = forecast(published, moment, cache=cache, say=say)
    tables = _tables(schema)
    for name, frame in ((FORECASTS, made.forecasts), (SCORES, made.scores)):
        create_table(published, tables[name])
        fill_frame(published, tables[name], frame)
    # When something was put into the cache says nothing of the figures, and is told nowhere.
    published.execute(
        f"update {FORECASTS} set made_at = cast({literal(format_moment(moment))} as timestamptz)"
    )
    own = tables[FORECASTS]
    same = " and ".join(
        f"f.{c.name} is not distinct from b.{c.name}" for c in own.columns if c.name != "made_at"
    )
    published.execute(f"create temp table before as {_before(previous, own)}")
    published.execute(
        f"update {FORECASTS} as f set made_at = b.made_at from before as b where {same}"
    )


def count_forecasts(made: duckdb.DuckDBPyConnection) -> int:
    """How many there are; rows that only say why there is none do not count."""
    row = made.execute(f"select count(point) from {FORECASTS}").fetchone()
    return int(row[0]) if row else 0


# What earlier releases gave and this one does not give any more, each once.
_TOLD = """
create temp table told as
with given as (
    select * from past_before
    union all by name
    select * from before where obs_status = 'F'
),
replaced as (
    select given.* from given
    where indicator_id in (select indicator_id from indicators) and not exists (
        from forecasts as f
        where f.obs_status = 'F' and f.indicator_id = given.indicator_id
            and f.region_code = given.region_code and f.breakdown = given.breakdown
            and f.reference_period = given.reference_period and f.made_at = given.made_at
    )
    qualify row_number() over (
        partition by indicator_id, region_code, breakdown, reference_period, made_at
        order by release_id nulls last
    ) = 1
),
moments as (
    select m.made_at, arg_min(r.release_id, r.released_at) as first_release,
        min(r.released_at) as told_at
    from (select distinct made_at from replaced) as m
    left join releases as r on r.released_at >= m.made_at
    group by m.made_at
)
select replaced.* exclude (value, is_within_50, is_within_90)
        replace (coalesce(replaced.release_id, first_release) as release_id),
    moments.told_at
from replaced
left join moments using (made_at)
"""

# A forecast is judged by a figure of the same thing: not after another definition or other borders
# made earlier figures of the series anew, and not across a break that was not known then.
_PAST = """
with numbered as (
    select *, lag(value) over (
        partition by indicator_id, region_code, breakdown, reference_period order by sequence
    ) as value_before
    from revisions
),
remade as (
    select n.indicator_id, n.region_code, n.breakdown, max(r.released_at) as remade_at
    from numbered as n
    inner join releases as r using (release_id)
    where n.cause in ('definition', 'geography') and n.value <> n.value_before
    group by n.indicator_id, n.region_code, n.breakdown
),
judged as (
    select t.*, p.last_period, o.value,
        o.value is not null and coalesce(remade_at <= told_at, true) and not exists (
            from breaks as b
            where b.indicator_id = t.indicator_id and b.reference_period > p.last_period
                and b.reference_period <= t.reference_period
        ) as is_judged
    from told as t
    inner join origins as p using (reference_period, horizon)
    left join remade using (indicator_id, region_code, breakdown)
    left join observations as o using (indicator_id, region_code, breakdown, reference_period)
)
select *,
    case when is_judged then value between lower_50 and upper_50 end as is_within_50,
    case when is_judged then value between lower_90 and upper_90 end as is_within_90
from judged
"""

# As in the other scores, all are all municipalities; of an indicator without these all regions.
_SCORES = f"""
insert into {SCORES} by name
select p.indicator_id, i.theme, p.horizon, 'all' as peer_group, '{AS_MADE}' as method,
    false as is_chosen, false as is_baseline,
    count(*) as n_cases, count(distinct o.last_period) as n_origins, count(*) as n_real_time,
    min(o.last_period) as first_origin, max(o.last_period) as last_origin,
    round(avg(cast(p.is_within_50 as integer)), 3) as coverage_50,
    round(avg(cast(p.is_within_90 as integer)), 3) as coverage_90
from {PAST} as p
inner join indicators as i using (indicator_id)
inner join origins as o using (reference_period, horizon)
inner join regions as r using (region_code)
where p.is_within_90 is not null and (r.region_level = 'municipality' or p.indicator_id not in (
    select indicator_id from observations where region_level = 'municipality'
))
group by p.indicator_id, i.theme, p.horizon
"""


def make_past(
    published: duckdb.DuckDBPyConnection, schema: PublishedSchema, previous: Path | None
) -> None:
    """Makes ``past_forecasts`` in a scratch database, and their scores in ``forecast_scores``.

    Args:
        published: holds what :func:`make_forecasts` made.
        schema: the published schema.
        previous: folder of the release before, as :func:`make_forecasts` got it.
    """
    tables = _tables(schema)
    published.execute(f"create temp table past_before as {_before(previous, tables[PAST])}")
    published.execute(_TOLD)
    published.execute(
        "create temp table origins (reference_period varchar, horizon integer, last_period varchar)"
    )
    targets = published.execute("select distinct reference_period, horizon from told").fetchall()
    if targets:
        published.executemany(
            "insert into origins values (?, ?, ?)",
            [(text, ahead, str(Period.parse(text).before(ahead))) for text, ahead in targets],
        )
    create_table(published, tables[PAST])
    fill_table(published, tables[PAST], _PAST)
    published.execute(_SCORES)


def copy_with_forecasts(
    candidate: Path, target: Path, made: duckdb.DuckDBPyConnection, schema: PublishedSchema
) -> None:
    """Writes a copy of a candidate to ``target``, in which these tables are what was made.

    Args:
        candidate: folder of the candidate; it is only read.
        target: is removed first; whole when this function returns, and not seen as a candidate.
        made: holds what :func:`make_forecasts` and :func:`make_past` made.
        schema: the published schema.
    """
    remove_tree(target)
    shutil.copytree(candidate, target)
    tables = _tables(schema)
    with duckdb.connect(str(target / DATABASE)) as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        for name in TABLES:
            export_table(made, tables[name], target)
            connection.execute(f"drop table if exists {name}")
            create_table(connection, tables[name])
            rows = f"from read_parquet({literal(str(target / f'{name}.parquet'))})"
            fill_table(connection, tables[name], rows)
        connection.execute("checkpoint")
    for path in target.iterdir():
        sync_file(path)


def differences(
    made: duckdb.DuckDBPyConnection, database: Path, schema: PublishedSchema
) -> list[tuple[str, str, str, str, str]]:
    """Where the tables of a candidate are not what was made.

    Args:
        made: holds what was made again from the published tables of the candidate.
        database: the DuckDB file of the candidate.

    Returns:
        Table, indicator, region (empty in ``forecast_scores``), period or horizon, and what
        differs, by table and key.
    """
    found: list[tuple[str, str, str, str, str]] = []
    made.execute(f"attach {literal(str(database))} as candidate (read_only)")
    for name in TABLES:
        table = _tables(schema)[name]
        key = ", ".join(table.key)
        others = [c.name for c in table.columns if c.name not in table.key]
        differing = ", ".join(
            f"case when a.{c} is distinct from b.{c} then {literal(c)} end" for c in others
        )
        place = "'', 'horizon ' || horizon" if name == SCORES else "region_code, reference_period"
        found += made.execute(
            f"""
            select {literal(name)} as table_name, indicator_id, {place},
                case
                    when not coalesce(a.is_there, false) then 'it does not follow from them'
                    when not coalesce(b.is_there, false) then 'it is missing'
                    else array_to_string(list_filter([{differing}], lambda c: c is not null), ', ')
                end as what
            from (select *, true as is_there from {name}) as a
            full outer join (select *, true as is_there from candidate.{name}) as b using ({key})
            where not coalesce(a.is_there and b.is_there, false)
                or ({" or ".join(f"a.{c} is distinct from b.{c}" for c in others)})
            order by {key}
            """
        ).fetchall()
    made.execute("detach candidate")
    return found
