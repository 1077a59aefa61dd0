"""The documentation: its links resolve, its tables match the code, its blocks run."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from generated import DOCS, MARKED, PARTS, PROJECT, filled, pages

from support import (
    SAMPLES,
    copy_project,
    released,
    run_refresh,
    settings_at,
)
from zicht import errors
from zicht.contracts import load_contract
from zicht.deliveries.package import DESCRIPTOR, read_descriptor
from zicht.orchestration.environment import OrchestrationError
from zicht.settings import Settings

CLOCK = "2026-11-22T10:00:00Z"
"""The moment at which the outputs in the pages were made."""

RUNNABLE = {"console", "python", "sql", "bash", "r"}
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n+```text\n(?P<output>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name(page: Path) -> str:
    """A page as it is called in reports."""
    return str(page.relative_to(PROJECT))


@dataclass(frozen=True)
class Block:
    """A piece of code in a page, with the mark before it and the output shown behind it."""

    page: Path
    line: int
    mark: str
    language: str
    code: str
    output: str

    def __str__(self) -> str:
        return f"{name(self.page)}, line {self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["mark"] or "",
            match["language"],
            match["code"],
            match["output"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def to_run(page: Path) -> list[Block]:
    """The blocks that are marked as run."""
    return [block for block in blocks(page) if block.mark == "run"]


def anchors(page: Path) -> set[str]:
    """The anchors that headings make."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def plain(line: str) -> str:
    """A line of output without what differs from run to run: hashes, names of runs, seconds."""
    line = re.sub(r"\b\d{8}T[\d.]+-\w+", "RUN", line)
    line = re.sub(r"\b\d+(\.\d+)? s\b", "# s", line)
    return " ".join(re.sub(r"\b[0-9a-f]{8,}\b", "#", line).split())


