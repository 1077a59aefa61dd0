"""The spec of a table: its dimensions, its measures, its policy and its past.

Read from YAML, checked to the last key, and nothing assumed: what a spec does not say has the
default that is documented at the field, each with its basis.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from zicht.errors import DisclosureError

ROUTES = ("hide_more", "merge", "round", "hold_back")
"""What policy can choose where the guarantee cannot be had, see :attr:`CellPolicy.infeasible`."""
MOST = 1_000_000_000
"""Thresholds and bases are at most this."""
RESERVED = (
    *("value", "obs_status", "conf_status", "rounding_base", "rounding_mode"),
    *("kind", "rules", "shields", "lower", "upper", "largest_share"),
)
"""Columns of what is published and of the internal explanation: no level can be called so."""


@dataclass(frozen=True)
class Dominance:
    """(n,k) rule: a cell is unsafe if its ``n`` largest contributions exceed ``k`` % of its total.

    Basis: Statistics Netherlands protects business figures with n = 1 or 2 and k about 75
    (Hundepool et al., Handbook on Statistical Disclosure Control, section 4.2.2).
    """

    n: int = 1
    k: float = 75.0


@dataclass(frozen=True)
class PPercent:
    """p% rule: unsafe if the second contributor can estimate the largest within ``p`` %.

    Basis: Hundepool et al., Handbook on Statistical Disclosure Control, section 4.2.2; 10 is the
    value most used by statistical offices.
    """

    p: float = 10.0


@dataclass(frozen=True)
class GroupDisclosure:
    """A category that holds nearly all of its margin says something about everyone in the group.

    Attributes:
        share: from this share of the margin on, the category is unsafe.
        minimum: fewest units of the margin that must lie outside the category.
        dimensions: whose categories are looked at; those without a hierarchy when empty.
        action: ``hide`` the category (and, where zeros would give it away, these too), ``merge``
            it with its smallest neighbour, or ``round`` the whole table.

    Basis: output guideline of Statistics Netherlands for microdata (group disclosure at 90%).
    """

    share: float = 0.9
    minimum: int = 1
    dimensions: tuple[str, ...] = ()
    action: str = "hide"


@dataclass(frozen=True)
class Income:
    """The rules of Statistics Netherlands for income and wealth.

    Attributes:
        base: counts are rounded to this.
        minimum_units: percentages, means and sums only from this many units on.
        largest_share: the largest and the smallest value are each at most this share of the sum;
            contributions are not negative, so that the largest settles it for both.
    """

    base: int = 100
    minimum_units: int = 100
    largest_share: float = 0.3


@dataclass(frozen=True)
class Rounding:
    """Rounding as the method of protection.

    Attributes:
        base: values become multiples of it. 5 is what Statistics Netherlands uses for crime.
        mode: ``conventional`` (each value to the nearest multiple, tables stop adding up) or
            ``controlled`` (tables stay additive, each value within one base of its true value).
    """

    base: int = 5
    mode: str = "conventional"


@dataclass(frozen=True)
class CellPolicy:
    """What is promised about a table, and at which price.

    Attributes:
        minimum_frequency: smallest count that may be shown, apart from zero. 10: output guideline
            of Statistics Netherlands for microdata.
        publish_zeros: zeros are shown, and the attacker knows that they are. False: zeros are
            primary cells as well, and he only knows that cells are at least zero.
        protection: ``exact``: no hidden cell can be computed. ``interval``: moreover what can be
            inferred of a primary cell reaches up to ``minimum_frequency`` and down to the lowest
            value that can be had.
        attacker: ``informed`` knows that a hidden cell is at least 1 when zeros are published;
            ``naive`` that it is at least 0.
        seconds: time for finding a cheaper pattern; safety is never given up for it.
        weight: what hiding a cell costs: its ``value``, ``count`` (each cell 1), or ``level``
            (its value, times one plus the levels that it stands above the innermost).
        dominance: (n,k) rule; only with magnitudes, None for not applied.
        p_percent: p% rule; only with magnitudes, None for not applied.
        group_disclosure: None for not applied: whether belonging to a category tells anything
            is for whoever owns the table to say.
        minimum_denominator: smallest denominator of a rate; ``minimum_frequency`` when None.
        income: rules for income; None for a table that is not about income or wealth.
        method: ``suppress`` or ``round``.
        rounding: base and mode; also used by the fallback ``round``.
        small_changes: what to do when a shown value differs from the one of an earlier release by
            1 to ``minimum_frequency`` - 1: ``warn``, ``hold`` (write nothing) or ``round``.
        infeasible: tried in this order where the guarantee cannot be had: ``hide_more`` (also
            cells of ``never_hide``), ``merge`` (categories), ``round``, ``hold_back``.
        missing_cells: ``error``, or ``zero``: a combination that is not in the file counts zero.
        stable: what the last release hid stays hidden, and as few cells flip as possible.
    """

    minimum_frequency: int = 10
    publish_zeros: bool = True
    protection: str = "exact"
    attacker: str = "informed"
    seconds: float = 60.0
    weight: str = "value"
    dominance: Dominance | None = field(default_factory=Dominance)
    p_percent: PPercent | None = field(default_factory=PPercent)
    group_disclosure: GroupDisclosure | None = None
    minimum_denominator: int | None = None
    income: Income | None = None
    method: str = "suppress"
    rounding: Rounding = field(default_factory=Rounding)
    small_changes: str = "warn"
    infeasible: tuple[str, ...] = ("hold_back",)
    missing_cells: str = "error"
    stable: bool = True

    @property
    def zeros_are_known(self) -> bool:
        """Whether the attacker may take a hidden cell to be at least 1.

        Where group disclosure hides zeros as well, a hidden cell can be one of them.
        """
        group = self.group_disclosure
        return (
            self.attacker == "informed"
            and self.publish_zeros
            and not (group is not None and group.action == "hide")
        )


@dataclass(frozen=True)
class Dimension:
    """One dimension of a table.

    Attributes:
        name: name of the innermost level, and of the column in what is published.
        hierarchies: levels from the innermost upwards; each ends below the total.
        total: code of the total; None if no total is published.
        additive: False where parts do not sum to their total (a suspect counts in every group):
            then totals are given as rows and protected as cells of their own.
    """

    name: str
    hierarchies: tuple[tuple[str, ...], ...]
    total: str | None
    additive: bool = True

    @property
    def levels(self) -> tuple[str, ...]:
        """All levels, the innermost first, each once."""
        return tuple(dict.fromkeys(level for chain in self.hierarchies for level in chain))


@dataclass(frozen=True)
class Magnitude:
    """Columns of a magnitude: total, largest and second largest contribution, contributors."""

    total: str
    largest: str
    second: str
    contributors: str


@dataclass(frozen=True)
class History:
    """How earlier releases relate to this one.

    Attributes:
        relation: ``additions`` (late records only add), ``equal`` (the same facts in another
            shape) or ``free`` (nothing is assumed).
        successors: ``(from, to)`` innermost codes of the first hierarchical dimension, for
            releases in another geography year.
        rounding: how earlier values were rounded; None for as :meth:`Spec.published_rounding`.
        successors_file: where the successors were read; None when they stand in the spec itself.
    """

    relation: str = "additions"
    successors: tuple[tuple[str, str], ...] = ()
    rounding: Rounding | None = None
    successors_file: Path | None = None


@dataclass(frozen=True)
class Spec:
    """Everything that is declared about one table; :func:`load_spec` reads it from YAML.

    ``contributors`` is the column with how many contributors the count of a cell is of, where one
    may count more than once; None when every unit has its own.
    """

    dimensions: tuple[Dimension, ...]
    count: str
    magnitude: Magnitude | None = None
    contributors: str | None = None
    never_hide: tuple[Mapping[str, str], ...] = ()
    history: History = field(default_factory=History)
    policy: CellPolicy = field(default_factory=CellPolicy)
    name: str = "spec"

    @property
    def published_rounding(self) -> Rounding | None:
        """How counts are rounded in what is published; None for not at all."""
        if self.policy.method == "round":
            return self.policy.rounding
        if self.policy.income is not None:
            return Rounding(self.policy.income.base, "conventional")
        return None

    def dimension(self, name: str) -> Dimension:
        """The dimension of this name."""
        return next(one for one in self.dimensions if one.name == name)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
"""Shows what was given, however long it is or deep."""


def wrong(name: str, rule: str, remedy: str, code: str) -> DisclosureError:
    """An error about a file: which one, what does not hold, what to do."""
    return DisclosureError(f"{name}: {rule}.", code=code, remedy=remedy)


def _known(document: Any, known: Sequence[str], where: str, name: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise wrong(
            name,
            f"{where} is {_SHORT.repr(document)}, not a list of keys with values",
            f"Keys that can stand here: {', '.join(known)}.",
            "Z-DIS-012",
        )
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise wrong(
                name,
                f"{where} has the unknown key {key!r}",
                f"{meant}Keys that can stand here: {', '.join(known)}.",
                "Z-DIS-011",
            )
    return document


def _bad(name: str, key: str, value: Any, wanted: str) -> DisclosureError:
    return wrong(name, f"{key} is {_SHORT.repr(value)}", f"It must be {wanted}.", "Z-DIS-012")


Check = Callable[[Any, str, str], Any]


def _number(low: float, high: float = MOST, *, whole: bool = False) -> Check:
    def check(value: Any, key: str, name: str) -> Any:
        bounds = f"{'a whole number' if whole else 'a number'} from {low:,g} to {high:,.10g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad(name, key, value, bounds)
        if not low <= value <= high or (whole and value != int(value)):
            raise _bad(name, key, value, bounds)
        return int(value) if whole else float(value)

    return check


def _choice(*options: str) -> Check:
    def check(value: Any, key: str, name: str) -> Any:
        if value not in options:
            near = difflib.get_close_matches(str(value), options, 1, 0.5)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise _bad(name, key, value, f"one of {', '.join(options)}{meant}")
        return value

    return check


def _truth(value: Any, key: str, name: str) -> Any:
    if not isinstance(value, bool):
        raise _bad(name, key, value, "true or false")
    return value


def _text(value: Any, key: str, name: str) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise _bad(name, key, value, "a name")
    return value


def _texts(value: Any, key: str, name: str) -> Any:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _bad(name, key, value, "a list of names")
    return tuple(value)


def _routes(value: Any, key: str, name: str) -> Any:
    for one in _texts(value, key, name):
        _choice(*ROUTES)(one, key, name)
    # Something must be last, and the only thing that is always safe is to publish nothing.
    return tuple(dict.fromkeys((*value, "hold_back")))


def _optional(inner: Check) -> Check:
    return lambda value, key, name: None if value is None else inner(value, key, name)


def _part(made: type, **checks: Check) -> Check:
    def check(value: Any, key: str, name: str) -> Any:
        document = _known(value, list(checks), key, name)
        needed = [
            one.name
            for one in fields(made)
            if one.default is MISSING and one.default_factory is MISSING
        ]
        for one in needed:
            if one not in document:
                raise wrong(name, f"{key} lacks {one}", f"Add {one} to {key}.", "Z-DIS-012")
        return made(
            **{one: checks[one](own, f"{key}.{one}", name) for one, own in document.items()}
        )

    return check


_ROUNDING = _part(Rounding, base=_number(2, whole=True), mode=_choice("conventional", "controlled"))
_POLICY = _part(
    CellPolicy,
    minimum_frequency=_number(1, whole=True),
    publish_zeros=_truth,
    protection=_choice("exact", "interval"),
    attacker=_choice("naive", "informed"),
    seconds=_number(0.1, 86_400),
    weight=_choice("value", "count", "level"),
    dominance=_optional(_part(Dominance, n=_number(1, 2, whole=True), k=_number(1, 100))),
    p_percent=_optional(_part(PPercent, p=_number(0.01, 1000))),
    group_disclosure=_optional(
        _part(
            GroupDisclosure,
            share=_number(0.5, 1),
            minimum=_number(0, whole=True),
            dimensions=_texts,
            action=_choice("hide", "merge", "round"),
        )
    ),
    minimum_denominator=_optional(_number(1, whole=True)),
    income=_optional(
        _part(
            Income,
            base=_number(1, whole=True),
            minimum_units=_number(1, whole=True),
            largest_share=_number(0.01, 1),
        )
    ),
    method=_choice("suppress", "round"),
    rounding=_ROUNDING,
    small_changes=_choice("warn", "hold", "round"),
    infeasible=_routes,
    missing_cells=_choice("error", "zero"),
    stable=_truth,
)
_MAGNITUDE = _part(Magnitude, total=_text, largest=_text, second=_text, contributors=_text)


def _chains(value: Any, key: str, name: str, own: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(chain, list) for chain in value):
        raise _bad(name, key, value, f"a list of lists of levels, such as [[{own}, region]]")
    for chain in value:
        if not chain or chain[0] != own:
            raise wrong(
                name,
                f"{key}: {chain} does not begin with {own}",
                f"Write every hierarchy from the innermost level upwards: [{own}, …].",
                "Z-DIS-013",
            )
        for level in chain:
            _text(level, key, name)
            if chain.count(level) > 1:
                raise wrong(
                    name,
                    f"{key}: {chain} is a cycle, {level} stands in it twice",
                    "Name every level of a hierarchy once; leave the total out.",
                    "Z-DIS-013",
                )
    above: dict[str, set[str]] = {}
    for chain in value:
        for position, level in enumerate(chain):
            above.setdefault(level, set()).update(chain[position + 1 :])
    for level, uppers in above.items():
        for upper in uppers:
            if level in above[upper]:
                raise wrong(
                    name,
                    f"{key}: a cycle, {level} lies below {upper} and above it",
                    "Order the levels in the same way in every hierarchy.",
                    "Z-DIS-013",
                )
    return tuple(tuple(chain) for chain in value)


def _dimension(own: Any, value: Any, name: str) -> Dimension:
    _text(own, "dimensions", name)
    key = f"dimensions.{own}"
    document = _known(
        {} if value is None else value, ["hierarchies", "total", "additive"], key, name
    )
    total = document.get("total", "Total")
    if total is not None:
        _text(total, f"{key}.total", name)
    chains = _chains(document.get("hierarchies", [[own]]), f"{key}.hierarchies", name, own)
    if not chains:
        chains = ((own,),)
    additive = _truth(document.get("additive", True), f"{key}.additive", name)
    return Dimension(own, chains, total, additive)


def _never_hide(value: Any, dimensions: Sequence[Dimension], name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _bad(name, "never_hide", value, "a list of cells such as [{mun: Total}]")
    names = [one.name for one in dimensions]
    cells = []
    for cell in value:
        known = _known(cell, names, "never_hide", name)
        cells.append({key: str(code) for key, code in known.items()})
    return tuple(cells)


def read_successors(path: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of codes from a CSV with the columns ``from`` and ``to``.

    Raises:
        DisclosureError: Z-DIS-037 naming the file.
    """
    from zicht.disclosure.reading import read_columns

    columns = read_columns(path, code="Z-DIS-037")
    if not {"from", "to"} <= set(columns):
        raise wrong(
            path.name,
            "the columns from and to are not both there",
            "Write one row per pair of an earlier and a later innermost code.",
            "Z-DIS-037",
        )
    pairs = tuple(
        (str(a).strip(), str(b).strip())
        for a, b in zip(columns["from"], columns["to"], strict=True)
    )
    for pair in pairs:
        if not all(pair):
            raise wrong(path.name, f"a code is empty in {pair}", "Fill both columns.", "Z-DIS-037")
    return pairs


