"""What the attacker reads and writes: files, errors, releases, reports, the command line."""

from __future__ import annotations

import ast
import csv
import json
import os
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
    Structure,
    attack,
    load_spec,
    make_table,
    parse_spec,
    read_structure,
    read_table,
    render,
    search_canaries,
    tables_of_release,
)
from zicht.cli.attack import FOUND
from zicht.cli.attack import attack as command
from zicht.disclosure.spec import spec_of as protector_spec
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


# What the two must agree on, and what a file may not do ----------------------------------------


def test_what_a_spec_leaves_out_means_the_same_to_protector_and_attacker() -> None:
    for magnitude in (None, {"total": "t", "largest": "l", "second": "s", "contributors": "n"}):
        body = {"dimensions": {"a": None, "b": {}, "c": {"total": None}}, "count": "n"}
        body |= {} if magnitude is None else {"magnitude": magnitude}
        ours, theirs = parse_spec(body), protector_spec(body)
        assert [(d.name, d.hierarchies, d.total, d.additive) for d in ours.dimensions] == [
            (d.name, d.hierarchies, d.total, d.additive) for d in theirs.dimensions
        ]
        policy = theirs.policy
        assert ours.p_percent == (None if magnitude is None else policy.p_percent.p)
        assert (ours.minimum_frequency, ours.publish_zeros, ours.protection, ours.attacker) == (
            policy.minimum_frequency,
            policy.publish_zeros,
            policy.protection,
            policy.attacker,
        )
        assert (ours.small_changes, ours.rounding_base, ours.relation, ours.successors) == (
            policy.small_changes,
            0,
            theirs.history.relation,
            theirs.history.successors,
        )
        rounds = {**body, "policy": {"method": "round"}}
        base, mode = parse_spec(rounds).rounding_base, parse_spec(rounds).rounding_mode
        assert (base, mode) == (policy.rounding.base, policy.rounding.mode)


WRONG_SPECS = {
    "key": ("policy: {protectoin: interval}", "Did you mean 'protection'?"),
    "top key": ("polcy: {}", "Did you mean 'policy'?"),
    "dimension key": ("dimensions: {a: {totl: X}}", "Did you mean 'total'?"),
    "zeros": ('policy: {publish_zeros: "no"}', "true or false"),
    "additive": ('dimensions: {a: {additive: "false"}}', "true or false"),
    "infinite": ("policy: {minimum_frequency: .inf}", "from 0 to"),
    "nan": ("policy: {minimum_frequency: .nan}", "from 0 to"),
    "huge": ("policy: {minimum_frequency: 1.0e+300}", "from 0 to"),
    "date": ("count: 2024-13-45", "Correct the file"),
    "deep": ("[" * 20_000 + "]" * 20_000, "Correct the file"),
    "octal codes": ("history: {successors: [[0363, 0400]]}", "in quotes"),
}


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_a_spec_that_is_wrong_is_not_attacked_with_weaker_rules(tmp_path: Path, case: str) -> None:
    text, remedy = WRONG_SPECS[case]
    whole = text if "dimensions" in text or text[0] == "[" else f"dimensions: {{a: }}\n{text}"
    (tmp_path / "spec.yaml").write_text(whole, encoding="utf-8")
    with pytest.raises(AttackError) as caught:
        load_spec(tmp_path / "spec.yaml")
    assert caught.value.code == "Z-ATT-002"
    assert remedy in (caught.value.remedy or "")
    assert len(caught.value.message) < 500


def test_successors_stand_in_a_file_or_in_the_spec(tmp_path: Path) -> None:
    (tmp_path / "recast.csv").write_text("from,to\n0363,0400\n", encoding="utf-8")
    inline = {"dimensions": {"a": None}, "history": {"successors": [["0363", "0400"]]}}
    beside = {"dimensions": {"a": None}, "history": {"successors": "recast.csv"}}
    assert parse_spec(inline).successors == (("0363", "0400"),)
    assert parse_spec(beside, folder=tmp_path).successors == (("0363", "0400"),)


