"""The specification of a published table: dimensions, hierarchies, policy and history.

The file is the one that the protector reads too; the attacker reads only what is public in it.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zicht.attacker.complaints import missing_column, unreadable
from zicht.errors import AttackError

RELATIONS = ("additions", "equal", "free")
PROTECTIONS = ("exact", "interval")
ROUNDINGS = ("conventional", "controlled")
SMALL_CHANGES = ("warn", "hold", "round")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "the spec": (
        "dimensions",
        "count",
        "contributors",
        "magnitude",
        "never_hide",
        "history",
        "policy",
    ),
    "a dimension": ("hierarchies", "total", "additive"),
    "history": ("relation", "successors", "rounding"),
    "policy": (
        "minimum_frequency",
        "publish_zeros",
        "protection",
        "attacker",
        "seconds",
        "weight",
        "dominance",
        "p_percent",
        "group_disclosure",
        "minimum_denominator",
        "income",
        "method",
        "rounding",
        "small_changes",
        "infeasible",
        "missing_cells",
        "stable",
    ),
    "policy.p_percent": ("p",),
    "policy.group_disclosure": ("share", "minimum", "dimensions", "action"),
    "policy.rounding": ("base", "mode"),
    "history.rounding": ("base", "mode"),
}
"""Keys that can stand in each part; of a key that is misspelt the default would be attacked."""
_LARGEST = 1_000_000_000
"""Thresholds and bases are at most this."""
P_PERCENT = 10.0
"""Percentage of the p% rule where a spec for amounts does not give one."""


@dataclass(frozen=True)
class Dimension:
    """One column of the table.

    Attributes:
        name: name of the column and of the innermost level.
        hierarchies: lists of levels from innermost upwards, the total left out; one level each
            when there is no hierarchy.
        total: code of the total; None when no total is published.
        additive: whether the parts add up to the total (suspects by offence group do not).
    """

    name: str
    hierarchies: tuple[tuple[str, ...], ...]
    total: str | None
    additive: bool = True

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Pairs (level, level above it), each once."""
        pairs = [pair for one in self.hierarchies for pair in itertools.pairwise(one)]
        return tuple(dict.fromkeys(pairs))

    @property
    def tops(self) -> tuple[str, ...]:
        """The levels directly below the total, each once."""
        return tuple(dict.fromkeys(one[-1] for one in self.hierarchies))


@dataclass(frozen=True)
class Spec:
    """What is public about a table and the rules it was protected by.

    Attributes:
        dimensions: the columns, in order.
        is_whole: whether the values are counts (whole numbers) and not amounts.
        magnitude: column of the amounts; empty where ``value`` holds what there is.
        minimum_frequency: values from 1 up to this may not be known.
        publish_zeros: whether every zero is shown, so that a hidden cell is at least 1; not so
            where group disclosure hides some.
        hides_zeros: whether policy says that zeros may not be shown.
        protection: ``exact`` or ``interval``.
        p_percent: amounts may not be known to within this percentage; None without such a rule.
        rounding_base: base that the values were rounded to; 0 when they were not.
        rounding_mode: ``conventional`` (nearest multiple) or ``controlled`` (either neighbour).
        small_changes: what policy says of small changes: ``warn``, ``hold`` or ``round``.
        never_hide: partial keys of cells that policy always shows.
        relation: how an earlier table relates to a later one: ``additions``, ``equal``, ``free``.
        successors: pairs (old code, new code) of the first dimension with a hierarchy.
        successors_file: where these pairs were read; None when they stand in the spec itself.
        attacker: ``naive`` or ``informed``: whom policy protects against.
        earlier_rounding: base and mode of earlier tables, where the spec gives them.
    """

    dimensions: tuple[Dimension, ...]
    is_whole: bool = True
    magnitude: str = ""
    minimum_frequency: int = 10
    publish_zeros: bool = True
    hides_zeros: bool = False
    protection: str = "exact"
    p_percent: float | None = None
    rounding_base: int = 0
    rounding_mode: str = "conventional"
    small_changes: str = "warn"
    never_hide: tuple[Mapping[str, str], ...] = ()
    relation: str = "additions"
    successors: tuple[tuple[str, str], ...] = field(default=())
    successors_file: Path | None = None
    attacker: str = "informed"
    earlier_rounding: tuple[int, str] | None = None