def _history(value: Any, folder: Path, name: str) -> History:
    document = _known(value, ["relation", "successors", "rounding"], "history", name)
    relation = document.get("relation", "additions")
    _choice("additions", "equal", "free")(relation, "history.relation", name)
    rounding = document.get("rounding")
    if rounding is not None:
        rounding = _ROUNDING(rounding, "history.rounding", name)
    successors = document.get("successors")
    if successors is None:
        return History(relation, (), rounding)
    if isinstance(successors, str):
        source = folder / successors
        return History(relation, read_successors(source), rounding, source)
    # YAML reads an unquoted 0363 as another number; which one was meant cannot be known.
    if not isinstance(successors, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)
        for pair in successors
    ):
        wanted = "a file or a list of [from, to], with the codes in quotes"
        raise _bad(name, "history.successors", successors, wanted)
    return History(relation, tuple((a, b) for a, b in successors), rounding)


def spec_of(document: Any, *, name: str = "spec", folder: Path | None = None) -> Spec:
    """A spec from its plain form, as YAML reads it.

    Args:
        name: what errors call it.
        folder: where files that it names lie; the working directory when None.

    Raises:
        DisclosureError: Z-DIS-011 to Z-DIS-014 naming the key and the nearest known one.
    """
    known = ["dimensions", "count", "contributors", "magnitude", "never_hide", "history", "policy"]
    top = _known(document, known, "the spec", name)
    for key in ("dimensions", "count"):
        if key not in top:
            raise wrong(name, f"the spec lacks {key}", f"Add {key}.", "Z-DIS-012")
    if not isinstance(top["dimensions"], Mapping) or not top["dimensions"]:
        raise _bad(name, "dimensions", top["dimensions"], "at least one dimension, by name")
    dimensions = tuple(_dimension(own, value, name) for own, value in top["dimensions"].items())
    levels = [level for one in dimensions for level in one.levels]
    # Parquet files and databases do not tell a from A.
    lowered = [level.lower() for level in levels]
    for level in levels:
        if lowered.count(level.lower()) > 1:
            raise wrong(
                name,
                f"the level {level} stands in two dimensions (capitals do not count)",
                "Give every level a name of its own.",
                "Z-DIS-013",
            )
    for level in levels:
        if level.lower() in RESERVED:
            raise wrong(
                name,
                f"a level is called {level}, as a column of what is written",
                "Call it otherwise.",
                "Z-DIS-013",
            )
    policy = _POLICY(top.get("policy") or {}, "policy", name)
    magnitude = top.get("magnitude")
    spec = Spec(
        dimensions=dimensions,
        count=_text(top["count"], "count", name),
        contributors=_text(top["contributors"], "contributors", name)
        if top.get("contributors") is not None
        else None,
        magnitude=None if magnitude is None else _MAGNITUDE(magnitude, "magnitude", name),
        never_hide=_never_hide(top.get("never_hide") or [], dimensions, name),
        history=_history(top.get("history") or {}, folder or Path(), name),
        policy=policy,
        name=name,
    )
    check_fit(spec)
    return spec


