"""The specification of a published table: dimensions, hierarchies, policy and history.

The file is the one that the protector reads too; the attacker reads only what is public in it.
"""

from __future__ import annotations

import csv
import itertools
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
        minimum_frequency: values from 1 up to this may not be known.
        publish_zeros: whether zeros are shown, so that a hidden cell is at least 1.
        protection: ``exact`` or ``interval``.
        p_percent: amounts may not be known to within this percentage; None without such a rule.
        rounding_base: base that the values were rounded to; 0 when they were not.
        rounding_mode: ``conventional`` (nearest multiple) or ``controlled`` (either neighbour).
        small_changes: what policy says of small changes: ``warn``, ``hold`` or ``round``.
        never_hide: partial keys of cells that policy always shows.
        relation: how an earlier table relates to a later one: ``additions``, ``equal``, ``free``.
        successors: pairs (old code, new code) of the first dimension with a hierarchy.
    """

    dimensions: tuple[Dimension, ...]
    is_whole: bool = True
    minimum_frequency: int = 10
    publish_zeros: bool = True
    protection: str = "exact"
    p_percent: float | None = None
    rounding_base: int = 0
    rounding_mode: str = "conventional"
    small_changes: str = "warn"
    never_hide: tuple[Mapping[str, str], ...] = ()
    relation: str = "additions"
    successors: tuple[tuple[str, str], ...] = field(default=())


def _wrong(name: str, what: str, remedy: str) -> AttackError:
    return AttackError(f"{name}: {what}", code="Z-ATT-002", remedy=remedy)


def _mapping(name: str, value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(name, f"{what} is not a mapping.", f"Write {what} as name: value lines.")
    return value


def _dimension(name: str, column: str, body: Mapping[str, Any]) -> Dimension:
    total = body.get("total")
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
        additive=bool(body.get("additive", True)),
    )


def _choice(name: str, value: Any, allowed: Sequence[str], what: str) -> str:
    if value not in allowed:
        raise _wrong(name, f"{what} is {value!r}.", f"Choose one of: {', '.join(allowed)}.")
    return str(value)


def _number(name: str, value: Any, what: str) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is None or number < 0:
        raise _wrong(name, f"{what} is {value!r}.", "Give a number of zero or more.")
    return float(number)


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
    top = _mapping(name, document, "the spec")
    bodies = _mapping(name, top.get("dimensions"), "dimensions")
    if not bodies:
        raise _wrong(name, "no dimensions.", "Name every dimension column below dimensions.")
    policy = _mapping(name, top.get("policy"), "policy")
    history = _mapping(name, top.get("history"), "history")
    rounding = _mapping(name, policy.get("rounding"), "policy.rounding")
    rounds = policy.get("method", "suppress") == "round"
    percent = policy.get("p_percent")
    if isinstance(percent, Mapping):
        percent = percent.get("p")
    successors: tuple[tuple[str, str], ...] = ()
    if history.get("successors"):
        successors = read_successors((folder or Path()) / str(history["successors"]))
    never = top.get("never_hide") or []
    if not isinstance(never, Sequence) or not all(isinstance(one, Mapping) for one in never):
        raise _wrong(name, "never_hide is not a list of keys.", "Write - {mun: Total}.")
    return Spec(
        dimensions=tuple(
            _dimension(name, str(column), _mapping(name, body, f"dimension {column}"))
            for column, body in bodies.items()
        ),
        is_whole=not top.get("magnitude"),
        minimum_frequency=int(
            _number(name, policy.get("minimum_frequency", 10), "policy.minimum_frequency")
        ),
        publish_zeros=bool(policy.get("publish_zeros", True)),
        protection=_choice(
            name, policy.get("protection", "exact"), PROTECTIONS, "policy.protection"
        ),
        p_percent=None if percent is None else _number(name, percent, "policy.p_percent"),
        rounding_base=int(_number(name, rounding.get("base", 5), "policy.rounding.base"))
        if rounds
        else 0,
        rounding_mode=_choice(
            name, rounding.get("mode", "conventional"), ROUNDINGS, "policy.rounding.mode"
        ),
        small_changes=_choice(
            name, policy.get("small_changes", "warn"), SMALL_CHANGES, "policy.small_changes"
        ),
        never_hide=tuple({str(k): str(v) for k, v in one.items()} for one in never),
        relation=_choice(name, history.get("relation", "additions"), RELATIONS, "history.relation"),
        successors=successors,
    )


def load_spec(path: Path) -> Spec:
    """Reads spec.yaml.

    Raises:
        AttackError: Z-ATT-001 if it cannot be read, Z-ATT-002 if it is not a spec, Z-ATT-003 for
            the file with successors.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(
            f"{path}: cannot be read: {error.strerror}.",
            "Give the path of the spec that the table was protected with.",
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _wrong(str(path), f"not YAML in UTF-8: {error}", "Correct the file.") from error
    return parse_spec(document, name=str(path), folder=path.parent)
