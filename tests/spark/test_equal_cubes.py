"""The microdata layer on DuckDB and on Spark: the same raw files, the same plan, the same cells."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dbt_support
import duckdb
import pytest
from microdata_support import build_themes

from support import settings_at, silent
from zicht.contracts import MICRODATA, load_contracts
from zicht.transform import read_manifest

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is missing: make java"),
]
pytest.importorskip("pyspark", reason="pyspark is missing: make test-spark installs it")

HERE = Path(__file__).parent
REGIONS = ("GM1695", "GM1991")
PAGE = dbt_support.PROJECT / "docs/how-to/run-on-spark.md"


def selection_of_the_page() -> list[str]:
    """How the page has Spark build: the arguments ``--select`` and ``--exclude``."""
    (line,) = re.findall(r"dbt run (.*)", PAGE.read_text(encoding="utf-8"))
    arguments = shlex.split(line)
    return arguments[arguments.index("--select") : arguments.index("--vars")]


def microdata_layer(manifest: Mapping[str, Any], microdata: set[str]) -> tuple[set[str], set[str]]:
    """Staging models of registers, and all cubes that rest on one of them.

    Args:
        manifest: of dbt.
        microdata: names of the sources with rows about single units.
    """
    nodes = {key: node for key, node in manifest["nodes"].items() if key.startswith("model.")}

    def rests_on_register(key: str) -> bool:
        if key in manifest["sources"]:
            return manifest["sources"][key]["source_name"] in microdata
        return key in nodes and any(map(rests_on_register, nodes[key]["depends_on"]["nodes"]))

    def tagged(tag: str) -> set[str]:
        return {n["name"] for k, n in nodes.items() if tag in n["tags"] and rests_on_register(k)}

    return tagged("staging"), tagged("cube")


@dataclass(frozen=True)
class Both:
    """What both engines made of the same files.

    Attributes:
        engine: DuckDB with the warehouse attached as ``duck``, and as ``spark`` a view per relation
            on what Spark wrote.
        staging: names of the staging models.
        cubes: names of the cubes.
        ran: names of the models that Spark built.
        spent: CPU seconds of Spark.
    """

    engine: duckdb.DuckDBPyConnection
    staging: Sequence[str]
    cubes: Sequence[str]
    ran: set[str]
    spent: Mapping[str, float]

    def columns(self, side: str, relation: str) -> dict[str, str]:
        """Name and type of the columns."""
        rows = self.engine.execute(f"describe {side}.{relation}").fetchall()
        return {row[0]: row[1] for row in rows}

    def count(self, relation: str) -> int:
        """Rows on DuckDB."""
        return int(self.engine.execute(f"select count(*) from duck.{relation}").fetchall()[0][0])

    def differences(self, relation: str, other: str = "") -> list[tuple[Any, ...]]:
        """Rows that one side has (more often) and the other has not, with the side in front.

        Args:
            other: what to compare with instead of the relation that Spark wrote.
        """
        names = ", ".join(sorted(self.columns("duck", relation)))
        duck = f"select {names} from duck.{relation}"
        spark = f"select {names} from {other or f'spark.{relation}'}"
        return self.engine.execute(
            f"select 'DuckDB' as side, * from ({duck} except all {spark}) "
            f"union all select 'Spark', * from ({spark} except all {duck}) order by all"
        ).fetchall()


def build_on_spark(
    home: Path, variables: Mapping[str, Any], relations: Sequence[str], again: str
) -> dict[str, float]:
    """Builds the microdata layer on Spark from what lies in ``raw/`` of an installation.

    Args:
        variables: the plan that DuckDB had.
        relations: what to write to ``spark/dump``.
        again: a cube of which one planned pair is computed a second time.

    Returns:
        The CPU seconds it took.
    """
    state = home / "spark"
    (state / "handed_over").mkdir(parents=True)
    handed = dbt_support.dbt(home, "run-operation", "hand_over")
    assert handed.returncode == 0, handed.output
    plan = variables["plan"]
    pairs = {again: plan["cubes"][again][-1:]}
    once_more = {**variables, "plan": {**plan, "cubes": pairs}}
    request = {
        "options": [
            *("--target", "spark"),
            *("--project-dir", str(dbt_support.DBT_PROJECT)),
            *("--profiles-dir", str(dbt_support.DBT_PROJECT)),
            *("--target-path", str(state / "dbt")),
            *("--log-path", str(state / "dbt")),
            *("--log-level", "none", "--log-level-file", "debug"),
        ],
        "commands": [
            {"arguments": ["run-operation", "hand_over"], "vars": variables},
            {"arguments": ["run", *selection_of_the_page()], "vars": variables},
            {"arguments": ["run", "--no-write-json", "--select", again], "vars": once_more},
        ],
        "relations": list(relations),
        "dump": str(state / "dump"),
    }
    path = state / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    environment = {
        **os.environ,
        "ZICHT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "SPARK_CONF_DIR": str(HERE / "conf"),
        # Code that runs for seconds is not worth a second compilation.
        "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    child = subprocess.run(
        [sys.executable, str(HERE / "spark_child.py"), str(path)],
        env=environment,
        cwd=state,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    spent: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return spent


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    themes = build_themes(tmp_path_factory.mktemp("both"), REGIONS)
    settings = settings_at(themes.home)
    contracts = load_contracts(settings.contracts)
    microdata = {source for source, contract in contracts.items() if contract.kind == MICRODATA}
    staging, cubes = microdata_layer(read_manifest(settings, silent), microdata)
    variables = themes.plan.variables()
    again = max(sorted(cubes), key=lambda cube: len(variables["plan"]["cubes"].get(cube, ())))
    spent = build_on_spark(themes.home, variables, sorted(staging | cubes), again)
    state = themes.home / "spark"
    results = json.loads((state / "dbt" / "run_results.json").read_text(encoding="utf-8"))
    with duckdb.connect() as engine:
        engine.execute(
            f"attach '{themes.home}/warehouse.duckdb' as warehouse (read_only); "
            "create schema duck; create schema spark"
        )
        for name in sorted(staging | cubes):
            engine.execute(
                f"create view duck.{name} as from warehouse.main.{name}; "
                f"create view spark.{name} as from read_parquet('{state}/dump/{name}/*.parquet')"
            )
        yield Both(
            engine,
            sorted(staging),
            sorted(cubes),
            {result["unique_id"].split(".")[-1] for result in results["results"]},
            spent,
        )


def test_the_selection_of_the_page_is_the_microdata_layer(both: Both) -> None:
    assert both.ran == {*both.staging, *both.cubes}


def test_staging_is_equal_row_by_row(both: Both) -> None:
    for relation in both.staging:
        assert both.columns("duck", relation) == both.columns("spark", relation), relation
        assert both.differences(relation) == [], relation
    rows = {relation: both.count(relation) for relation in both.staging}
    print(f"\n{len(rows)} staging models, {sum(rows.values()):,} rows: {rows}")
    assert min(rows.values()) > 0, rows


def test_cubes_are_equal_cell_by_cell(both: Both) -> None:
    for relation in both.cubes:
        assert both.columns("duck", relation) == both.columns("spark", relation), relation
        assert both.differences(relation) == [], relation
    rows = {relation: both.count(relation) for relation in both.cubes}
    print(f"\n{len(rows)} cubes, {sum(rows.values()):,} cells: {rows}")
    print(f"Spark: {both.spent}")
    assert min(rows.values()) > 0, rows


CHANGES = {
    "another value": "replace (value + (rowid = 1)::int as value)",
    "nothing for a number": "replace (case when rowid <> 1 then value end as value)",
    "another vintage": "replace (vintage || case when rowid = 1 then 'x' else '' end as vintage)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_cell_is_found(both: Both, change: str) -> None:
    cube = "cube_rechtspersonen__legal_entities"
    both.engine.execute(f"create or replace temp table spoilt as from spark.{cube}")
    both.engine.execute(
        f"create or replace temp view changed as select * {CHANGES[change]} from spoilt"
    )
    found = both.differences(cube, "changed")
    assert [row[0] for row in found] == ["DuckDB", "Spark"]


MISCOUNTS = [
    ("rowid > 0", "DuckDB"),
    ("true union all from spoilt where rowid = 0", "Spark"),
]


@pytest.mark.parametrize(("rows", "side"), MISCOUNTS)
def test_a_missing_and_a_doubled_cell_are_found(both: Both, rows: str, side: str) -> None:
    cube = "cube_rechtspersonen__legal_entities"
    both.engine.execute(f"create or replace temp table spoilt as from spark.{cube}")
    found = both.differences(cube, f"(from spoilt where {rows})")
    assert [row[0] for row in found] == [side]
