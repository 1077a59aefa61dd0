"""Builds a candidate: the files of a release, written new from protected values.

Nothing here opens the confidential warehouse: the observations, signals, profiles and coverage come
from the Parquet files that the wall wrote, and all that is calculated here follows from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from zicht.catalogue import Mart
from zicht.clock import format_moment
from zicht.deliveries.package import sha256_of
from zicht.expected import SourceStatus
from zicht.files import move_folder, remove_tree, sync_file
from zicht.releases.across import across_query, correlations, wide_columns
from zicht.releases.errata import Break, break_rows
from zicht.releases.quality import quality_query
from zicht.releases.revisions import revisions_query
from zicht.releases.schema import PublishedSchema, PublishedTable
from zicht.releases.trends import trends
from zicht.releases.writing import (
    DATABASE,
    count_rows,
    create_table,
    export_table,
    fill_frame,
    fill_rows,
    fill_table,
)
from zicht.sql import literal, quoted

# One status per figure, the first that applies; all that apply are in obs_flags. What says most of
# the figure itself goes first; a break stays for good, and what is provisional passes.
_STATUS = (
    ("is_suppressed", "Q", "suppressed"),
    ("is_missing", "O", "missing"),
    ("is_estimated", "E", "estimated"),
    ("is_break", "B", "break"),
    ("is_provisional", "P", "provisional"),
)


_ADDED = {"theme", "conf_status", "release_id"}
"""Columns of modelled output that are not the wall's to say."""


@dataclass(frozen=True)
class CandidateInput:
    """What a candidate is made of.

    Attributes:
        protected: Parquet file with the cells as they left the wall, ``breakdown`` included. With
            a column ``is_uncovered``, missing cells say that that is why.
        regions: Parquet file with the regions of the geography year.
        marts: the indicator definitions.
        statuses: the state of the sources.
        earlier: the rows of ``releases`` so far.
        released_at: the moment that the release carries.
        as_of: knowledge up to this moment.
        geo_year: geography year.
        code_version: version of the code.
        awaited: the deliveries that figures wait for, as rows of ``awaited``.
        previous: folder of the release before; None for the first one.
        vintages: folder that says what each vintage was made of.
        signals: Parquet file with the columns of ``signals`` as they left the wall; ``theme``,
            ``conf_status`` and ``release_id`` are added here. None for no rows.
        profiles: the same for ``feature_profiles``.
        coverage: Parquet file with the columns of ``coverage``. None for no rows.
        themes: the rows of ``themes``.
        errata: the rows of ``errata``.
        breaks: the known breaks.
    """

    protected: Path
    regions: Path
    marts: Sequence[Mart]
    statuses: Sequence[SourceStatus]
    earlier: Sequence[Mapping[str, Any]]
    released_at: datetime
    as_of: datetime
    geo_year: int
    code_version: str
    awaited: Sequence[Mapping[str, Any]] = ()
    previous: Path | None = None
    vintages: Path = Path("vintages")
    signals: Path | None = None
    profiles: Path | None = None
    coverage: Path | None = None
    themes: Sequence[Mapping[str, Any]] = ()
    errata: Sequence[Mapping[str, Any]] = ()
    breaks: Sequence[Break] = ()


def indicator_rows(marts: Sequence[Mart]) -> list[dict[str, Any]]:
    """The rows of ``indicators``: the definitions, flat."""
    rows = []
    for mart in marts:
        meta = mart.indicator
        caveats = meta.get("caveats") or {}
        rows.append(
            {
                "indicator_id": meta["id"],
                "theme": meta["theme"],
                "label_nl": meta["label"]["nl"],
                "label_en": meta["label"]["en"],
                "description_nl": meta["description"]["nl"],
                "description_en": meta["description"]["en"],
                "unit": meta["unit"]["code"],
                "unit_nl": meta["unit"]["nl"],
                "unit_en": meta["unit"]["en"],
                "numerator": meta.get("numerator"),
                "denominator": meta.get("denominator"),
                "factor": meta.get("factor"),
                "decimals": meta.get("decimals"),
                "sources": ";".join(meta["sources"]),
                "policy": meta["policy"],
                "kind": meta["kind"],
                "rounding_base": meta.get("rounding_base"),
                "lowest_region_level": meta.get("lowest_region_level", "municipality"),
                "is_action_perspective": bool(meta.get("action_perspective", False)),
                "caveats_nl": " ".join(caveats.get("nl") or ()),
                "caveats_en": " ".join(caveats.get("en") or ()),
            }
        )
    return rows


