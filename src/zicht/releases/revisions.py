"""The table ``revisions``: the successive published values of every cell that ever changed.

It follows from published values only: what the release before said, what this one says, and the
revisions that the release before knew. So it discloses nothing that was not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb

from zicht.catalogue import TOTAL
from zicht.clock import format_moment
from zicht.files import read_json
from zicht.sql import literal


class Cause(StrEnum):
    """Why a published value differs from the one before it."""

    FIRST = "first"
    DATA = "data"
    DEFINITION = "definition"
    GEOGRAPHY = "geography"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Basis:
    """What a vintage rests on, sorted by what may change.

    Attributes:
        data: the deliveries, and those that are awaited.
        definition: hashes of the SQL, and the versions of the contracts.
        geography: hashes of the geography seeds, and the geography year.
    """

    data: frozenset[str] = field(default_factory=frozenset)
    definition: frozenset[str] = field(default_factory=frozenset)
    geography: frozenset[str] = field(default_factory=frozenset)

    def with_parts_of(self, other: Basis) -> Basis:
        """Both together."""
        return Basis(
            self.data | other.data,
            self.definition | other.definition,
            self.geography | other.geography,
        )


def read_basis(folder: Path, vintage: str) -> Basis | None:
    """What a vintage rests on, its cubes included; None when the record of it was lost.

    Args:
        folder: ``$ZICHT_HOME/vintages``.
        vintage: of a cube or mart.
    """
    path = folder / f"{vintage}.json"
    if not path.exists():
        return None
    document = read_json(path)
    model, inputs = document["model"], document["inputs"]
    basis = Basis(
        data=frozenset(str(one) for key in ("deliveries", "awaits") for one in inputs.get(key, ())),
        definition=frozenset(
            [f"{model} {inputs['definition']}", *(str(one) for one in inputs.get("contracts", ()))]
        ),
        geography=frozenset([f"{model} {inputs['geography']}"]),
    )
    for cube in inputs.get("cubes", {}).values():
        part = read_basis(folder, cube)
        if part is None:
            return None
        basis = basis.with_parts_of(part)
    return basis


def cause_between(folder: Path, old: str, new: str) -> Cause:
    """What made the vintage ``new`` out of ``old``: data before definition before geography.

    Equal inputs and another value come from the indicator's own description (its decimals) or its
    protection, which is a matter of definition.
    """
    before, after = read_basis(folder, old), read_basis(folder, new)
    if before is None or after is None:
        return Cause.UNKNOWN
    if before.data != after.data:
        return Cause.DATA
    if before.definition == after.definition and before.geography != after.geography:
        return Cause.GEOGRAPHY
    return Cause.DEFINITION


_EMPTY = """
    select cast(null as varchar) as indicator_id, cast(null as varchar) as theme,
        cast(null as varchar) as region_code, cast(null as varchar) as breakdown,
        cast(null as varchar) as reference_period,
        cast(null as integer) as sequence, cast(null as double) as value,
        cast(null as varchar) as obs_status, cast(null as timestamptz) as known_at,
        cast(null as varchar) as vintage, cast(null as varchar) as release_id,
        cast(null as varchar) as cause
    where false
"""

# A cell that is gone has no vintage of its own: that of its indicator and period tells why, if
# there is one. A cell that came back is compared with nothing, so it has the cause of its leaving.
_CHANGED = """
create temp table changed as
with periods as (
    select indicator_id, reference_period, max(vintage) as vintage, max(known_at) as known_at
    from observations
    group by indicator_id, reference_period
),
known as (
    select indicator_id, region_code, breakdown, reference_period,
        max(sequence) as last_sequence, arg_max(cause, sequence) as last_cause
    from history
    group by indicator_id, region_code, breakdown, reference_period
),
joined as (
    select
        indicator_id, region_code, breakdown, reference_period,
        coalesce(now.theme, before.theme) as theme,
        before.vintage is not null as was_there, now.vintage is not null as is_there,
        before.value as old_value, before.obs_status as old_status,
        before.known_at as old_known_at, before.vintage as old_vintage,
        before.release_id as old_release_id,
        now.value, now.obs_status, now.known_at, now.vintage
    from before
    full outer join observations as now
        using (indicator_id, region_code, breakdown, reference_period)
)
select
    joined.* exclude (known_at, vintage),
    coalesce(joined.known_at, periods.known_at, cast({moment} as timestamptz)) as known_at,
    coalesce(joined.vintage, periods.vintage) as vintage,
    known.last_sequence, known.last_cause,
    exists (from indicators as i where i.indicator_id = joined.indicator_id) as is_defined
