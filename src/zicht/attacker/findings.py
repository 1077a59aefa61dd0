"""What an attack found, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from zicht.attacker.inference import Inference
from zicht.attacker.programs import is_recovered
from zicht.attacker.propagation import TOLERANCE, Bounds
from zicht.attacker.published import HIDDEN, SHOWN
from zicht.attacker.system import System

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MOST_STEPS = 4


class Kind(StrEnum):
    """Kinds of finding, the gravest first."""

    EXACT = "exact"
    PRINTED = "printed"
    SHOWN_SMALL = "shown_small"
    BELOW_THRESHOLD = "below_threshold"
    NARROW = "narrow"
    ROUNDING = "rounding"
    RATE = "rate"
    DIFFERENCE = "difference"
    CANARY = "canary"
    NOT_ADDITIVE = "not_additive"
    UNDECIDED = "undecided"


class Severity(StrEnum):
    """``fail``: the promise is broken; ``warn``: a person must judge; ``info``: good to know."""

    FAIL = "fail"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that the published files give away.

    Attributes:
        kind: what sort of thing.
        severity: how grave.
        table: file or table that hides or shows the cell.
        key: the cell, by dimension.
        lower: least value that it can have; None when unknown.
        upper: greatest value that it can have; None when there is no limit.
        message: one sentence for a person.
        evidence: the lines or cells that prove it, when they are few.
        subject: what is counted.
        period: period of the table.
    """

    kind: Kind
    severity: Severity
    table: str
    key: Mapping[str, str]
    lower: float | None
    upper: float | None
    message: str
    evidence: tuple[str, ...] = ()
    subject: str = ""
    period: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON; ``value`` is there when one value is left."""
        document: dict[str, Any] = {
            "kind": self.kind.value,
            "severity": self.severity.value,
            "table": self.table,
            "key": dict(self.key),
            "lower": self.lower,
            "upper": self.upper,
        }
        if self.lower is not None and self.lower == self.upper:
            document["value"] = self.lower
        if self.subject or self.period:
            document |= {"subject": self.subject, "period": self.period}
        return document | {"message": self.message, "evidence": list(self.evidence)}


def number(value: float | None) -> str:
    """A value as a person writes it."""
    if value is None or np.isinf(value):
        return "any"
    rounded = round(value, 6)
    return str(int(rounded)) if rounded == int(rounded) else f"{rounded:g}"


def tidy(value: float) -> float | None:
    """A value for JSON: whole where it is, None where there is no limit."""
    if not np.isfinite(value):
        return None
    near = round(value)
    return float(near) if abs(value - near) <= TOLERANCE else round(float(value), 9)


@dataclass(frozen=True, eq=False)
class Attacked:
    """One system with all that was inferred about it."""

    system: System
    bounds: Bounds
    result: Inference

    def ends(self, variable: int) -> tuple[float, float]:
        """The interval of a variable; of a count in whole numbers."""
        lower, upper = float(self.result.lower[variable]), float(self.result.upper[variable])
        if self.system.is_whole:
            return float(np.ceil(lower - TOLERANCE)), float(np.floor(upper + TOLERANCE))
        return lower, upper

    def finding(
        self,
        kind: Kind,
        severity: Severity,
        variable: int,
        message: str,
        *,
        table: str | None = None,
        evidence: Sequence[str] = (),
    ) -> Finding:
        """A finding about one variable, with its interval."""
        lower, upper = self.ends(variable)
        newest = self.system.tables[0]
        return Finding(
            kind,
            severity,
            self.system.name(variable) if table is None else table,
            self.system.key(variable),
            tidy(lower),
            tidy(upper),
            message,
            tuple(evidence),
            newest.subject,
            newest.period,
        )

    def cell(self, variable: int) -> str:
        """A variable in words: its codes, and its vintage where there are more."""
        system = self.system
        codes = " ".join(system.key(variable).values())
        layer = variable // system.n_cells
        if layer >= system.n_layers:
            return f"change of {codes} up to {_short(system.layers[layer - system.n_layers + 1])}"
        return f"{codes} in {_short(system.layers[layer])}" if system.n_layers > 1 else codes

    def published(self, variable: int) -> float:
        """The published value, or the difference of two; nan where there is none."""
        system = self.system
        gap = variable // system.n_cells - system.n_layers
        if gap < 0:
            return float(system.published[variable])
        before = gap * system.n_cells + variable % system.n_cells
        return float(system.published[before + system.n_cells] - system.published[before])

    def computed(self, variable: int) -> str:
        """``[9]`` for a value that was computed, ``?`` for one that was not."""
        lower, upper = self.ends(variable)
        return f"[{number(lower)}]" if upper - lower <= TOLERANCE * max(1.0, lower) else "?"

    def line(self, row: int) -> str:
        """A row in words: the parent, what is shown, and the cells that are not."""
        parts = self.system.row(row)
        plus = [v for v, sign in parts if sign > 0]
        minus = [v for v, sign in parts if sign < 0]

        def side(variables: Sequence[int]) -> str:
            known = [v for v in variables if not np.isnan(self.published(v))]
            words = []
            if len(known) == 1:
                words.append(f"{self.cell(known[0])} {number(self.published(known[0]))}")
            elif known:
                together = float(sum(self.published(v) for v in known))
                words.append(f"{len(known)} shown cells together {number(together)}")
            open_ = [v for v in variables if np.isnan(self.published(v))]
            words += [f"{self.cell(v)} {self.computed(v)}" for v in open_[:4]]
            if len(open_) > 4:
                words.append(f"{len(open_) - 4} more")
            return " + ".join(words)

        if not minus:
            return f"{side(plus)} = {number(self.system.row_lower[row])}"
        sign = "=" if np.isfinite(self.system.row_lower[row]) else ">="
        sign = sign if np.isfinite(self.system.row_upper[row]) else "<="
        if sign == "=" and self.system.tables[0].spec.rounding_base:
            sign = "is about"
        return f"{side(minus)} {sign} {side(plus)}"

    def steps(self, variable: int) -> tuple[str, ...]:
        """The lines from which a variable follows, when they are few; else how many."""
        proof = self.result.evidence.get(variable)
        if proof is not None:
            return tuple(self.line(row) for row in proof)
        found: dict[int, None] = {}
        waiting, seen = [variable], {variable}
        while waiting:
            here = waiting.pop(0)
            for row in (int(self.bounds.lower_row[here]), int(self.bounds.upper_row[here])):
                if row < 0 or row in found:
                    continue
                found[row] = None
                fresh = [v for v, _ in self.system.row(row) if v not in seen]
                seen.update(fresh)
                waiting += [v for v in fresh if not self.system.shown[v]]
            if len(found) > 50 * _MOST_STEPS:
                break
        lines = [self.line(row) for row in list(found)[:_MOST_STEPS]]
        if len(found) > _MOST_STEPS:
            lines.append(f"and {len(found) - _MOST_STEPS} more lines")
        return tuple(lines)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def contradictions(attacked: Attacked) -> Iterable[Finding]:
    """Published values that cannot all be true."""
    system = attacked.system
    for variable in dict.fromkeys(system.conflicts):
        names = [
            table.name
            for table, place in zip(system.tables, system.place, strict=True)
            if variable in place[table.status == SHOWN]
        ]
        yield attacked.finding(
            Kind.NOT_ADDITIVE,
            Severity.FAIL,
            variable,
            "shown with different values, or zero where it is hidden elsewhere",
            evidence=names,
        )
    for row in attacked.bounds.dropped[:1000].tolist():
        parts = system.row(row)
        parent = next((v for v, sign in parts if sign < 0), parts[0][0])
        yield attacked.finding(
            Kind.NOT_ADDITIVE,
            Severity.FAIL,
            parent,
            "this line does not add up; it was left out of the attack"
            + (" (is the newest table the first one?)" if system.n_layers > 1 else ""),
            evidence=(attacked.line(row),),
        )
    seen = attacked.result.contradictory
    if seen:
        some = [v for v in seen if system.hidden[v]][:5] or seen[:5]
        yield attacked.finding(
            Kind.NOT_ADDITIVE,
            Severity.FAIL,
            some[0],
            f"no values of {len(seen)} cells agree with everything published",
            evidence=[attacked.cell(v) for v in some],
        )


def recoveries(attacked: Attacked) -> Iterable[Finding]:
    """Hidden cells with one value left, and those of which time ran out."""
    system, result = attacked.system, attacked.result
    recovered = is_recovered(result.lower, result.upper, whole=system.is_whole)
    for variable in np.flatnonzero(recovered & system.hidden & ~system.shown).tolist():
        by_whole = bool(result.is_by_whole[variable])
        how = "by whole numbers alone" if by_whole else "from published cells"
        yield attacked.finding(
            Kind.EXACT,
            Severity.FAIL,
            variable,
            f"can be computed {how}",
            evidence=attacked.steps(variable),
        )
    left = sorted({v for v in result.undecided if system.hidden[v] or system.shown[v]})
    if left:
        yield attacked.finding(
            Kind.UNDECIDED,
            Severity.FAIL,
            left[0],
            f"time ran out: {len(left)} cells were neither recovered nor proven safe",
            evidence=[attacked.cell(v) for v in left[:5]],
        )


def printed(attacked: Attacked) -> Iterable[Finding]:
    """Cells hidden in one table and shown in another."""
    system = attacked.system
    hides: dict[int, list[tuple[int, int]]] = {}
    shows: dict[int, list[tuple[int, int]]] = {}
    for t, (table, place) in enumerate(zip(system.tables, system.place, strict=True)):
        for status, found in ((HIDDEN, hides), (SHOWN, shows)):
            for row in np.flatnonzero(table.status == status).tolist():
                found.setdefault(int(place[row]) % system.n_cells, []).append((t, row))
    for cell in sorted(hides.keys() & shows.keys()):
        for t, row in hides[cell]:
            variable = int(system.place[t][row])
            for other, other_row in shows[cell]:
                same = int(system.place[other][other_row]) == variable
                value = number(float(system.tables[other].value[other_row]))
                where = system.tables[other].name
                # Of a rounded value the interval is known; if that is one value, it is exact.
                about = "about " if system.tables[other].spec.rounding_base else ""
                yield attacked.finding(
                    Kind.PRINTED,
                    Severity.FAIL if same and not about else Severity.WARN,
                    variable,
                    f"hidden here, shown as {about}{value} in {_short(where)}"
                    + ("" if same else ", of another moment"),
                    table=system.tables[t].name,
                    evidence=(where,),
                )


def shown_small(attacked: Attacked) -> Iterable[Finding]:
    """Values from 1 up to the threshold that are simply there."""
    system = attacked.system
    for table, place in zip(system.tables, system.place, strict=True):
        spec = table.spec
        if not spec.is_whole or spec.rounding_base:
            continue
        with np.errstate(invalid="ignore"):
            small = (table.value > 0) & (table.value < spec.minimum_frequency)
            if spec.hides_zeros:
                small |= table.value == 0
        for row in np.flatnonzero(small).tolist():
            key = table.key(row)
            meant = any(all(key.get(k) == v for k, v in one.items()) for one in spec.never_hide)
            yield attacked.finding(
                Kind.SHOWN_SMALL,
                Severity.INFO if meant else Severity.FAIL,
                int(place[row]),
                (
                    f"shown, and under the threshold of {spec.minimum_frequency}"
                    if table.value[row]
                    else "shown, and zeros may not be (publish_zeros: false)"
                )
                + (", as never_hide says" if meant else ""),
                table=table.name,
            )


def below_threshold(attacked: Attacked) -> Iterable[Finding]:
    """Hidden cells that are known to be small."""
    system, result = attacked.system, attacked.result
    recovered = is_recovered(result.lower, result.upper, whole=True)
    for table, place in zip(system.tables, system.place, strict=True):
        spec = table.spec
        if not spec.is_whole:
            continue
        at = place[table.status == HIDDEN]
        known = at[
            (result.upper[at] < spec.minimum_frequency - TOLERANCE)
            & ~recovered[at]
            & ~system.shown[at]
        ]
        for variable in np.unique(known).tolist():
            yield attacked.finding(
                Kind.BELOW_THRESHOLD,
                Severity.FAIL if spec.protection == "interval" else Severity.INFO,
                variable,
                f"known to be at most {number(attacked.ends(variable)[1])}"
                f", under the threshold of {spec.minimum_frequency}",
                table=table.name,
                evidence=(attacked.result.evidence.get(variable) and attacked.steps(variable))
                or (),
            )


def narrow_amounts(attacked: Attacked, primary: Sequence[int]) -> Iterable[Finding]:
    """Hidden amounts that are known to within the percentage of the p% rule.

    That is promised of primary cells; of another hidden cell it is for a person to judge.
    """
    system, result = attacked.system, attacked.result
    percent = system.tables[0].spec.p_percent
    if system.is_whole or percent is None:
        return
    recovered = is_recovered(result.lower, result.upper, whole=False)
    middle = (result.lower + result.upper) / 2
    half = (result.upper - result.lower) / 2
    with np.errstate(invalid="ignore"):
        close = np.isfinite(half) & (half < middle * percent / 100)
    for variable in np.flatnonzero(close & ~recovered & system.hidden & ~system.shown).tolist():
        yield attacked.finding(
            Kind.NARROW,
            Severity.FAIL if variable in primary else Severity.WARN,
            variable,
            f"{'primary, and ' if variable in primary else ''}known to within {number(percent)}%",
            evidence=attacked.steps(variable) if variable in result.evidence else (),
        )


def narrow_primaries(attacked: Attacked, primary: Sequence[int]) -> Iterable[Finding]:
    """Primary cells whose interval does not reach from the lowest value to the threshold.

    The lowest value that is attainable is 1, or the number of innermost cells below it that are
    known not to be zero.
    """
    system = attacked.system
    spec = system.tables[0].spec
    for variable in primary:
        leaves = system.leaves_of(variable)
        at_least = max(1, int((system.lower[leaves] > TOLERANCE).sum()))
        lower, upper = attacked.ends(variable)
        if lower <= at_least and upper >= spec.minimum_frequency:
            continue
        yield attacked.finding(
            Kind.NARROW,
            Severity.FAIL if spec.protection == "interval" else Severity.INFO,
            variable,
            f"primary, and known to lie from {number(lower)} to {number(upper)}; "
            f"should reach from {at_least} to {spec.minimum_frequency}",
        )


def rounded(attacked: Attacked) -> Iterable[Finding]:
    """Rounded values that are known better than their base allows.

    It breaks the promise when the true value is known and may not be: one under the threshold.
    """
    system, result = attacked.system, attacked.result
    for table, place in zip(system.tables, system.place, strict=True):
        base = table.spec.rounding_base
        if base < 2:
            continue
        at = place[table.status == SHOWN]
        left = np.floor(result.upper[at] + TOLERANCE) - np.ceil(result.lower[at] - TOLERANCE) + 1
        for variable, n in zip(at.tolist(), left.tolist(), strict=True):
            value = float(np.ceil(result.lower[variable] - TOLERANCE))
            small = (0 if not table.spec.publish_zeros else 1) <= value
            small &= value < table.spec.minimum_frequency
            narrower = n < system.upper[variable] - system.lower[variable] + 1
            if n >= base or not narrower:
                continue
            yield attacked.finding(
                Kind.ROUNDING,
                Severity.FAIL if n <= 1 and small else Severity.WARN,
                variable,
                "the true value behind the rounding can be computed"
                if n <= 1
                else f"{int(n)} values are left, fewer than the base of {base}",
                table=table.name,
                evidence=attacked.steps(variable),
            )


def differences(attacked: Attacked) -> Iterable[Finding]:
    """Small changes between vintages: they disclose the late records themselves."""
    system, result = attacked.system, attacked.result
    spec = system.tables[0].spec
    if not spec.is_whole or system.n_layers < 2:
        return
    exact = np.ones(system.n_layers, dtype=bool)
    for table in system.tables:
        exact[system.layers.index(table.vintage)] &= not table.spec.rounding_base
    severity = Severity.WARN if spec.small_changes == "warn" else Severity.FAIL
    n = system.n_cells
    for layer in range(1, system.n_layers):
        before = system.published[(layer - 1) * n : layer * n]
        after = system.published[layer * n : (layer + 1) * n]
        with np.errstate(invalid="ignore"):
            change = np.abs(after - before)
            small = (change >= 1) & (change < spec.minimum_frequency)
        # A change of a rounded value is a change of more or less than it says.
        small &= exact[layer - 1] and exact[layer]
        for cell in np.flatnonzero(small).tolist():
            yield attacked.finding(
                Kind.DIFFERENCE,
                severity,
                layer * n + cell,
                f"changed by {number(float(after[cell] - before[cell]))} since "
                f"{_short(system.layers[layer - 1])}",
            )
        gap = system.n_layers + layer - 1
        if (gap + 1) * n > len(result.lower):
            continue
        part = slice(gap * n, (gap + 1) * n)
        fixed = result.upper[part] - result.lower[part] <= TOLERANCE
        size = result.lower[part]
        inferred = fixed & (size >= 1) & (size < spec.minimum_frequency)
        inferred &= np.isnan(change)
        both = (
            system.hidden[layer * n : (layer + 1) * n] | system.hidden[(layer - 1) * n : layer * n]
        )
        for cell in np.flatnonzero(inferred & both).tolist():
            yield attacked.finding(
                Kind.DIFFERENCE,
                severity,
                gap * n + cell,
                f"hidden, and its change since {_short(system.layers[layer - 1])} can be computed",
                table=system.name(layer * n + cell) or system.name((layer - 1) * n + cell),
                evidence=attacked.steps(gap * n + cell),
            )
