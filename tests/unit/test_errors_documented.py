"""Every error code is documented, every documented code exists, and each means one thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from support import PROJECT
from zicht import errors
from zicht.errors import ZichtError
from zicht.gates.contract import CODES, OWN_RULE_CODE

CODE = re.compile(r"Z-[A-Z]+-\d{3}\b|Z-000\b")
PAGE = PROJECT / "docs" / "reference" / "errors.md"
SOURCE = PROJECT / "src" / "zicht"
GATES = {f"Z-GATE-00{gate}" for gate in (2, 3, 4)}
"""Made from the number of the gate."""


def _strings(path: Path) -> set[str]:
    """Codes in string literals, without those that docstrings mention."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        code
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        for code in CODE.findall(node.value)
    }


def used() -> dict[str, set[str]]:
    """Per code the modules and macros in which it stands."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        for code in _strings(path):
            if path.name == "faults.py" and code.startswith("Z-DEL"):
                # The catalogue says which code a planted fault gets; it raises none of these.
                continue
            found[code].add(str(path.relative_to(SOURCE)))
    for path in sorted((PROJECT / "dbt_project").rglob("*.sql")):
        for code in CODE.findall(path.read_text(encoding="utf-8")):
            found[code].add(path.name)
    for code in GATES:
        found[code].add("refresh/checking.py")
    return found


def page() -> tuple[str, str]:
    """The page up to and from its section on shared codes."""
    tables, _, rest = PAGE.read_text(encoding="utf-8").partition("## Shared codes")
    assert rest
    return tables, rest.partition("\n## ")[0]


def documented() -> list[str]:
    """The codes that have a row of their own in the page."""
    first_cells = re.findall(r"^\| *`?(Z-[A-Z]+-\d{3})`? *\|", page()[0], re.MULTILINE)
    return [*first_cells, *re.findall(r"^\| 1 \|.*`(Z-000)`", page()[0], re.MULTILINE)]


def test_every_code_is_documented() -> None:
    assert sorted(set(used()) - set(documented())) == []


def test_every_documented_code_exists() -> None:
    assert sorted(set(documented()) - set(used())) == []
    assert len(documented()) == len(set(documented()))


def test_a_code_of_several_modules_is_documented_as_shared() -> None:
    several = {
        code: sorted(modules - {"errors.py"})
        for code, modules in used().items()
        if len(modules - {"errors.py"}) > 1
    }
    shared = set(CODE.findall(page()[1]))
    assert {code: modules for code, modules in several.items() if code not in shared} == {}
    assert shared <= set(documented())


def test_the_gates_have_the_codes_of_their_numbers() -> None:
    assert 'code=f"Z-GATE-00{gate}"' in (SOURCE / "refresh" / "checking.py").read_text()
    assert len({*CODES.values(), OWN_RULE_CODE}) == len(CODES) + 1


@pytest.mark.parametrize("kind", ZichtError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_its_own_exit_code(kind: type[ZichtError]) -> None:
    kinds = ZichtError.__subclasses__()
    assert len({one.exit_status for one in kinds}) == len(kinds)
    assert kind.exit_status > 1
    error = kind("what", remedy="do")
    assert str(error) == f"{kind.default_code}: what Remedy: do"
    assert errors.__doc__
