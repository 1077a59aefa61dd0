"""What a gate checks and what it found: plain values, without Great Expectations.

A *check* is one rule, a *suite* is the rules for one relation, a *gate result* is what came out of
running the suites of a gate over one subject (a delivery, a run, a candidate).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from zicht.clock import format_moment, parse_moment

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""Anything that ``json.dumps`` writes without help."""

ROWS = "rows"
"""The expectation of a check that is SQL: the query returns the rows that should not be there."""

MAX_SAMPLE_ROWS = 20
"""How many failing rows a result shows; the count of all of them is kept beside it."""

MAX_TEXT = 400
"""Longest text kept of one value in a sample: a hostile file must not fill a report."""


class Severity(StrEnum):
    """What a check that does not hold means: the flow stops, or the reviewers are told."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True)
class Check:
    """One rule about one relation.

    Attributes:
        name: unique within its suite; ``snake_case``.
        description: the rule in a sentence, for the person who reads the report.
        expectation: a Great Expectations type in snake case, or :data:`ROWS` for SQL.
        kwargs: arguments of the expectation; empty for SQL.
        sql: the query that returns the offending rows; only for :data:`ROWS`.
        severity: whether the flow stops when the rule does not hold.
        remedy: what to do about it.
    """

    name: str
    description: str
    expectation: str
    severity: Severity
    remedy: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    sql: str | None = None


@dataclass(frozen=True)
class Suite:
    """The checks of one gate on one relation (a table or view in the database)."""

    gate: int
    name: str
    relation: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        suite: name of the suite.
        relation: the table or view that was looked at.
        check: name of the check.
        description: the rule in a sentence.
        severity: as declared.
        success: whether the rule holds.
        observed: what was seen, in the terms of the expectation; the count for SQL.
        n_unexpected: how many rows or values break the rule, where that can be said.
        rows: at most :data:`MAX_SAMPLE_ROWS` of the offending rows.
        remedy: what to do about it.
        error: why the check could not be evaluated. A rule that nobody could look at stops the
            flow, whatever its severity.
    """

    suite: str
    relation: str
    check: str
    description: str
    severity: Severity
    success: bool
    remedy: str
    observed: JSON = None
    n_unexpected: int | None = None
    rows: tuple[Mapping[str, JSON], ...] = ()
    error: str | None = None

    @property
    def is_failure(self) -> bool:
        """Whether this result stops the flow."""
        return not self.success and (self.severity is Severity.FAIL or self.error is not None)

    @property
    def is_warning(self) -> bool:
        """Whether this result is only shown."""
        return not self.success and not self.is_failure

    def to_json(self) -> dict[str, JSON]:
        """This result as JSON-able values."""
        return {
            "suite": self.suite,
            "relation": self.relation,
            "check": self.check,
            "description": self.description,
            "severity": self.severity.value,
            "success": self.success,
            "observed": self.observed,
            "n_unexpected": self.n_unexpected,
            "rows": [dict(row) for row in self.rows],
            "remedy": self.remedy,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CheckResult:
        """Reads what :meth:`to_json` wrote.

        Raises:
            KeyError: if a member is missing.
            ValueError: if the severity is unknown.
        """
        return cls(
            suite=document["suite"],
            relation=document["relation"],
            check=document["check"],
            description=document["description"],
            severity=Severity(document["severity"]),
            success=document["success"],
            observed=document["observed"],
            n_unexpected=document["n_unexpected"],
            rows=tuple(document["rows"]),
            remedy=document["remedy"],
            error=document["error"],
        )


@dataclass(frozen=True)
class GateResult:
    """What one gate found about one subject; results stand in the order of the declaration.

    Attributes:
        gate: 1 to 4.
        subject: what was looked at: a delivery id, a run id, a release id.
        checked_at: when (UTC, to the second).
        results: one per check.
    """

    gate: int
    subject: str
    checked_at: datetime
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing found stops the flow."""
        return not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The results that stop the flow."""
        return tuple(result for result in self.results if result.is_failure)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The results that are only shown to the reviewers."""
        return tuple(result for result in self.results if result.is_warning)

    def sparing(self, relations: Collection[str]) -> GateResult:
        """The same result, in which what fails of some relations is only shown.

        A rule that could not be evaluated stays a failure.
        """
        return replace(
            self,
            results=tuple(
                replace(result, severity=Severity.WARN)
                if result.relation in relations and result.is_failure
                else result
                for result in self.results
            ),
        )

    def to_json(self) -> dict[str, JSON]:
        """This result as JSON-able values; ``passed`` is there for readers that are not Python."""
        return {
            "gate": self.gate,
            "subject": self.subject,
            "checked_at": format_moment(self.checked_at),
            "passed": self.passed,
            "n_checks": len(self.results),
            "n_failures": len(self.failures),
            "n_warnings": len(self.warnings),
            "results": [result.to_json() for result in self.results],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> GateResult:
        """Reads what :meth:`to_json` wrote; the counts are worked out again, not believed.

        Raises:
            KeyError: if a member is missing.
            ValueError: if a moment or a severity cannot be read.
        """
        return cls(
            gate=document["gate"],
            subject=document["subject"],
            checked_at=parse_moment(document["checked_at"]),
            results=tuple(CheckResult.from_json(item) for item in document["results"]),
        )

    def dumps(self) -> str:
        """The JSON text to store: equal results, equal bytes."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str) -> GateResult:
        """Reads what :meth:`dumps` wrote.

        Raises:
            KeyError: if a member is missing.
            ValueError: if ``text`` is not JSON, or a moment or severity cannot be read.
        """
        return cls.from_json(json.loads(text))


def as_json(value: Any) -> JSON:
    """Turns a value from a database or from Great Expectations into something JSON-able.

    Moments become ISO 8601, decimals numbers, bytes hexadecimal, numbers that JSON lacks words;
    long text is cut at :data:`MAX_TEXT`. Anything unknown becomes its text.
    """
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            text = str(value)
            return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
        case Decimal():
            if not value.is_finite():
                return str(value)
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date() | time():
            # pandas' NaT calls itself a datetime, and differs from itself.
            return value.isoformat() if value == value else None
        case bytes() | bytearray() | memoryview():
            return as_json(bytes(value).hex())
        case dict() | MappingProxyType():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case set() | frozenset():
            return sorted((as_json(item) for item in value), key=str)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return as_json(value.item())
    return as_json(str(value))
