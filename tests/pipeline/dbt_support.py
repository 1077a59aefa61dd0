"""For the tests of the dbt project: raw deliveries from real figures, plans, and dbt runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from support import parsed_project, settings_at
from zicht.contracts import load_contracts
from zicht.deliveries.intake import ensure_source
from zicht.transform import dbt_server

PROJECT = Path(__file__).resolve().parents[2]
DBT_PROJECT = PROJECT / "dbt_project"
SAMPLES = PROJECT / "samples" / "statline"
SHARED = PROJECT.parent / "shared" / "data" / "statline"


@dataclass(frozen=True)
class Source:
    """How one StatLine table becomes raw deliveries.

    Attributes:
        name: source, as in the dbt project.
        table: table of the source, and the stem of its Parquet files.
        code: StatLine table.
        columns: physical column and its type, in order.
        cube: the cube that takes it.
        status_column: column with Definitief/Voorlopig, or None when a period has one status.
    """

    name: str
    table: str
    code: str
    columns: Mapping[str, str]
    cube: str
    status_column: str | None = None


CRIME = Source(
    "cbs_crime",
    "crime",
    "83648NED",
    {
        "SoortMisdrijf": "VARCHAR",
        "RegioS": "VARCHAR",
        "Perioden": "VARCHAR",
        "TotaalGeregistreerdeMisdrijven_1": "BIGINT",
        "GeregistreerdeMisdrijvenPer1000Inw_3": "DOUBLE",
        "TotaalOpgehelderdeMisdrijven_4": "BIGINT",
        "RegistratiesVanVerdachten_6": "BIGINT",
    },
    "cube_open_data__crime",
)
SUSPECTS = Source(
    "cbs_suspects",
    "suspects",
    "85655NED",
    {
        "Leeftijd": "VARCHAR",
        "Geslacht": "VARCHAR",
        "Woongemeente": "VARCHAR",
        "Perioden": "VARCHAR",
        "TotaalVerdachtenVanMisdrijven_1": "BIGINT",
        "VerdachtenVanVermogensmisdrijven_2": "BIGINT",
        "VerdachtenVanVernielingEnOpenbOrde_3": "BIGINT",
        "VerdachtenVanGeweldsmisdrijven_4": "BIGINT",
        "VerdachtenVanVerkeersmisdrijven_5": "BIGINT",
        "VerdachtenVanDrugsmisdrijven_6": "BIGINT",
        "VerdachtenVanVuurWapenmisdrijven_7": "BIGINT",
    },
    "cube_open_data__suspects",
)
MEASURES = Source(
    "cbs_measures",
    "measures",
    "85383NED",
    {
        "StatusCijfer": "VARCHAR",
        "RegioS": "VARCHAR",
        "Perioden": "VARCHAR",
        "InwonersTotaal_1": "BIGINT",
        "HuishoudensMetRelatiefLaagInkomen_21": "BIGINT",
        "TotaalBijstandsuitkeringen_22": "BIGINT",
        "AlgemeneBijstand_23": "BIGINT",
        "Adreslozen_27": "BIGINT",
        "WoningTotaal_36": "BIGINT",
        "Bedrijfsvestigingen_69": "BIGINT",
    },
    "cube_open_data__measures",
    "StatusCijfer",
)
SOURCES = (CRIME, SUSPECTS, MEASURES)
MARTS: Mapping[str, Source] = {
    "mart_drugs__registered_crime_per_1000": CRIME,
    "mart_drugs__suspects_per_10000": SUSPECTS,
    "mart_drugs__suspects_drugs_per_10000": SUSPECTS,
    "mart_drugs__suspects_firearms_per_10000": SUSPECTS,
    "mart_armoede__social_assistance_per_100": MEASURES,
    "mart_armoede__low_income_households_per_100_dwellings": MEASURES,
}


@dataclass(frozen=True)
class Delivery:
    """One accepted delivery in ``raw/``."""

    source: str
    period: str
    id: str
    status: str


def snapshot(source: Source, folder: Path) -> Path:
    """The CSV of a table, in a folder of samples or of whole tables."""
    sample = folder / source.code / "TypedDataSet.csv"
    return sample if sample.exists() else folder / f"{source.code}_TypedDataSet.csv"


def parquet_path(home: Path, source: Source, period: str, delivery: str) -> Path:
    """Where a delivery's table lies."""
    return (
        home
        / "raw"
        / source.name
        / f"reference_period={period}"
        / f"delivery={delivery}"
        / f"{source.table}.parquet"
    )


def write_raw(
    home: Path, folder: Path, periods: Iterable[str], sources: Sequence[Source] = SOURCES
) -> list[Delivery]:
    """Writes placeholders and one delivery per period and status that has figures.

    Args:
        folder: samples or whole tables, see :func:`snapshot`.
        periods: reference periods to write, as far as the table has them.
    """
    wanted = list(periods)
    installation = settings_at(home)
    for contract in load_contracts(installation.contracts).values():
        ensure_source(installation, contract)
    return [
        delivery for source in sources for delivery in _write_source(home, folder, source, wanted)
    ]


