"""Reads suites from YAML: what must hold, for which relations, and what to do when it does not.

One file per gate, in ``expectations/suites/``::

    gate: 3
    suites:
      - name: observations are plausible
        relations: "mart_*"        # a glob, or a list of them; one suite for each match
        optional: false            # the default: that nothing matches is an error
        checks:
          - name: one_row_per_region_and_period
            description: Every region has one row per period.
            expect: expect_compound_columns_to_be_unique
            with: {column_list: [region_code, reference_period]}
            severity: fail
            remedy: Look for a join that multiplies rows.
          - name: "{{ item }}_is_positive"
            for_each: "parameters.counts"
            description: "{{ item }} is not negative."
            rows: select * from {{ relation }} where {{ item }} < 0
            severity: warn
            remedy: Ask the provider.

Every text is a Jinja2 template in which a name that does not exist is an error. It knows
``relation``, ``parameters``, ``item`` (with ``for_each``), ``columns(relation)``, and the filters
``literal`` and ``identifier``, which write a value and a name as SQL. A text under ``with`` that is
one expression and nothing else keeps the type of its value: ``"{{ parameters.maximum }}"`` is a
number when the parameter is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from zicht.errors import ConfigurationError
from zicht.gates.model import ROWS, Check, Severity, Suite

_FILE_KEYS = frozenset({"gate", "suites"})
_SUITE_KEYS = frozenset({"name", "relations", "optional", "checks"})
_CHECK_KEYS = frozenset(
    {"name", "description", "expect", "with", "rows", "severity", "remedy", "for_each"}
)
_TEMPLATE_FAULTS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_EXPRESSION = re.compile(r"^\s*\{\{(?P<expression>((?!\}\}).)*)\}\}\s*$", re.DOTALL)


@dataclass(frozen=True)
class _Where:
    """A place in a suite file, for messages."""

    path: Path
    suite: str | None = None
    check: str | None = None

    def error(self, what: str, *, code: str = "Z-CFG-021") -> ConfigurationError:
        """The error that says what is wrong here."""
        suite = f", suite {self.suite!r}" if self.suite else ""
        check = f", check {self.check!r}" if self.check else ""
        return ConfigurationError(
            f"{self.path}{suite}{check}: {what}.",
            code=code,
            remedy="Correct the suite file; src/zicht/gates/suites.py describes its form.",
        )


def load_suites(
    path: Path, *, relations: Sequence[str], parameters: Mapping[str, Any]
) -> list[Suite]:
    """Reads a suite file and lays it on the relations that are there.

    Args:
        path: the YAML file.
        relations: tables and views that the database may have, in its main schema.
        parameters: what the templates may use. ``parameters["columns"]``, when given, maps each
            relation to its column names and feeds ``columns(relation)``; a relation that is not
            in it is not there yet and has no suite.

    Returns:
        The suites in the order of the file, those of one declaration by name of relation.

    Raises:
        ConfigurationError: Z-CFG-021 if the file is not as described above, naming file, suite
            and check; Z-CFG-024 if no relation matches and the suite is not optional.
    """
    where = _Where(path)
    document = _mapping(_read(where), _FILE_KEYS, where)
    gate = document.get("gate")
    if type(gate) is not int or not 1 <= gate <= 4:
        raise where.error(f"gate is {gate!r}, and must be 1, 2, 3 or 4")
    columns = parameters.get("columns")
    seen: set[str] = set()
    loaded: list[Suite] = []
    for entry in _list(document, "suites", where):
        declared = _mapping(entry, _SUITE_KEYS, where)
        name = _text(declared, "name", where)
        inside = replace(where, suite=name)
        if name in seen:
            raise inside.error("another suite has this name")
        seen.add(name)
        loaded += [
            Suite(gate, name, relation, _checks(declared, relation, parameters, inside))
            for relation in _matches(declared, relations, inside)
            if columns is None or relation in columns
        ]
    return loaded


def _matches(declared: Mapping[str, Any], relations: Sequence[str], where: _Where) -> list[str]:
    """The relations that a suite is for, by name."""
    globs = declared.get("relations")
    globs = [globs] if isinstance(globs, str) else globs
    if not isinstance(globs, list) or not globs or not all(isinstance(g, str) for g in globs):
        raise where.error("'relations' must be a glob such as \"mart_*\", or a list of them")
    optional = declared.get("optional", False)
    if not isinstance(optional, bool):
        raise where.error("'optional' must be true or false")
    found = {r for r in relations if any(fnmatchcase(r, glob) for glob in globs)}
    if not found and not optional:
        raise where.error(
            f"no relation matches {', '.join(globs)}, so nothing would be checked",
            code="Z-CFG-024",
        )
    return sorted(found)


def _checks(
    declared: Mapping[str, Any], relation: str, parameters: Mapping[str, Any], where: _Where
) -> tuple[Check, ...]:
    """The checks of a suite on one relation."""
    made: dict[str, Check] = {}
    for number, entry in enumerate(_list(declared, "checks", where), start=1):
        named = entry.get("name") if isinstance(entry, Mapping) else None
        inside = replace(where, check=named if isinstance(named, str) else f"number {number}")
        for check in _expand(_mapping(entry, _CHECK_KEYS, inside), relation, parameters, inside):
            if check.name in made:
                raise inside.error(f"another check of this suite is called {check.name!r}")
            made[check.name] = check
    return tuple(made.values())


def _expand(
    entry: Mapping[str, Any], relation: str, parameters: Mapping[str, Any], where: _Where
) -> Iterator[Check]:
    """One check, or one for each item of ``for_each``."""
    names: dict[str, Any] = {
        "relation": relation,
        "parameters": parameters,
        "columns": _columns_of(parameters),
    }
    if "for_each" not in entry:
        yield _check(entry, names, where)
        return
    items = _evaluate(_text(entry, "for_each", where), names, where)
    if isinstance(items, str | Mapping) or not isinstance(items, Iterable):
        raise where.error(f"'for_each' must give a list, and gives {items!r}")
    for item in items:
        yield _check(entry, names | {"item": item}, where)


def _check(entry: Mapping[str, Any], names: Mapping[str, Any], where: _Where) -> Check:
    name = _render(_text(entry, "name", where), names, where)
    if not _NAME.match(name):
        raise where.error(f"the name {name!r} is not in snake_case")
    severity = _text(entry, "severity", where)
    if severity not in list(Severity):
        raise where.error(f"'severity' is {severity!r}, and must be fail or warn")
    if ("rows" in entry) == ("expect" in entry):
        raise where.error("write either 'expect' or 'rows'")
    if "rows" in entry and "with" in entry:
        raise where.error("'with' belongs to 'expect'; put what 'rows' needs in its SQL")
    kwargs = entry.get("with", {})
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise where.error("'with' must be a mapping of arguments")
    is_sql = "rows" in entry
    return Check(
        name=name,
        description=_render(_text(entry, "description", where), names, where),
        expectation=ROWS if is_sql else _text(entry, "expect", where),
        severity=Severity(severity),
        remedy=_render(_text(entry, "remedy", where), names, where),
        kwargs={key: _render_value(value, names, where) for key, value in kwargs.items()},
        sql=_render(_text(entry, "rows", where), names, where).strip() if is_sql else None,
    )


def _columns_of(parameters: Mapping[str, Any]) -> Callable[[str], list[str]]:
    """The helper ``columns(relation)``."""

    def columns(relation: str) -> list[str]:
        known = parameters.get("columns", {})
        if relation not in known:
            raise UndefinedError(f"the columns of {relation!r} are not known")
        return list(known[relation])

    return columns


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Template:
    """A template of a suite serves every relation that the suite is for."""
    return _ENVIRONMENT.from_string(text)


def _render(text: str, names: Mapping[str, Any], where: _Where) -> str:
    if "{" not in text:
        return text
    try:
        return _compiled(text).render(names)
    except _TEMPLATE_FAULTS as error:
        raise where.error(f"the template {text.strip()!r} fails: {error}") from error


def _evaluate(expression: str, names: Mapping[str, Any], where: _Where) -> Any:
    """The value of a bare Jinja2 expression, with its type."""
    try:
        value = _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)(**names)
        if isinstance(value, Undefined):
            # A strict undefined complains when it is written out.
            str(value)
    except _TEMPLATE_FAULTS as error:
        raise where.error(f"the expression {expression.strip()!r} fails: {error}") from error
    return value


def _render_value(value: Any, names: Mapping[str, Any], where: _Where) -> Any:
    """Renders the texts in an argument, however deep they lie."""
    match value:
        case str():
            whole = _EXPRESSION.match(value)
            if whole:
                return _evaluate(whole["expression"], names, where)
            return _render(value, names, where)
        case Mapping():
            return {key: _render_value(item, names, where) for key, item in value.items()}
        case list():
            return [_render_value(item, names, where) for item in value]
    return value


def sql_literal(value: Any) -> str:
    """Writes a value as SQL: text quoted, a list as ``(1, 2)``.

    Raises:
        TypeError: for a value that has no literal.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else f"'{value}'::double"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case datetime():
            return f"timestamp '{value.isoformat(sep=' ')}'"
        case date():
            return f"date '{value.isoformat()}'"
        case list() | tuple() if value:
            return "(" + ", ".join(sql_literal(item) for item in value) + ")"
    raise TypeError(f"{value!r} cannot be written as an SQL literal")