def _wrong(name: str, what: str, remedy: str) -> AttackError:
    return AttackError(f"{name}: {what}", code="Z-ATT-002", remedy=remedy)


def _mapping(name: str, value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(name, f"{what} is not a mapping.", f"Write {what} as name: value lines.")
    return value


def _known(name: str, value: Any, what: str, kind: str = "") -> Mapping[str, Any]:
    """A mapping that has none but the keys of its kind."""
    body = _mapping(name, value, what)
    keys = _KEYS[kind or what]
    for key in body:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, 1, 0.5)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise _wrong(
                name,
                f"{what} has the unknown key {str(key)[:80]!r}.",
                f"{meant}Keys that can stand here: {', '.join(keys)}.",
            )
    return body


def _dimension(name: str, column: str, body: Mapping[str, Any]) -> Dimension:
    total = body.get("total", "Total")
    raw = body.get("hierarchies") or [[column]]
    listed = isinstance(raw, Sequence) and not isinstance(raw, str)
    if not listed or not all(
        isinstance(one, Sequence) and not isinstance(one, str) and one for one in raw
    ):
        raise _wrong(
            name,
            f"the hierarchies of {column} are not lists of levels.",
            "Write hierarchies: [[mun, prov]], from innermost upwards.",
        )
    hierarchies = tuple(tuple(str(level) for level in one) for one in raw)
    for one in hierarchies:
        if one[0] != column:
            raise _wrong(
                name,
                f"a hierarchy of {column} starts with {one[0]}.",
                "Start every hierarchy with the innermost level, which names the column.",
            )
        if len(set(one)) != len(one):
            raise _wrong(name, f"a hierarchy of {column} names a level twice.", "Name it once.")
    return Dimension(
        name=column,
        hierarchies=hierarchies,
        total=None if total is None else str(total),
        additive=_truth(name, body.get("additive", True), f"additive of {column}"),
    )


def _choice(name: str, value: Any, allowed: Sequence[str], what: str) -> str:
    if value not in allowed:
        raise _wrong(name, f"{what} is {value!r}.", f"Choose one of: {', '.join(allowed)}.")
    return str(value)


def _number(name: str, value: Any, what: str) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= _LARGEST:
        raise _wrong(
            name, f"{what} is {str(value)[:80]!r}.", f"Give a number from 0 to {_LARGEST:,}."
        )
    return float(number)


def _truth(name: str, value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, f"{what} is {str(value)[:80]!r}.", "Write true or false, unquoted.")
    return value


def _rounding(name: str, value: Any, what: str) -> tuple[int, str]:
    """Base and mode."""
    body = _known(name, value, what)
    base = _number(name, body.get("base", 5), f"{what}.base")
    mode = _choice(name, body.get("mode", "conventional"), ROUNDINGS, f"{what}.mode")
    return int(base), mode


def _successors(
    name: str, value: Any, folder: Path
) -> tuple[tuple[tuple[str, str], ...], Path | None]:
    """The pairs of old and new codes, and the file that they stand in."""
    if not value:
        return (), None
    if isinstance(value, str):
        return read_successors(folder / value), folder / value
    is_pairs = isinstance(value, Sequence) and all(
        isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2
        for pair in value
    )
    if not is_pairs or not all(isinstance(code, str) for pair in value for code in pair):
        # YAML reads an unquoted 0363 as another number; which one was meant cannot be known.
        raise _wrong(
            name,
            "history.successors is no file and no list of pairs of codes.",
            'Name a CSV with from,to, or write [["0363", "0400"]] with the codes in quotes.',
        )
    return tuple((old, new) for old, new in value), None