def test_a_name_is_no_pattern(folder: Path) -> None:
    odd = folder / "year=[12]"
    odd.mkdir()
    leaky = columns_of(world(), {("m0", "cat0")})
    write_structure(odd / "s.csv")
    spec = load_spec(folder / "spec.yaml")
    for ending in ("csv", "parquet"):
        for name, columns in (("[p]?.", leaky), ("px.", columns_of(world(), SAFE))):
            write_rows(odd / f"{name}csv", columns)
            if ending == "parquet":
                rows = odd / "rows"
                (odd / f"{name}csv").rename(rows)
                with duckdb.connect() as connection:
                    source = str(rows).replace("[", "[[]")
                    connection.execute(
                        f"copy (from read_csv('{source}', hive_partitioning = false)) "
                        f"to '{odd / name}parquet' (format parquet)"
                    )
        table = read_table(odd / f"[p]?.{ending}", spec, structure=odd / "s.csv")
        assert attack([table]).count(Kind.EXACT) == 1
        assert table.ignored == ()
    hits = search_canaries([odd / "[p]?.parquet"], ["cat0"])
    assert {Path(hit.path).name for hit in hits} == {"[p]?.parquet"}


INPUTS = ("protected.csv", "spec.yaml", "protected.structure.csv", "recast.csv", "flags.csv")
NO_FILES = ("same.json", "link.json", "lost.json", "pipe", "box", "no/report.json")


@pytest.mark.parametrize("name", [*INPUTS, *NO_FILES])
def test_the_report_is_written_over_nothing(folder: Path, name: str) -> None:
    spec_of(history={"successors": "recast.csv"})(folder)
    (folder / "recast.csv").write_text("from,to\n", encoding="utf-8")
    write_rows(folder / "flags.csv", {"mun": ["m0"], "cat": ["cat0"], "is_primary": ["true"]})
    os.link(folder / "protected.csv", folder / "same.json")
    (folder / "link.json").symlink_to(folder / "elsewhere")
    (folder / "elsewhere").write_text("{}", encoding="utf-8")
    (folder / "lost.json").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    (folder / "box").mkdir()

    def seen() -> dict[str, Any]:
        return {
            one.name: one.read_bytes() if one.is_file() else one.lstat().st_mode
            for one in folder.iterdir()
        }

    before = seen()
    rest = ("--spec", folder / "spec.yaml", "--flags", folder / "flags.csv")
    answer = run(folder / "protected.csv", *rest, "--report", folder / name)
    assert isinstance(answer.exception, UsageError), answer.output
    assert answer.exception.code == "Z-ATT-020"
    assert seen() == before


def test_a_table_that_says_nothing_is_no_safe_table(folder: Path) -> None:
    spec = load_spec(folder / "spec.yaml")
    path = folder / "protected.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    for text, says in (
        (lines[0] + "\n", "holds no cells"),
        ("", "it is empty"),
        ("mun,cat,value,value,obs_status\nm0,cat0,,3,Q\n", "'value' stands there twice"),
        (lines[0] + "\nm0,cat0,3\n", "row 1 below the header has 3 fields"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AttackError) as caught:
            read_table(path, spec)
        assert (caught.value.code, says in caught.value.message) == ("Z-ATT-001", True)


def test_what_was_not_looked_at_is_said() -> None:
    columns = columns_of(world(), SAFE)
    columns["freq"] = ["1"] * len(columns["value"])
    cells = list(zip(columns["mun"], columns["cat"], strict=True))
    for cell, value in ((("m0", "cat0"), None), (("m0", "Total"), "13")):
        columns["value"][cells.index(cell)] = value
        columns["obs_status"][cells.index(cell)] = "M"
    structure = publish(world(), set()).structure
    report = attack([make_table(columns, parse_spec(document(world().dims)), structure)])
    (table,) = report.to_json()["tables"]
    assert (table["n_unknown"], table["n_unused"], table["ignored"]) == (2, 1, ["freq"])
    text = flowing(render(report))
    assert "not looked at: the columns freq" in text
    assert "1 of these are printed and were not used" in text


def test_a_zero_that_may_not_be_shown_is_found() -> None:
    columns = {"a": ["A", "B", "Total"], "value": ["0", "40", "40"], "obs_status": ["A"] * 3}
    for publish_zeros, kinds in ((True, []), (False, [Kind.SHOWN_SMALL])):
        body = {"dimensions": {"a": None}, "policy": {"publish_zeros": publish_zeros}}
        report = attack([make_table(columns, parse_spec(body))])
        assert [one.kind for one in report.failures] == kinds


