"""Makes candidates of a few figures, and lays the SQL rules of gate 4 on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from support import NOW
from zicht.catalogue import Mart
from zicht.disclosure.policies import load_policies
from zicht.gates.model import ROWS
from zicht.gates.suites import load_suites
from zicht.releases.candidate import CandidateInput, build_candidate
from zicht.releases.schema import load_schema
from zicht.releases.writing import DATABASE
from zicht.settings import Settings

TEXT = {"nl": "o", "en": "d"}
_CELLS = (
    "indicator_id varchar, theme varchar, region_code varchar, region_level varchar, "
    "geo_year integer, breakdown varchar, reference_period varchar, vintage varchar, value double, "
    "is_provisional boolean, is_estimated boolean, is_missing boolean, known_at timestamptz, "
    "lag_days integer, is_suppressed boolean"
)
_REGIONS = (
    "region_code varchar, region_level varchar, name varchar, geo_year integer, "
    "province_code varchar, corop_code varchar, safety_region_code varchar, "
    "landsdeel_code varchar, population_1jan bigint"
)


def mart(name: str, theme: str = "t", **meta: Any) -> Mart:
    """A mart with an indicator of that name."""
    indicator = {
        "id": name,
        "theme": theme,
        "label": TEXT,
        "description": TEXT,
        "unit": {"code": "pct", **TEXT},
        "denominator": "all",
        "sources": ["s"],
        "policy": "public",
        "kind": "public",
        "rounding_base": None,
        "decimals": 1,
        **meta,
    }
    return Mart(f"mart_{theme}__{name}", ("c",), "d", "g", indicator)


def cell(
    indicator: str, region: str, period: str, value: float | None, **other: Any
) -> dict[str, Any]:
    """A cell as it leaves the wall; without a value it is missing, unless it is suppressed."""
    level = {"NL": "country", "PV": "province", "GM": "municipality"}[region[:2]]
    return {
        "indicator_id": indicator,
        "theme": "t",
        "region_code": region,
        "region_level": level,
        "geo_year": 2025,
        "breakdown": "total",
        "reference_period": period,
        "vintage": "v",
        "value": value,
        "is_provisional": False,
        "is_estimated": False,
        "is_missing": value is None and not other.get("is_suppressed", False),
        "known_at": "2025-04-01 00:00:00+00",
        "lag_days": 90,
        "is_suppressed": False,
        **other,
    }


def write_parquet(path: Path, columns: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows as Parquet.

    Args:
        columns: names and types as SQL declares them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"create table t ({columns})")
        names = [row[0] for row in connection.execute("describe t").fetchall()]
        given = [[row[name] for name in names] for row in rows]
        if given:
            marks = ", ".join("?" * len(names))
            connection.executemany(f"insert into t values ({marks})", given)
        connection.execute(f"copy t to '{path}' (format parquet)")
    return path


def content_of(
    folder: Path,
    marts: Sequence[Mart],
    cells: Iterable[Mapping[str, Any]],
    populations: Mapping[str, int | None],
    **other: Any,
) -> CandidateInput:
    """What a candidate is made of, with files in ``folder``.

    Args:
        populations: inhabitants per region, which are also the regions of the release.
        other: fields of ``CandidateInput``.
    """
    levels = {"NL": "country", "PV": "province", "GM": "municipality"}
    regions = [
        {
            **dict.fromkeys(("province_code", "corop_code", "safety_region_code")),
            "landsdeel_code": None,
            "region_code": region,
            "region_level": levels[region[:2]],
            "name": region,
            "geo_year": 2025,
            "population_1jan": population,
        }
        for region, population in populations.items()
    ]
    content = CandidateInput(
        protected=write_parquet(folder / "p.parquet", _CELLS, cells),
        regions=write_parquet(folder / "r.parquet", _REGIONS, regions),
        marts=marts,
        statuses=[],
        earlier=[],
        released_at=NOW,
        as_of=NOW,
        geo_year=2025,
        code_version="0",
    )
    return replace(content, **other)


def build(settings: Settings, content: CandidateInput, name: str = "one") -> Path:
    """The folder of a candidate of that content."""
    folder = settings.candidates / name
    build_candidate(folder, name, content, load_schema(settings))
    return folder


def rows_of(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the database of a candidate answers."""
    with duckdb.connect(str(folder / DATABASE), read_only=True) as connection:
        return connection.execute(query).fetchall()


def broken_rules(
    settings: Settings, candidate: Path, relations: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """Per broken rule of gate 4 on ``relations``, the rows that break it; warnings included.

    The attacker, who has tests of his own, found nothing, and forecasts that were made again are
    the same.
    """
    policies = load_policies(settings.policies).values()
    findings, remade = (candidate.parent / f"{one}.parquet" for one in ("findings", "remade"))
    columns = ("kind", "layer", "indicator_id", "reference_period", "cell", "inference", "severity")
    write_parquet(findings, ", ".join(f"{name} varchar" for name in columns), [])
    columns = ("table_name", "indicator_id", "region_code", "reference_period", "what")
    write_parquet(remade, ", ".join(f"{name} varchar" for name in columns), [])
    broken = {}
    with duckdb.connect(str(candidate / DATABASE), read_only=True) as connection:
        found: dict[str, list[str]] = {}
        for table, column in connection.execute(
            "select table_name, column_name from information_schema.columns "
            "order by table_name, ordinal_position"
        ).fetchall():
            found.setdefault(table, []).append(column)
        suites = load_suites(
            settings.suites / "gate_4.yaml",
            relations=list(found),
            parameters={
                "policies": {policy.id: policy.to_parameters() for policy in policies},
                "schema": load_schema(settings).column_names(),
                "columns": found,
                "findings": str(findings),
                "remade": str(remade),
            },
        )
        for suite in suites:
            for check in suite.checks:
                if suite.relation not in relations or check.expectation != ROWS:
                    continue
                # As the gate asks it: inside another query.
                rows = connection.sql(f"select * from ({check.sql}) as checked").df()
                if len(rows):
                    broken[check.name] = rows.to_dict("records")
    return broken