def read_successors(path: Path) -> tuple[tuple[str, str], ...]:
    """Reads ``from,to`` pairs of area codes.

    Raises:
        AttackError: Z-ATT-001 if the file is not there, Z-ATT-003 if it lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise unreadable(
            f"{path}: cannot be read: {error.strerror}.",
            "Give the path of the file with successors, relative to the spec.",
        ) from error
    if rows and not {"from", "to"} <= set(rows[0]):
        missing = next(name for name in ("from", "to") if name not in rows[0])
        raise missing_column(str(path), missing, ("from", "to"))
    return tuple((row["from"], row["to"]) for row in rows)


def parse_spec(document: Any, *, name: str = "spec", folder: Path | None = None) -> Spec:
    """Makes a Spec of what the YAML says.

    Args:
        document: the parsed YAML.
        name: what error messages call it.
        folder: where relative paths in it start; the working directory when omitted.

    Raises:
        AttackError: Z-ATT-002 naming the field that is wrong; Z-ATT-001 and Z-ATT-003 for the file
            with successors.
    """
    top = _known(name, document, "the spec")
    bodies = _mapping(name, top.get("dimensions"), "dimensions")
    if not bodies:
        raise _wrong(name, "no dimensions.", "Name every dimension column below dimensions.")
    policy = _known(name, top.get("policy"), "policy")
    history = _known(name, top.get("history"), "history")
    base, mode = _rounding(name, policy.get("rounding"), "policy.rounding")
    rounds = policy.get("method", "suppress") == "round"
    percent = policy.get("p_percent", P_PERCENT if top.get("magnitude") else None)
    if isinstance(percent, Mapping):
        percent = _known(name, percent, "policy.p_percent").get("p", P_PERCENT)
    given = top.get("magnitude")
    magnitude = given if isinstance(given, Mapping) else {"total": given} if given else {}
    group = policy.get("group_disclosure")
    group = None if group is None else _known(name, group, "policy.group_disclosure")
    hides_some = group is not None and group.get("action", "hide") == "hide"
    shows_zeros = _truth(name, policy.get("publish_zeros", True), "policy.publish_zeros")
    successors, source = _successors(name, history.get("successors"), folder or Path())
    earlier = history.get("rounding")
    never = top.get("never_hide") or []
    if not isinstance(never, Sequence) or not all(isinstance(one, Mapping) for one in never):
        raise _wrong(name, "never_hide is not a list of keys.", "Write - {mun: Total}.")
    return Spec(
        dimensions=tuple(
            _dimension(name, str(column), _known(name, body, f"dimension {column}", "a dimension"))
            for column, body in bodies.items()
        ),
        is_whole=not magnitude,
        magnitude=str(magnitude.get("total", "")),
        minimum_frequency=int(
            _number(name, policy.get("minimum_frequency", 10), "policy.minimum_frequency")
        ),
        publish_zeros=shows_zeros and not hides_some,
        hides_zeros=not shows_zeros,
        protection=_choice(
            name, policy.get("protection", "exact"), PROTECTIONS, "policy.protection"
        ),
        p_percent=None if percent is None else _number(name, percent, "policy.p_percent"),
        rounding_base=base if rounds else 0,
        rounding_mode=mode,
        small_changes=_choice(
            name, policy.get("small_changes", "warn"), SMALL_CHANGES, "policy.small_changes"
        ),
        never_hide=tuple({str(k): str(v) for k, v in one.items()} for one in never),
        relation=_choice(name, history.get("relation", "additions"), RELATIONS, "history.relation"),
        successors=successors,
        successors_file=source,
        attacker=_choice(
            name, policy.get("attacker", "informed"), ("naive", "informed"), "policy.attacker"
        ),
        earlier_rounding=None if earlier is None else _rounding(name, earlier, "history.rounding"),
    )


def load_spec(path: Path) -> Spec:
    """Reads spec.yaml.

    Raises:
        AttackError: Z-ATT-001 if it cannot be read, Z-ATT-002 if it is not a spec, Z-ATT-003 for
            the file with successors.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise unreadable(
            f"{path}: cannot be read: {error.strerror}.",
            "Give the path of the spec that the table was protected with.",
        ) from error
    # A date that does not exist is a ValueError, brackets without end a RecursionError.
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _wrong(str(path), f"not YAML in UTF-8: {error}", "Correct the file.") from error
    return parse_spec(document, name=str(path), folder=path.parent)