def test_a_total_is_at_most_all_parts_that_do_not_add_up() -> None:
    values = {"A": (24, 20, None), "B": (34, 20, None), "Total": (58, 40, 18)}
    rows = [
        (mun, offence, own)
        for mun, three in values.items()
        for offence, own in zip(("Total", "t", "v"), three, strict=True)
    ]
    columns = {
        "mun": [row[0] for row in rows],
        "offence": [row[1] for row in rows],
        "value": [None if row[2] is None else str(row[2]) for row in rows],
        "obs_status": ["Q" if row[2] is None else "A" for row in rows],
    }
    body = {"dimensions": {"mun": None, "offence": {"additive": False}}}
    report = attack([make_table(columns, parse_spec(body))], intervals=True)
    # 24 <= 20 + v and 34 <= 20 + v: together with 18 both are known.
    assert [(i.key["mun"], i.lower, i.upper) for i in report.intervals] == [
        ("A", 4.0, 4.0),
        ("B", 14.0, 14.0),
    ]
    assert "A Total 24 <= A t 20 + A v [4]" in render(report)


def test_levels_of_what_does_not_add_up_do_not_add_up_either() -> None:
    body = {
        "dimensions": {"o": {"hierarchies": [["o", "group"]], "additive": False}},
        "policy": {"minimum_frequency": 3},
    }
    structure = Structure(
        {"o": ("a", "b", "c"), "group": ("g", "h")},
        {("o", "group"): {"a": "g", "b": "g", "c": "h"}},
    )

    def table(values: list[str | None], name: str) -> Any:
        status = ["Q" if one is None else "A" for one in values]
        codes = ["a", "b", "c", "g", "h", "Total"]
        columns = {"o": codes, "value": values, "obs_status": status}
        return make_table(columns, parse_spec(body), {"o": structure}, name=name)

    now = table([None, "10", None, "12", "9", "15"], "now")
    report = attack([now], intervals=True)
    assert [(i.key["o"], i.lower, i.upper) for i in report.intervals] == [
        ("a", 2.0, 12.0),
        ("c", 9.0, 9.0),
    ]
    assert report.count(Kind.NOT_ADDITIVE) == 0
    # Someone who was counted already came into one more part: no total grew with it.
    before = table(["5", "9", "9", "12", "9", "15"], "before")
    then = attack([table(["6", "10", "9", "12", "9", "15"], "now"), before])
    assert then.count(Kind.NOT_ADDITIVE) == 0


def test_a_table_of_too_many_combinations_is_refused_at_once(tmp_path: Path) -> None:
    n = 20_000
    columns: dict[str, list[Any]] = {
        "a": [f"c{i}" for i in range(n)],
        "b": [f"d{i}" for i in range(n)],
        "value": ["10"] * n,
        "obs_status": ["A"] * n,
    }
    body = {"dimensions": {"a": None, "b": None}}
    with pytest.raises(AttackError) as caught:
        make_table(columns, parse_spec(body))
    assert caught.value.code == "Z-ATT-001"
    assert "400,040,001 cells" in caught.value.message
    # One long dimension is no trouble.
    one = {name: own for name, own in columns.items() if name != "b"}
    assert attack([make_table(one, parse_spec({"dimensions": {"a": None}}))]).is_safe


def test_knowledge_is_what_policy_protects_against(folder: Path) -> None:
    base = (folder / "protected.csv", "--spec", folder / "spec.yaml", "--report")
    for policy, known in (({"attacker": "naive"}, "naive"), ({}, "informed")):
        spec_of(policy=policy)(folder)
        run(*base, folder / "r.json")
        assert json.loads((folder / "r.json").read_text())["knowledge"] == known
    run(*base, folder / "r.json", "--knowledge", "naive")
    assert json.loads((folder / "r.json").read_text())["knowledge"] == "naive"


def test_earlier_tables_are_rounded_as_the_spec_says(folder: Path) -> None:
    columns = columns_of(world(), set())
    columns["value"] = [str(5 * round(int(one) / 5)) for one in columns["value"]]
    write_rows(folder / "earlier.csv", columns)
    write_structure(folder / "earlier.structure.csv")
    write_rows(folder / "protected.csv", columns_of(world(), {("m0", "cat0")}))
    paths = (folder / "protected.csv", folder / "earlier.csv")
    for rounding, contradicts in (({"rounding": {"base": 5}}, False), ({}, True)):
        spec_of(history={"relation": "equal", **rounding})(folder)
        run(*paths, "--spec", folder / "spec.yaml", "--report", folder / "r.json")
        summary = json.loads((folder / "r.json").read_text())["summary"]
        assert ("not_additive" in summary) is contradicts