def assert_shown(shown: str, printed: str, where: object) -> None:
    """Every line that a page shows as output was printed; ``…`` alone stands for lines left out."""
    found = {plain(line) for line in printed.splitlines()}
    for line in shown.splitlines():
        if line.strip() not in ("", "…") and not line.startswith("$ "):
            assert plain(line) in found, f"{where}: not printed: {line!r}\n{printed}"


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file, and to a heading where it names one."""
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{match['target']} leads nowhere"
        if anchor:
            assert anchor in anchors(found), f"{match['target']}: no such heading"


def test_every_page_can_be_reached() -> None:
    """Following links from the README one comes by every page."""
    seen: set[Path] = set()
    todo = [PROJECT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = match["target"].partition("#")[0]
            if target and ":" not in target:
                todo.append((page.parent / target).resolve())
    assert set(pages()) - seen == set()


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_whether_it_runs(page: Path) -> None:
    """A block that a reader may copy is executed here, or says why not."""
    for block in blocks(page):
        if block.language in RUNNABLE:
            before = page.read_text(encoding="utf-8").splitlines()[: block.line - 1]
            is_file = any(line.startswith("File: `") for line in before[-2:])
            assert is_file or block.mark == "run" or block.mark.startswith("not run: "), block


@pytest.mark.parametrize("page", pages(), ids=name)
def test_generated_parts_match_the_code(page: Path) -> None:
    """``python tests/docs/generated.py`` would change nothing."""
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, "run python tests/docs/generated.py"


def test_every_generated_part_is_shown() -> None:
    """No generated part was forgotten in the pages."""
    shown = {m["name"] for page in pages() for m in MARKED.finditer(page.read_text())}
    assert shown == set(PARTS)


# --- reference -----------------------------------------------------------------------------------


def test_every_setting_is_documented() -> None:
    """Each ``ZICHT_`` variable in the code is on the page of settings, and no other."""
    files = [PROJECT / n for n in ("Makefile", "docker-compose.yml", ".env.example", "Dockerfile")]
    for folder in ("src", "dags", "dbt_project"):
        files += [p for p in (PROJECT / folder).rglob("*") if p.suffix in (".py", ".sql", ".yml")]
    used = {
        v for path in files for v in re.findall(r"ZICHT_[A-Z]+(?:_[A-Z]+)*\b", path.read_text())
    }
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    tables, _, _ = page.partition("## What lies in")
    told = set(re.findall(r"\bZICHT_[A-Z]+(?:_[A-Z]+)*\b", tables))
    assert told == used


def test_exit_statuses_are_documented() -> None:
    """The page of error codes has the exit status of every kind of error."""
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ZichtError)
    ]
    for kind in [*kinds, OrchestrationError]:
        family = kind.default_code.rsplit("-", 1)[0]
        pattern = rf"^\| {kind.exit_status} \|.*`{family}-"
        assert re.search(pattern, page, re.MULTILINE), kind.__name__


def test_example_descriptor_can_be_read(tmp_path: Path) -> None:
    """The descriptor on the page of deliveries is one that intake understands, and complete."""
    (block,) = [b for b in blocks(DOCS / "reference" / "deliveries.md") if b.mark == "descriptor"]
    (tmp_path / DESCRIPTOR).write_text(block.code, encoding="utf-8")
    descriptor = read_descriptor(tmp_path)
    assert descriptor.to_json() == json.loads(block.code)


def test_example_rule_fits_a_contract(tmp_path: Path) -> None:
    """The quality rule on the page of contracts can be put into a contract."""
    (block,) = [b for b in blocks(DOCS / "reference" / "contracts.md") if b.language == "yaml"]
    document = yaml.safe_load((SettingsOf.contracts / "cbs_crime.yaml").read_text())
    document["schema"][0] |= yaml.safe_load(block.code)
    path = tmp_path / "cbs_crime.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    (rule,) = load_contract(path).tables[0].rules
    assert rule.name == "cleared_at_most_registered"
    assert rule.remedy


def test_example_plan_has_the_keys_of_a_plan(first_release: Settings) -> None:
    """The plan on the page of dbt variables has the form of a real one."""
    (block,) = [b for b in blocks(DOCS / "reference" / "dbt-variables.md") if b.mark == "plan"]
    shown = yaml.safe_load(block.code)["plan"]
    real = json.loads(next(first_release.runs.glob("*/plan.json")).read_text())["variables"]["plan"]
    assert shown.keys() == real.keys()
    for kind in ("cubes", "marts"):
        for model, pairs in shown[kind].items():
            assert pairs[0].keys() == real[kind][model][0].keys()
    cube = "cube_open_data__crime"
    deliveries = real["cubes"][cube][0]["deliveries"][0].keys()
    assert shown["cubes"][cube][0]["deliveries"][0].keys() == deliveries


class SettingsOf:
    """Where the project itself lies."""

    contracts = PROJECT / "expectations" / "contracts"


# --- the how-to that adds an indicator ------------------------------------------------------------


@pytest.fixture(scope="module")
def with_new_indicator(
    first_release: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, list[str]]:
    """A copy of the project to which the two files were added, refreshed; and what it said."""
    base = tmp_path_factory.mktemp("indicator")
    project = copy_project(base / "project")
    page = (DOCS / "how-to" / "add-an-indicator.md").read_text(encoding="utf-8")
    files = re.findall(r"^File: `([^`]+)`\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert [Path(path).suffix for path, _ in files] == [".sql", ".yml"]
    for path, code in files:
        assert not (project / path).exists()
        (project / path).write_text(code, encoding="utf-8")
    shutil.copytree(first_release.home, base / "home", symlinks=True)
    settings = settings_at(base / "home", project)
    return settings, run_refresh(settings, "added")


def expected_rates() -> dict[tuple[str, str], float]:
    """Establishments per 1,000 inhabitants from the sample itself, final before provisional."""
    cells: dict[tuple[str, str, str], float] = {}
    with (SAMPLES / "85383NED" / "TypedDataSet.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    for status in ("Voorlopig", "Definitief"):
        for row in rows:
            for column in ("InwonersTotaal_1", "Bedrijfsvestigingen_69"):
                if row["StatusCijfer"].strip() == status and row[column]:
                    key = (row["RegioS"].strip(), row["Perioden"][:4], column)
                    cells[key] = float(row[column])
    return {
        (region, period): 1000 * value / cells[region, period, "InwonersTotaal_1"]
        for (region, period, column), value in cells.items()
        if column == "Bedrijfsvestigingen_69"
    }


def test_added_indicator_is_released_with_the_right_figures(
    with_new_indicator: tuple[Settings, list[str]],
) -> None:
    """Two files, one refresh, no other change; figures as the source has them."""
    settings, _ = with_new_indicator
    figures = released(
        settings,
        "select region_code, reference_period, value, obs_status, theme, unit "
        "from observations where indicator_id = 'establishments_per_1000'",
    )
    expected = expected_rates()
    assert {(row[0], row[1]) for row in figures} == set(expected)
    assert len(figures) == 24
    for region, period, value, status, theme, unit in figures:
        assert value == pytest.approx(round(expected[region, period], 1))
        assert (status, theme, unit) == ("P", "drugs", "per_1000_inhabitants")
    amsterdam = next(row for row in figures if row[:2] == ("GM0363", "2024"))
    assert amsterdam[2] == 221.4
    (definition,) = released(
        settings,
        "select label_nl, label_en, decimals, rounding_base from indicators "
        "where indicator_id = 'establishments_per_1000'",
    )
    assert definition == ("Bedrijfsvestigingen", "Business establishments", 1, 5)


def test_added_indicator_leaves_the_rest_alone(
    with_new_indicator: tuple[Settings, list[str]], first_release: Settings
) -> None:
    """No cube is computed again, and no other figure moves."""
    settings, said = with_new_indicator
    assert any("0 of them to compute" in line for line in said), said
    query = (
        "select * exclude (release_id) from observations "
        "where indicator_id <> 'establishments_per_1000' order by all"
    )
    assert released(settings, query) == released(first_release, query)


# --- blocks that run ------------------------------------------------------------------------------


class Workshop:
    """A folder in which the blocks of a page run, with a home in ``var``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self) -> dict[str, str]:
        """The environment of a reader who followed the tutorial."""
        own = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "ZICHT"))}
        return {
            **kept,
            "PATH": os.pathsep.join(own),
            "ZICHT_HOME": str(self.folder / "var"),
            "ZICHT_PROJECT": str(PROJECT),
            "ZICHT_CLOCK": CLOCK,
            "COLUMNS": "100",
        }

    def shell(self, script: str) -> str:
        """Runs a shell script; what it printed."""
        return self._run(["bash", "-euo", "pipefail", "-c", script])

    def python(self, code: str) -> str:
        """Runs a Python program; what it printed."""
        return self._run([sys.executable, "-c", code])

    def sql(self, query: str) -> str:
        """Runs a query on the current release; its rows."""
        database = self.folder / "var" / "releases" / "current" / "marts.duckdb"
        with duckdb.connect(str(database), read_only=True) as connection:
            rows = connection.execute(query).fetchall()
        assert rows, "no rows"
        return "\n".join(map(str, rows))

    def run(self, block: Block) -> str:
        """Runs a block as a reader would, and compares what it shows with what it prints."""
        match block.language:
            case "console":
                lines = block.code.splitlines()
                printed = self.shell("\n".join(n[2:] for n in lines if n.startswith("$ ")))
                assert_shown(block.code, printed, block)
            case "python":
                printed = self.python(block.code)
            case "sql":
                printed = self.sql(block.code)
            case other:
                raise AssertionError(f"{block}: how is {other} run?")
        assert_shown(block.output, printed, block)
        return printed

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, str]:
    """A workshop in which the demo ran, and what it printed; copy it, do not change it."""
    workshop = Workshop(tmp_path_factory.mktemp("demo"))
    return workshop, workshop.shell("zicht demo")