def breakdown_rows(marts: Sequence[Mart]) -> list[dict[str, Any]]:
    """The rows of ``breakdowns``: every category of every dimension, with its place and labels."""
    return [
        {
            "indicator_id": mart.indicator["id"],
            "dimension": dimension,
            "category": category,
            "dimension_position": dimension_position,
            "category_position": category_position,
            **{
                f"{what}_{language}": texts[language]
                for what, texts in (
                    ("dimension_label", mart.indicator["breakdown"][dimension]["label"]),
                    ("label", label),
                )
                for language in ("nl", "en")
            },
        }
        for mart in marts
        for dimension_position, (dimension, categories) in enumerate(mart.breakdown.items(), 1)
        for category_position, (category, label) in enumerate(categories.items(), 1)
    ]


def source_rows(statuses: Sequence[SourceStatus]) -> list[dict[str, Any]]:
    """The rows of ``sources``: agreed and measured lag, what is expected when."""
    return [
        {
            "source": status.source,
            "title_nl": status.contract.title["nl"],
            "title_en": status.contract.title["en"],
            "owner": status.contract.owner,
            "cadence": status.contract.cadence.value,
            "agreed_lag_days": status.contract.lag_days,
            "lag_reason": status.contract.lag_reason or None,
            "last_period": str(status.last.reference_period) if status.last else None,
            "last_status": status.last.observation_status.value if status.last else None,
            "delivered_at": format_moment(status.last.delivered_at) if status.last else None,
            "known_at": format_moment(status.last.known_at) if status.last else None,
            "lag_days": status.last.lag_days if status.last else None,
            "next_period": str(status.next_period),
            "next_due": status.next_due.isoformat(),
            "is_overdue": status.days_overdue > 0,
            "days_overdue": status.days_overdue,
            "missing_periods": ";".join(map(str, status.missing)) or None,
            "agreement": status.agreement,
            "n_deliveries": status.n_deliveries,
            "n_refused": status.n_refused,
        }
        for status in statuses
    ]


def content_hash(
    protected: Path,
    marts: Sequence[Mart],
    geo_year: int,
    schema_version: str,
    awaited: Sequence[Mapping[str, Any]] = (),
    *,
    signals: Path | None = None,
    profiles: Path | None = None,
    coverage: Path | None = None,
    themes: Sequence[Mapping[str, Any]] = (),
    errata: Sequence[Mapping[str, Any]] = (),
    breaks: Sequence[Break] = (),
) -> str:
    """What a release says, as a hash: equal figures, texts and definitions give the same one.

    Args:
        protected: as in :class:`CandidateInput`, and so are the others.
        schema_version: of the published schema.
    """
    digest = hashlib.sha256(f"{schema_version}\0{geo_year}\0".encode())
    digest.update(sha256_of(protected).encode())
    for name, path in (("signals", signals), ("profiles", profiles), ("coverage", coverage)):
        if path is not None:
            digest.update(f"{name}\0{sha256_of(path)}\0".encode())
    declared = (
        ("awaited", awaited),
        ("themes", themes),
        ("errata", errata),
        ("breaks", [asdict(one) for one in breaks]),
    )
    rows = [*indicator_rows(marts), *breakdown_rows(marts)]
    rows += [{"table": name, **row} for name, table in declared for row in table]
    for row in rows:
        digest.update(repr(sorted(row.items(), key=lambda item: item[0])).encode())
    return digest.hexdigest()


def _figures(content: CandidateInput, release_id: str) -> str:
    """The columns of ``observations`` but ``quality``, as a query."""
    cases = " ".join(f"when {column} then '{code}'" for column, code, _ in _STATUS)
    flags = ", ".join(f"case when {column} then '{flag}' end" for column, _, flag in _STATUS)
    return f"""
        select
            c.indicator_id, c.theme, c.region_code, c.region_level, c.geo_year, c.breakdown,
            c.reference_period,
            case
                when c.is_suppressed or c.is_missing then null
                -- The wall rounds what it protects; rounding that again could undo it.
                when i.kind <> 'public' then c.value
                else round(c.value, i.decimals)
            end as value,
            i.unit,
            case {cases} else 'A' end as obs_status,
            array_to_string(list_filter([{flags},
                case when c.is_missing and exists (
                    from awaited as a
                    where a.indicator_id = c.indicator_id
                        and a.reference_period = c.reference_period
                ) then 'awaited' end,
                case when c.is_missing and c.is_uncovered then 'low_coverage' end,
                case
                    when c.value = 0 and i.rounding_base > 0 and not c.is_suppressed
                        then 'rounded_zero'
                end],
                lambda flag: flag is not null), ';') as obs_flags,
            case when c.is_suppressed then 'C' else 'F' end as conf_status,
            c.known_at, c.vintage, c.lag_days, {literal(release_id)} as release_id
        from (
            select p.*, exists (
                from breaks as b
                where b.indicator_id = p.indicator_id and b.reference_period = p.reference_period
            ) as is_break
            from (
                from read_parquet({literal(str(content.protected))})
                union all by name
                select cast(null as boolean) as is_uncovered where false
            ) as p
        ) as c
        join indicators as i using (indicator_id)
    """