from joined
left join periods using (indicator_id, reference_period)
left join known using (indicator_id, region_code, breakdown, reference_period)
where case
    when not was_there then known.last_sequence is not null
    when not is_there then true
    else value is distinct from old_value or obs_status is distinct from old_status
end
"""

_RESULT = """
select * from history
union all by name
select
    indicator_id, theme, region_code, breakdown, reference_period, 1 as sequence,
    old_value as value, old_status as obs_status, old_known_at as known_at, old_vintage as vintage,
    old_release_id as release_id, 'first' as cause
from changed
where last_sequence is null
union all by name
select
    indicator_id, theme, region_code, breakdown, reference_period,
    coalesce(last_sequence, 1) + 1 as sequence, value,
    coalesce(obs_status, 'O') as obs_status, known_at, vintage,
    {release_id} as release_id,
    case
        when not was_there then coalesce(last_cause, 'data')
        when vintage is null then case when is_defined then 'data' else 'definition' end
        else causes.cause
    end as cause
from changed
left join causes
    on changed.old_vintage = causes.old_vintage and changed.vintage = causes.new_vintage
"""


def _with_breakdown(path: Path) -> str:
    """The rows of a table; in releases from before there were breakdowns all are totals."""
    return f"""
        select * replace (coalesce(breakdown, {literal(TOTAL)}) as breakdown)
        from (
            from read_parquet({literal(str(path))})
            union all by name
            select cast(null as varchar) as breakdown where false
        )
    """


def revisions_query(
    connection: duckdb.DuckDBPyConnection,
    previous: Path | None,
    vintages: Path,
    release_id: str,
    moment: datetime,
) -> str:
    """Prepares ``connection``, which holds ``observations`` and ``indicators`` of the candidate.

    A revision is another value or another status. Values follow each other from 1; the first has
    the cause ``first`` and the release that showed it last.

    Args:
        previous: folder of the release before; None for the first one.
        vintages: ``$ZICHT_HOME/vintages``, which says what each vintage was made of.
        release_id: of the candidate.
        moment: when a cell that is gone was found to be.

    Returns:
        A query with the columns of ``revisions``.
    """
    if previous is None:
        return _EMPTY
    recorded = previous / "revisions.parquet"
    history = _with_breakdown(recorded) if recorded.exists() else _EMPTY
    connection.execute(f"create temp table history as {history}")
    before = _with_breakdown(previous / "observations.parquet")
    connection.execute(f"create temp view before as {before}")
    connection.execute(_CHANGED.format(moment=literal(format_moment(moment))))
    pairs = connection.execute(
        "select distinct old_vintage, vintage from changed "
        "where old_vintage is not null and vintage is not null"
    ).fetchall()
    causes: list[Mapping[str, Any]] = [
        {"old_vintage": old, "new_vintage": new, "cause": cause_between(vintages, old, new).value}
        for old, new in pairs
    ]
    connection.execute(
        "create temp table causes (old_vintage varchar, new_vintage varchar, cause varchar)"
    )
    if causes:
        connection.executemany(
            "insert into causes values ($old_vintage, $new_vintage, $cause)", causes
        )
    return _RESULT.format(release_id=literal(release_id))
