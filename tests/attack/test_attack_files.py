"""What the attacker reads and writes: files, errors, releases, reports, the command line."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
import yaml
from attack_support import World, areas, columns_of, document, flat, publish, world_of
from typer.testing import CliRunner

from support import PROJECT
from zicht.attacker import (
    Kind,
    attack,
    load_spec,
    make_table,
    parse_spec,
    read_structure,
    read_table,
    render,
    tables_of_release,
)
from zicht.cli.attack import FOUND
from zicht.cli.attack import attack as command
from zicht.errors import AttackError, UsageError, ZichtError

SOURCE = PROJECT / "src" / "zicht"


def modules_of_ours(package: str) -> dict[str, set[str]]:
    """Per file of a package the modules of ours that it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((SOURCE / package).rglob("*.py")):
        own = found.setdefault(str(path.relative_to(SOURCE)), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                own |= {alias.name for alias in node.names if alias.name.startswith("zicht")}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                if (node.module or "").startswith("zicht"):
                    own.add(str(node.module))
                if node.module == "zicht":
                    own |= {f"zicht.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", ["attacker", "disclosure"])
def test_protector_and_attacker_share_nothing(package: str) -> None:
    found = modules_of_ours(package)
    assert found
    for path, modules in found.items():
        strange = {
            m for m in modules if m != "zicht.errors" and not m.startswith(f"zicht.{package}")
        }
        assert not strange, f"{path} imports {sorted(strange)}"


def world() -> World:
    dims = [areas(4, [0, 0, 1, 1], [0, 1, 0, 1]), flat("cat", 2)]
    return world_of(dims, [3, 40, 20, 31, 22, 33, 24, 35])


SAFE = {(a, b) for a in ("m0", "m1") for b in ("cat0", "cat1")} | {
    (a, b) for a in ("m2", "m3") for b in ("cat0", "cat1")
}


def write_rows(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_structure(path: Path) -> Path:
    rows: dict[str, list[Any]] = {
        name: [] for name in ("dimension", "level", "code", "parent_level", "parent")
    }
    mun = world().dims[0]
    for level, parents in mun.levels.items():
        for code, parent in parents.items():
            for name, value in zip(rows, ("mun", "mun", code, level, parent), strict=True):
                rows[name].append(value)
    return write_rows(path, rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published table with its spec and structure."""
    (tmp_path / "spec.yaml").write_text(
        yaml.safe_dump(document(world().dims), sort_keys=False), encoding="utf-8"
    )
    write_rows(tmp_path / "protected.csv", columns_of(world(), SAFE))
    write_structure(tmp_path / "protected.structure.csv")
    return tmp_path


def test_csv_parquet_and_memory_say_the_same(folder: Path) -> None:
    spec = load_spec(folder / "spec.yaml")
    one = read_table(folder / "protected.csv", spec)
    duckdb.execute(
        f"copy (select * from read_csv('{folder / 'protected.csv'}', nullstr='')) "
        f"to '{folder / 'p.parquet'}' (format parquet)"
    )
    two = read_table(folder / "p.parquet", spec, structure=folder / "protected.structure.csv")
    documents = []
    for table in (one, two, publish(world(), SAFE)):
        whole = attack([table], intervals=True).to_json()
        documents.append([(i["key"], i["lower"], i["upper"]) for i in whole["intervals"]])
    assert documents[0] == documents[1] == documents[2]
    assert len(documents[0]) == len(SAFE)


def test_structure_from_the_innermost_cells(folder: Path) -> None:
    mun = world().dims[0]
    cells = write_rows(
        folder / "cells.csv",
        {
            "mun": list(mun.codes),
            **{level: list(own.values()) for level, own in mun.levels.items()},
        },
    )
    spec = load_spec(folder / "spec.yaml")
    given = read_structure(cells, spec)["mun"]
    sidecar = read_structure(folder / "protected.structure.csv", spec)["mun"]
    assert given.levels == sidecar.levels
    assert given.parents == sidecar.parents


def edit(**change: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        columns = columns_of(world(), SAFE)
        for name, how in change.items():
            columns[name] = how(columns[name])
        write_rows(folder / "protected.csv", {k: v for k, v in columns.items() if v is not None})

    return apply


def spec_of(**more: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        body = {**document(world().dims), **more}
        (folder / "spec.yaml").write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")

    return apply


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def at(value: str, new: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda column: [new if one == value else one for one in column]


SIDE = "protected.structure.csv"
HEAD = "dimension,level,code,parent_level,parent\n"
WRONG = {
    "no table": (lambda f: (f / "protected.csv").unlink(), "Z-ATT-001", "no such file"),
    "not a table": (put("protected.csv", 'a,b\n"x'), "Z-ATT-001", "cannot be read"),
    "spec not yaml": (put("spec.yaml", "a: [1"), "Z-ATT-002", "not YAML"),
    "no dimensions": (spec_of(dimensions={}), "Z-ATT-002", "no dimensions"),
    "odd protection": (spec_of(policy={"protection": "much"}), "Z-ATT-002", "policy.protection"),
    "odd threshold": (spec_of(policy={"minimum_frequency": "x"}), "Z-ATT-002", "minimum_frequency"),
    "odd hierarchy": (
        spec_of(dimensions={"mun": {"hierarchies": [["prov", "mun"]]}}),
        "Z-ATT-002",
        "starts with prov",
    ),
    "odd relation": (spec_of(history={"relation": "x"}), "Z-ATT-002", "history.relation"),
    "no successors": (spec_of(history={"successors": "no.csv"}), "Z-ATT-001", "no.csv"),
    "missing column": (edit(value=lambda column: None), "Z-ATT-003", "the column value is missing"),
    "no structure": (lambda f: (f / SIDE).unlink(), "Z-ATT-004", "which mun lies in which prov"),
    "structure of a level": (
        put(SIDE, HEAD + "mun,mun,m0,prov,p0\n"),
        "Z-ATT-004",
        "which mun lies in which vr",
    ),
    "unknown code": (edit(mun=at("m3", "m9")), "Z-ATT-005", "'m9'"),
    "empty code": (edit(mun=at("m3", "")), "Z-ATT-005", "mun is empty"),
    "text in value": (edit(value=at("114", "many")), "Z-ATT-006", "'many'"),
    "fraction": (edit(value=at("114", "114.5")), "Z-ATT-006", "'114.5'"),
    "negative": (edit(value=at("114", "-114")), "Z-ATT-006", "'-114'"),
    "not a number": (edit(value=at("114", "nan")), "Z-ATT-006", "'nan'"),
    "hidden with a value": (
        edit(obs_status=lambda column: ["Q"] * len(column)),
        "Z-ATT-007",
        "is hidden (obs_status Q) and has a value",
    ),
    "shown without": (
        edit(obs_status=lambda column: ["A"] * len(column)),
        "Z-ATT-007",
        "has no value",
    ),
    "twice": (edit(mun=at("m3", "m2")), "Z-ATT-008", "stands there twice"),
    "two parents": (
        put(SIDE, HEAD + "mun,mun,m0,prov,p0\nmun,mun,m0,prov,p1\nmun,mun,m0,vr,v1\n"),
        "Z-ATT-009",
        "lies in 'p0' and in 'p1'",
    ),
    "no parent": (
        put(SIDE, HEAD + "mun,mun,m0,prov,\nmun,mun,m0,vr,v1\n"),
        "Z-ATT-009",
        "lies in no prov",
    ),
    "orphan": (
        put(SIDE, HEAD + "mun,mun,m0,prov,p0\nmun,mun,m1,prov,p0\nmun,mun,m0,vr,v1\n"),
        "Z-ATT-009",
        "'m1' lies in no vr",
    ),
    "one code, two levels": (
        put(SIDE, HEAD + "mun,mun,m0,prov,p0\nmun,mun,m0,vr,p0\n"),
        "Z-ATT-009",
        "used as prov and as vr",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_clearly(folder: Path, case: str) -> None:
    spoil, code, words = WRONG[case]
    spoil(folder)
    with pytest.raises(AttackError) as caught:
        attack([read_table(folder / "protected.csv", load_spec(folder / "spec.yaml"))])
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.remedy


app = typer.Typer()
app.command()(command)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def flowing(text: str) -> str:
    """What was printed, without its line breaks."""
    return " ".join(text.split())


def test_command_says_safe_with_zero(folder: Path) -> None:
    out = folder / "report.json"
    answer = run(folder / "protected.csv", "--spec", folder / "spec.yaml", "--report", out)
    assert answer.exit_code == 0, answer.output
    assert "nothing found that breaks the promise" in answer.output
    report = json.loads(out.read_text())
    assert (report["version"], report["is_safe"], report["findings"]) == (1, True, [])
    assert report["tables"][0]["n_hidden"] == len(SAFE)


def test_command_names_the_cells(folder: Path) -> None:
    write_rows(folder / "protected.csv", columns_of(world(), {("m0", "cat0")}))
    arguments = (folder / "protected.csv", "--spec", folder / "spec.yaml", "--report")
    answer = run(*arguments, folder / "a.json")
    assert answer.exit_code == FOUND
    assert "m0 cat0 = 3" in answer.output
    report = json.loads((folder / "a.json").read_text())
    (one,) = report["findings"]
    assert (one["kind"], one["key"], one["value"]) == ("exact", {"mun": "m0", "cat": "cat0"}, 3.0)
    assert one["evidence"]
    run(*arguments, folder / "b.json")
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_command_reads_what_goes_with_an_attack(folder: Path) -> None:
    base = (folder / "protected.csv", "--spec", folder / "spec.yaml", "--report", folder / "r.json")
    keys: dict[str, list[Any]] = {"mun": ["m0"], "cat": ["cat0"]}
    rates = write_rows(folder / "rates.csv", {**keys, "rate": ["7.0"], "denominator": ["43"]})
    answer = run(*base, "--rates", rates)
    assert answer.exit_code == FOUND
    assert "the numerator follows from the rate 7 of 43" in flowing(answer.output)
    flags = write_rows(folder / "flags.csv", {**keys, "is_primary": ["true"]})
    assert run(*base, "--flags", flags, "--knowledge", "flags").exit_code == 0
    him = ("--knowledge", "participant", "--participant", "mun=m0,cat=cat0")
    assert run(*base, *him).exit_code == 0
    counts = write_rows(folder / "counts.csv", {"mun": ["m0"], "cat": ["cat0"], "total": ["3"]})
    assert run(*base, "--hidden-counts", counts).exit_code == FOUND
    canary = folder / "canaries.txt"
    canary.write_text("918273645\n", encoding="utf-8")
    assert run(*base, "--canaries", canary).exit_code == 0
    (folder / "more.txt").write_text("x 918.273.645 y", encoding="utf-8")
    answer = run(*base, "--canaries", canary, "--search", folder / "more.txt")
    assert answer.exit_code == FOUND
    assert "holds the canary 918273645" in flowing(answer.output)
    for wrong in (("--knowledge", "all"), ("--participant", "m0")):
        assert isinstance(run(*base, *wrong).exception, UsageError)
    for wrong in (("--knowledge", "flags"), ("--knowledge", "participant")):
        assert isinstance(run(*base, *wrong).exception, AttackError)
    bare = run(*base, "--knowledge", "participant", "--participant", "mun=m77")
    assert isinstance(bare.exception, ZichtError)
    assert bare.exception.code == "Z-ATT-012"


def test_command_takes_earlier_and_linked_tables(folder: Path) -> None:
    shown = write_rows(folder / "linked.csv", columns_of(world(), SAFE - {("m0", "cat0")}))
    write_structure(folder / "linked.structure.csv")
    base = (folder / "protected.csv", "--spec", folder / "spec.yaml", "--report", folder / "r.json")
    linked = run(*base, "--linked", shown)
    assert linked.exit_code == FOUND
    assert json.loads((folder / "r.json").read_text())["summary"]["printed"] == {"fail": 1}
    # Of another moment the value that was printed is only a bound.
    earlier = run(folder / "protected.csv", shown, *base[1:])
    assert json.loads((folder / "r.json").read_text())["summary"]["printed"] == {"warn": 1}
    assert earlier.exit_code == FOUND


def test_estimates_say_nothing_certain() -> None:
    columns = columns_of(world(), {("m0", "cat0")})
    cells = list(zip(columns["mun"], columns["cat"], strict=True))
    for cell in (("m0", "Total"), ("m0", "cat1")):
        columns["value"][cells.index(cell)] = "40.5"
        columns["obs_status"][cells.index(cell)] = "E"
    spec = parse_spec(document(world().dims))
    structure = publish(world(), set()).structure
    report = attack([make_table(columns, spec, structure)], intervals=True)
    # The line of the municipality is lost, but its category in the province is not.
    assert [(i.lower, i.upper) for i in report.intervals] == [(3.0, 3.0)]
    for cell in cells:
        if cell[0] in ("m1", "v0", "v1"):
            columns["obs_status"][cells.index(cell)] = "E"
    assert attack([make_table(columns, spec, structure)]).is_safe


def test_report_fits_eighty_columns() -> None:
    hidden = {cell for cell in world().cells() if cell[1] == "cat0" and cell[0].startswith("m")}
    report = attack([publish(world(), hidden, name="x" * 200), publish(world(), {("m0", "cat0")})])
    text = render(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "NOT SAFE" in text


def test_no_table_is_an_error() -> None:
    with pytest.raises(AttackError):
        attack([])


def test_tables_that_share_no_cells() -> None:
    one = publish(world(), set(), vintage="v")
    body = document([flat("age", 2)])
    body["dimensions"]["age"]["total"] = None
    columns = {"age": ["age0", "age1"], "value": ["20", "30"], "obs_status": ["A", "A"]}
    other = make_table(columns, parse_spec(body), name="other")
    with pytest.raises(AttackError, match="has no column age"):
        attack([one, other])


def release(path: Path, hidden: set[tuple[str, str]], release_id: str, more: int = 0) -> Path:
    """A release file with one count by region and legal form, shaped as published."""
    true = world()
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table regions (region_code varchar, region_level varchar, corop_code varchar, "
            "province_code varchar, safety_region_code varchar)"
        )
        mun = true.dims[0]
        for code in mun.codes:
            row = [code, "municipality", "c", mun.levels["prov"][code], mun.levels["vr"][code]]
            connection.execute("insert into regions values (?, ?, ?, ?, ?)", row)
        # A municipality that the figures do not cover.
        connection.execute("insert into regions values ('m9', 'municipality', 'c', 'p0', 'v0')")
        connection.execute(
            "create table indicators (indicator_id varchar, policy varchar, kind varchar)"
        )
        connection.execute(
            "insert into indicators values ('n', 'default', 'counts'), ('x', 'public', 'public')"
        )
        connection.execute(
            "create table observations (indicator_id varchar, region_code varchar, "
            "region_level varchar, breakdown varchar, reference_period varchar, value double, "
            "obs_status varchar, release_id varchar)"
        )
        levels = {"m": "municipality", "p": "province", "v": "safety_region", "T": "country"}
        for (region, cat), value in true.truth().items():
            breakdown = "total" if cat == "Total" else f"form={cat}"
            for period in ("2023", "2024"):
                gone = (region, cat) in hidden and period == "2024"
                extra = more if region == "Total" or region == "p1" or region == "v0" else 0
                row = [
                    "n",
                    region,
                    levels[region[0]],
                    breakdown,
                    period,
                    None if gone else value + extra,
                    "Q" if gone else "A",
                    release_id,
                ]
                connection.execute("insert into observations values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute(
            "insert into observations values "
            "('x', 'm0', 'municipality', 'total', '2024', 1, 'A', 'r')"
        )
    return path


def test_tables_of_a_release(tmp_path: Path) -> None:
    policies = {"default": {"minimum_frequency": 2}}
    path = release(tmp_path / "a.duckdb", {("m0", "cat0"), ("m1", "cat0")}, "r2")
    tables = tables_of_release(path, policies)
    assert [(t.subject, t.period, t.vintage) for t in tables] == [
        ("n", "2023", "r2"),
        ("n", "2024", "r2"),
    ]
    region, form = tables[0].spec.dimensions
    assert region.hierarchies == (("region_code", "province"), ("region_code", "safety_region"))
    assert (region.total, form.name, form.total) == ("Total", "form", "total")
    assert tables[0].structure["region_code"].levels["region_code"] == ("m0", "m1", "m2", "m3")
    report = attack(tables)
    # Crossing regions give both away; nothing of the other year is mixed in.
    assert {(f.key["region_code"], f.key["form"], f.lower) for f in report.failures} == {
        ("m0", "cat0", 3.0),
        ("m1", "cat0", 20.0),
    }
    assert {f.period for f in report.failures} == {"2024"}
    earlier = tables_of_release(release(tmp_path / "b.duckdb", set(), "r1"), policies)
    both = attack([*tables, *earlier])
    assert both.count(Kind.PRINTED) == 2
    (tmp_path / "c.duckdb").write_bytes(b"no release")
    with pytest.raises(AttackError, match="is not a release"):
        tables_of_release(tmp_path / "c.duckdb")