def _published_periods(
    connection: duckdb.DuckDBPyConnection, protected: Path
) -> dict[str, list[str]]:
    """Per indicator the periods that it has cells of."""
    found: dict[str, list[str]] = {}
    for indicator, period in connection.execute(
        "select distinct indicator_id, reference_period from read_parquet($1) order by all",
        [str(protected)],
    ).fetchall():
        found.setdefault(indicator, []).append(period)
    return found


def _from_the_wall(path: Path, table: PublishedTable, release_id: str) -> str:
    """The rows of a file, with the columns that follow from where they are published."""
    names = {column.name for column in table.columns}
    own = ", ".join(quoted(name) for name in sorted(names - _ADDED))
    if not names >= _ADDED:
        return f"select {own} from read_parquet({literal(str(path))})"
    return f"""
        select p.*, i.theme, {literal(release_id)} as release_id,
            case when p.obs_status = 'Q' then 'C' else 'F' end as conf_status
        from (select {own} from read_parquet({literal(str(path))})) as p
        left join indicators as i using (indicator_id)
    """


def build_candidate(
    folder: Path, release_id: str, content: CandidateInput, schema: PublishedSchema
) -> dict[str, int]:
    """Writes the files of a candidate to ``folder``, which appears whole or not at all.

    Files: ``marts.duckdb``, and per table ``<table>.parquet`` and ``<table>.csv`` (UTF-8, comma,
    decimal point), rows in the order of the key.

    The tables of forecasts have no rows yet: they are made of these files afterwards.

    Returns:
        Rows per table.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    remove_tree(partial)
    partial.mkdir(parents=True)
    columns = wide_columns(content.marts)
    schema = schema.widened(columns)
    tables = {table.name: table for table in schema.tables}
    counts: dict[str, int] = {}
    with duckdb.connect(str(partial / DATABASE)) as connection:
        connection.execute("set threads = 1")
        connection.execute("set timezone = 'UTC'")
        for table in schema.tables:
            create_table(connection, table)
        _fill_declared(connection, tables, content)
        for name, path in (
            ("coverage", content.coverage),
            ("signals", content.signals),
            ("feature_profiles", content.profiles),
        ):
            if path is not None:
                fill_table(connection, tables[name], _from_the_wall(path, tables[name], release_id))
        connection.execute(f"create temp table figures as {_figures(content, release_id)}")
        fill_table(connection, tables["observations"], quality_query(connection, "figures"))
        revisions = revisions_query(
            connection, content.previous, content.vintages, release_id, content.as_of
        )
        fill_table(connection, tables["revisions"], revisions)
        fill_frame(connection, tables["trends"], trends(connection))
        fill_table(connection, tables["across_themes"], across_query(columns))
        fill_frame(connection, tables["correlations"], correlations(connection))
        own = {
            "release_id": release_id,
            "released_at": format_moment(content.released_at),
            "as_of": format_moment(content.as_of),
            "geo_year": content.geo_year,
            "n_observations": count_rows(connection, "observations"),
            "code_version": content.code_version,
        }
        earlier = [row for row in content.earlier if row["release_id"] != release_id]
        fill_rows(connection, tables["releases"], [*earlier, own])
        for table in schema.tables:
            counts[table.name] = count_rows(connection, table.name)
            export_table(connection, table, partial)
        connection.execute("checkpoint")
    for path in partial.iterdir():
        sync_file(path)
    remove_tree(folder)
    move_folder(partial, folder)
    return counts


def _fill_declared(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, PublishedTable],
    content: CandidateInput,
) -> None:
    """The tables that say what figures are about; the others are made with them."""
    periods = _published_periods(connection, content.protected)
    for name, rows in (
        ("indicators", indicator_rows(content.marts)),
        ("breakdowns", breakdown_rows(content.marts)),
        ("sources", source_rows(content.statuses)),
        ("awaited", content.awaited),
        ("themes", content.themes),
        ("errata", content.errata),
        ("breaks", break_rows(content.breaks, content.marts, periods)),
    ):
        fill_rows(connection, tables[name], rows)
    regions = f"select * from read_parquet({literal(str(content.regions))})"
    fill_table(connection, tables["regions"], regions)