def check_fit(spec: Spec) -> None:
    """Whether the parts of a spec fit each other.

    Raises:
        DisclosureError: Z-DIS-014.
    """
    policy = spec.policy
    group = policy.group_disclosure
    if group is not None:
        names = [one.name for one in spec.dimensions if one.total is not None]
        for one in group.dimensions:
            if one not in names:
                raise wrong(
                    spec.name,
                    f"policy.group_disclosure.dimensions: {one} is no dimension with a total",
                    f"Choose from: {', '.join(names) or 'none has a total'}.",
                    "Z-DIS-014",
                )
    if policy.income is not None and spec.magnitude is None:
        raise wrong(
            spec.name,
            "policy.income asks for the largest contribution, and there is no magnitude",
            "Add magnitude with total, largest, second and contributors.",
            "Z-DIS-014",
        )
    if spec.magnitude is not None and policy.method == "round":
        raise wrong(
            spec.name,
            "policy.method round does not protect a magnitude",
            "Use method suppress.",
            "Z-DIS-014",
        )
    if spec.magnitude is not None and not all(one.additive for one in spec.dimensions):
        raise wrong(
            spec.name,
            "a magnitude over a dimension that is not additive",
            "Give the magnitude a table of its own over additive dimensions.",
            "Z-DIS-014",
        )
    if policy.method == "round" and policy.rounding.mode == "controlled":
        for dimension in spec.dimensions:
            if not dimension.additive:
                raise wrong(
                    spec.name,
                    f"controlled rounding keeps tables additive, and {dimension.name} is not",
                    "Use rounding.mode conventional.",
                    "Z-DIS-014",
                )


def load_spec(path: Path | str) -> Spec:
    """Reads a spec from a YAML file.

    Raises:
        DisclosureError: Z-DIS-010 if it cannot be read, Z-DIS-011 to Z-DIS-014 and Z-DIS-037 if
            what it says cannot be.
    """
    import yaml

    path = Path(path)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = yaml.load(text, Loader=loader)
    # A date that does not exist is a ValueError, brackets without end a RecursionError.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise wrong(
            path.name,
            f"it cannot be read as YAML in UTF-8: {reason}",
            "See docs/reference/disclosure.md for a spec that works.",
            "Z-DIS-010",
        ) from error
    return spec_of(document, name=path.name, folder=path.parent)
