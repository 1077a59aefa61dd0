"""The parts of the documentation that follow from the code.

A page marks such a part with ``<!-- generated: name -->`` and ``<!-- end -->``. The tests compare;
``python tests/docs/generated.py`` writes.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import share_manifest
from zicht.catalogue import read_catalogue
from zicht.cli.main import app
from zicht.contracts import load_contracts
from zicht.gates.contract import CODES, OWN_RULE_CODE, contract_suite
from zicht.releases.candidate import _STATUS
from zicht.releases.schema import load_schema
from zicht.releases.themes import theme_rows
from zicht.settings import Settings
from zicht.transform import read_manifest

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
SETTINGS = Settings(home=PROJECT / "var", project=PROJECT)

MARKED = re.compile(
    r"(?P<start><!-- generated: (?P<name>[a-z0-9-]+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)",
    re.DOTALL,
)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.strip() for cell in line) + " |\n" for line in lines)


def command_paths() -> list[tuple[str, ...]]:
    """Every command, a group before what is in it."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name))

    return list(walk(get_command(app), ()))


def help_of(path: Sequence[str]) -> str:
    """What ``zicht <path> --help`` prints on a terminal of 80 columns."""
    out, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(out):
            get_command(app).main([*path, "--help"], prog_name="zicht", standalone_mode=False)
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def cli() -> str:
    """The help of every command."""
    return "\n".join(
        f"## {' '.join(['zicht', *path])}\n\n```text\n{help_of(path)}\n```\n"
        for path in command_paths()
    )


def release_tables() -> str:
    """The tables of a release, from the published schema."""
    schema = load_schema(SETTINGS)
    parts = [f"Version of the schema: {schema.version}.\n"]
    for table in schema.tables:
        rows = [
            [f"`{c.name}`", c.sql_type, c.description["en"], c.description["nl"]]
            for c in table.columns
        ]
        parts.append(
            f"### {table.name}\n\n{table.description['en']} Key: "
            f"{', '.join(f'`{key}`' for key in table.key)}.\n\n"
            + _table(["column", "type", "meaning", "betekenis"], rows)
        )
    return "\n".join(parts)


def precedence() -> str:
    """The statuses of a figure, the first that applies."""
    order = " > ".join([*(code for _, code, _ in _STATUS), "A"])
    flags = ", ".join(f"`{flag}`" for _, _, flag in _STATUS)
    return f"Precedence: {order}. Flags of these: {flags}.\n"


def gate_1() -> str:
    """The rules of gate 1 that some contract of the project leads to."""
    found: dict[str, list[str]] = {}
    for contract in load_contracts(SETTINGS.contracts).values():
        for table in contract.tables:
            for suite in contract_suite(contract, table, contract.first_period):
                for check in suite.checks:
                    code = CODES.get(check.name, OWN_RULE_CODE)
                    found[check.name] = [
                        f"`{check.name}`",
                        check.severity.value,
                        code,
                        check.description,
                    ]
    order = {name: number for number, name in enumerate(CODES)}
    rows = [found[name] for name in sorted(found, key=lambda n: (order.get(n, len(order)), n))]
    return _table(["check", "severity", "code", "rule"], rows)


def gate(number: int) -> str:
    """The checks of one of the gates 2 to 4, from its YAML."""
    path = SETTINGS.suites / f"gate_{number}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = []
    for suite in document["suites"]:
        globs = suite["relations"]
        where = ", ".join(f"`{glob}`" for glob in ([globs] if isinstance(globs, str) else globs))
        for check in suite["checks"]:
            rule = " ".join(check["description"].split())
            rows.append([f"`{check['name']}`", check["severity"], where, rule])
    return _table(["check", "severity", "looks at", "rule"], rows)


PARTS: dict[str, Callable[[], str]] = {
    "cli": cli,
    "release-tables": release_tables,
    "precedence": precedence,
    "gate-1": gate_1,
    "gate-2": lambda: gate(2),
    "gate-3": lambda: gate(3),
    "gate-4": lambda: gate(4),
    "indicators-nl": lambda: dictionary("nl"),
    "indicators-en": lambda: dictionary("en"),
}


_WORDS = {
    "nl": {
        "what": "Wat het is",
        "numerator": "Teller",
        "denominator": "Noemer",
        "unit": "Eenheid",
        "sources": "Bronnen",
        "policy": "Beleid",
        "by": "Uitgesplitst naar",
        "mind": "Let op",
        "action": "Biedt handelingsperspectief",
        "per": "vermenigvuldigd met",
    },
    "en": {
        "what": "What it is",
        "numerator": "Numerator",
        "denominator": "Denominator",
        "unit": "Unit",
        "sources": "Sources",
        "policy": "Policy",
        "by": "Broken down by",
        "mind": "Mind",
        "action": "Offers an action perspective",
        "per": "times",
    },
}


def dictionary(language: str) -> str:
    """Every theme and indicator, from dbt's manifest."""
    words = _WORDS[language]
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(SETTINGS, home=Path(folder))
        share_manifest(settings)
        manifest = read_manifest(settings, lambda _: None)
    catalogue = read_catalogue(manifest)
    parts = []
    for theme in theme_rows(manifest, SETTINGS):
        parts.append(
            f"## {theme[f'label_{language}']}\n\n{theme[f'description_{language}'].strip()}\n"
        )
        for mart in catalogue.indicators.values():
            meta = mart.indicator
            if meta["theme"] != theme["theme"]:
                continue
            lines = [f"- {words['what']}: {meta['description'][language].strip()}"]
            lines.append(f"- {words['unit']}: {meta['unit'][language]} (`{meta['unit']['code']}`)")
            lines.append(f"- {words['numerator']}: {meta['numerator']}")
            if meta["denominator"]:
                times = f", {words['per']} {meta['factor']}"
                lines.append(f"- {words['denominator']}: {meta['denominator']}{times}")
            lines.append(f"- {words['sources']}: {', '.join(meta['sources'])}")
            lines.append(f"- {words['policy']}: `{meta['policy']}` ({meta['kind']})")
            for dimension, one in (meta.get("breakdown") or {}).items():
                labels = ", ".join(text[language] for text in one["categories"].values())
                lines.append(f"- {words['by']}: {one['label'][language]} (`{dimension}`): {labels}")
            if meta.get("action_perspective"):
                lines.append(f"- {words['action']}")
            lines += [f"- {words['mind']}: {text.strip()}" for text in meta["caveats"][language]]
            title = f"### {meta['label'][language]}: `{meta['id']}`"
            parts.append("\n".join([title, "", *lines]) + "\n")
    return "\n" + "\n".join(parts)


def pages() -> list[Path]:
    """All pages of the documentation."""
    own = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "samples" / "README.md"]
    return [*own, *sorted(DOCS.rglob("*.md"))]


def filled(text: str) -> str:
    """A page with its generated parts as they should be."""

    def part(match: re.Match[str]) -> str:
        return f"{match['start']}\n{PARTS[match['name']]()}\n{match['end']}"

    return MARKED.sub(part, text)


def main() -> None:
    """Writes the generated parts into the pages."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(PROJECT))


if __name__ == "__main__":
    main()