@pytest.fixture
def workshop(demo: tuple[Workshop, str], tmp_path: Path) -> Iterator[Workshop]:
    """A workshop of one's own in which the demo ran."""
    shutil.copytree(demo[0].folder / "var", tmp_path / "var", symlinks=True)
    yield Workshop(tmp_path)
    subprocess.run(["chmod", "-R", "u+w", str(tmp_path)], check=True)


def test_make_demo_is_zicht_demo() -> None:
    """What the tests run for ``make demo`` is what its recipe runs, after the set-up."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo: setup .*\n\t@\$\(RUN\) zicht demo$", makefile, re.MULTILINE)


def test_readme_shows_what_the_demo_prints(demo: tuple[Workshop, str]) -> None:
    """The output in the README is real."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- output: demo -->\n```text\n(.*?)```", readme, re.DOTALL)
    assert match
    assert len(match[1].splitlines()) > 10
    assert_shown(match[1], demo[1], "README.md")


def test_everything_in_the_home_is_documented(demo: tuple[Workshop, str]) -> None:
    """The page of settings names what lies in ``ZICHT_HOME``."""
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_.]+)/?[^`]*`", page.partition("## What lies in")[2]))
    assert {path.name for path in (demo[0].folder / "var").iterdir()} <= told


def _pages_to_run() -> list[Path]:
    return [page for page in pages() if to_run(page) and page.name != "tutorial.md"]


@pytest.mark.parametrize("page", _pages_to_run(), ids=name)
def test_blocks_run(page: Path, workshop: Workshop) -> None:
    """The marked blocks of a page run one after the other, on what the demo left."""
    for block in to_run(page):
        workshop.run(block)


def test_tutorial(workshop: Workshop, demo: tuple[Workshop, str]) -> None:
    """The tutorial from its second step to its sixth; the first was done by the demo."""
    first, *rest = to_run(DOCS / "tutorial.md")
    assert first.code == "$ make demo\n"
    printed = {str(block): workshop.run(block) for block in rest}
    texts = list(printed.values())
    assert any("1 of them to compute" in text for text in texts), printed
    assert re.findall(r"GM\d{4}|NL01", texts[-1]) == ["GM0363", "GM0363"]
    releases = workshop.shell("zicht releases --json")
    assert sorted(one["is_current"] for one in json.loads(releases)) == [False, True]