def _write_source(
    home: Path, folder: Path, source: Source, periods: Sequence[str]
) -> list[Delivery]:
    columns = ", ".join(
        f'cast("{name}" as {kind}) as "{name}"'
        if kind == "VARCHAR"
        else f'cast(cast("{name}" as double) as {kind}) as "{name}"'
        for name, kind in source.columns.items()
    )
    measures = [f'"{name}"' for name, kind in source.columns.items() if kind != "VARCHAR"]
    statuses = {"final": "true"}
    if source.status_column is not None:
        statuses = {
            "final": f"{source.status_column} = 'Definitief'",
            "provisional": f"{source.status_column} = 'Voorlopig'",
        }
    deliveries: list[Delivery] = []
    with duckdb.connect() as engine:
        engine.execute(
            "create table delivered as select * from read_csv(?, delim = ';', header = true, "
            "all_varchar = true, quote = '')",
            [str(snapshot(source, folder))],
        )

        def write(period: str, delivery: str, condition: str) -> None:
            path = parquet_path(home, source, period, delivery)
            path.parent.mkdir(parents=True, exist_ok=True)
            engine.execute(
                f"copy (select {columns} from delivered where {condition}) "
                f"to '{path}' (format parquet)"
            )

        for period in periods:
            for status, condition in statuses.items():
                chosen = f"Perioden = '{period}JJ00' and {condition}"
                filled = engine.execute(
                    f"select count(*) from delivered where {chosen} "
                    f"and coalesce({', '.join(measures)}) is not null"
                ).fetchall()
                if filled == [(0,)]:
                    continue
                delivery = f"{source.name}-{period}-{status}"
                write(period, delivery, chosen)
                deliveries.append(Delivery(source.name, period, delivery, status))
    return deliveries


def plan_for(
    deliveries: Sequence[Delivery], *, compute: Sequence[Delivery] | None = None, suffix: str = ""
) -> dict[str, Any]:
    """A plan that shows all ``deliveries`` and computes those of ``compute`` (default: all).

    The vintage of a pair is made up from the source, the period and ``suffix``.
    """
    computed = deliveries if compute is None else compute
    plan: dict[str, Any] = {"cubes": {}, "marts": {}}
    by_source = {source.name: source for source in SOURCES}

    def pairs(chosen: Sequence[Delivery]) -> dict[tuple[str, str], list[Delivery]]:
        grouped: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in chosen:
            grouped.setdefault((delivery.source, delivery.period), []).append(delivery)
        return grouped

    for (source, period), members in pairs(computed).items():
        plan["cubes"].setdefault(by_source[source].cube, []).append(
            {
                "reference_period": period,
                "vintage": f"{source}-{period}{suffix}",
                "deliveries": [
                    {"source": d.source, "id": d.id, "status": d.status} for d in members
                ],
            }
        )
    for mart, source_of_mart in MARTS.items():
        for source, period in pairs(deliveries):
            if source == source_of_mart.name:
                plan["marts"].setdefault(mart, []).append(
                    {
                        "reference_period": period,
                        "vintage": f"mart-{source}-{period}{suffix}",
                        "known_at": "2025-04-30T09:00:00Z",
                        "lag_days": 120,
                        "cubes": {source_of_mart.cube: f"{source}-{period}{suffix}"},
                    }
                )
    return plan


@dataclass(frozen=True)
class DbtRun:
    """What a dbt process left behind."""

    returncode: int
    output: str
    target: Path

    @property
    def results(self) -> list[dict[str, Any]]:
        """Per node: ``unique_id``, ``status``, ``message``."""
        document = json.loads((self.target / "run_results.json").read_text(encoding="utf-8"))
        results: list[dict[str, Any]] = document["results"]
        return results

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest that dbt wrote."""
        document: dict[str, Any] = json.loads(
            (self.target / "manifest.json").read_text(encoding="utf-8")
        )
        return document


def dbt(
    home: Path, *arguments: str, plan: Mapping[str, Any] | None = None, geo_year: int | None = None
) -> DbtRun:
    """Runs real dbt in a child process, with all state below ``home``.

    The project is parsed once per session, as a refresh does; a command ``parse``, and another
    geography year, parse it anew.
    """
    variables: dict[str, Any] = {}
    if plan is not None:
        variables["plan"] = plan
    if geo_year is not None:
        variables["geo_year"] = geo_year
    target = home / "dbt"
    anew = geo_year is not None or arguments[0] == "parse"
    request = {
        "command": list(arguments),
        "options": [
            *("--project-dir", str(DBT_PROJECT)),
            *("--profiles-dir", str(DBT_PROJECT)),
            *("--target-path", str(target)),
            *("--log-path", str(target / "logs")),
            "--no-use-colors",
        ],
        "vars": variables,
        "database": str(home / "warehouse.duckdb"),
        "manifest": None if anew else str(parsed_project()),
        "keep": None,
        "environment": {**os.environ, "ZICHT_HOME": str(home), "DO_NOT_TRACK": "1"},
        "directory": str(home),
    }
    end = dbt_server().ask(request, lambda node: None)
    output = "\n".join([*end["noise"], end.get("error", "")])
    return DbtRun(0 if end.get("success") else 1, output, target)