def sql_identifier(name: str) -> str:
    """Writes a name as SQL, quoted."""
    return '"' + str(name).replace('"', '""') + '"'


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    environment.filters |= {"literal": sql_literal, "identifier": sql_identifier}
    return environment


_ENVIRONMENT = _environment()


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key that is there twice, where PyYAML lets the last one win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _read(where: _Where) -> Any:
    try:
        # The loader is PyYAML's safe one.
        return yaml.load(where.path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise where.error(f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise where.error(f"is not YAML: {' '.join(str(error).split())}") from error


def _mapping(value: Any, allowed: frozenset[str], where: _Where) -> Mapping[str, Any]:
    """The value, if it is a mapping with no keys but the allowed ones."""
    if not isinstance(value, Mapping):
        raise where.error(f"expected a mapping with {', '.join(sorted(allowed))}")
    if unknown := [str(key) for key in value if key not in allowed]:
        raise where.error(
            f"unknown {', '.join(map(repr, unknown))}; allowed is {', '.join(sorted(allowed))}"
        )
    return value


def _list(declared: Mapping[str, Any], key: str, where: _Where) -> list[Any]:
    value = declared.get(key)
    if not isinstance(value, list) or not value:
        raise where.error(f"{key!r} must be a list with at least one entry")
    return value


def _text(declared: Mapping[str, Any], key: str, where: _Where) -> str:
    value = declared.get(key)
    if not isinstance(value, str) or not value.strip():
        raise where.error(f"{key!r} is missing or is not a text")
    return value if key == "rows" else value.strip()
