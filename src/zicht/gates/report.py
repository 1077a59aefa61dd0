"""Shows what gates found: as one HTML page for people, and as text for a terminal or a log.

What is shown comes out of deliveries and may be hostile. Everything is escaped; characters that
steer a terminal or turn text around are written out as their code point.
"""

from __future__ import annotations

import json
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeGuard

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zicht.clock import format_moment
from zicht.gates.model import JSON, CheckResult, GateResult

GATE_NAMES: Mapping[int, str] = {
    1: "Is this delivery what was agreed?",
    2: "Do keys and joins hold?",
    3: "Are the figures plausible?",
    4: "May this be published?",
}
"""The question that each gate answers."""

TEXT_WIDTH = 100
"""Columns that the text report keeps to."""

_MAX_CELL = 40
_MAX_TEXT_ROWS = 5
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def render_report(title: str, results: Sequence[GateResult], context: Mapping[str, str]) -> str:
    """One self-contained HTML page: no scripts, nothing that is fetched.

    Args:
        title: what the report is about, for example a run or a delivery.
        results: what the gates found, in the order in which they ran.
        context: facts to show at the top, by name, for example the code version.

    Returns:
        The page, with a line break at its end. Equal arguments give equal text.
    """
    page = _TEMPLATES.get_template("report.html.j2").render(
        title=title,
        context=context,
        overview=_overview(results),
        failures=[f for part in _parts(results) for f in part.failures],
        warnings=[w for part in _parts(results) for w in part.warnings],
        gates=[
            (number, list(parts)) for number, parts in groupby(_parts(results), lambda p: p.gate)
        ],
    )
    return page.rstrip("\n") + "\n"


def render_text(results: Sequence[GateResult]) -> str:
    """The same for a terminal: what stops the flow, what is only shown, then one line per gate.

    Returns:
        Text of lines of at most :data:`TEXT_WIDTH` columns, with a line break at its end.
    """
    lines: list[str] = []
    for result in results:
        for mark, found in (("FAIL", result.failures), ("WARN", result.warnings)):
            for one in found:
                lines += _text_of(result, one, "ERROR" if one.error else mark)
    for result in results:
        lines += _wrapped(f"{_verdict(result).upper()}  gate {result.gate}  ", _tally(result))
    return "\n".join(lines or ["Nothing was checked."]) + "\n"


@dataclass(frozen=True)
class _Finding:
    """A check that does not hold, with its place in the page."""

    anchor: str
    gate: int
    subject: str
    result: CheckResult

    @property
    def kind(self) -> str:
        """The word on its label."""
        if self.result.error is not None:
            return "error"
        return "fail" if self.result.is_failure else "warn"

    @property
    def columns(self) -> list[str]:
        """The columns of the sample, in the order in which they first occur."""
        return list(dict.fromkeys(key for row in self.result.rows for key in row))

    @property
    def numeric(self) -> frozenset[str]:
        """The columns that hold numbers and nothing else but null, to be set flush right."""
        values = {
            c: [v for r in self.result.rows if (v := r.get(c)) is not None] for c in self.columns
        }
        return frozenset(c for c, held in values.items() if held and all(map(_is_number, held)))


@dataclass(frozen=True)
class _Held:
    """A check that held, for one or more relations."""

    check: str
    description: str
    relations: list[tuple[str, JSON]]


@dataclass(frozen=True)
class _Part:
    """What one gate found about one subject."""

    gate: int
    subject: str
    checked_at: str
    verdict: str
    n_checks: int
    failures: list[_Finding]
    warnings: list[_Finding]
    held: list[tuple[str, list[_Held]]]


@dataclass(frozen=True)
class _Overview:
    """The sentence at the top."""

    verdict: str
    headline: str
    n_checks: int
    n_failures: int
    n_warnings: int
    n_held: int


def _overview(results: Sequence[GateResult]) -> _Overview:
    n_checks = sum(len(result.results) for result in results)
    n_failures = sum(len(result.failures) for result in results)
    n_warnings = sum(len(result.warnings) for result in results)
    stopped = sorted({result.gate for result in results if not result.passed})
    if stopped:
        which = " and ".join(f"gate {number}" for number in stopped)
        verdict, headline = "failed", f"Stopped at {which}."
    elif not n_checks:
        verdict, headline = "failed", "Nothing was checked."
    elif n_warnings:
        verdict, headline = "warned", "Passed, with warnings."
    else:
        verdict, headline = "passed", "Passed."
    return _Overview(
        verdict=verdict,
        headline=headline,
        n_checks=n_checks,
        n_failures=n_failures,
        n_warnings=n_warnings,
        n_held=n_checks - n_failures - n_warnings,
    )


def _parts(results: Sequence[GateResult]) -> list[_Part]:
    return [_part(number, result) for number, result in enumerate(results, start=1)]


def _part(number: int, result: GateResult) -> _Part:
    findings = [
        _Finding(f"finding-{number}-{place}", result.gate, result.subject, one)
        for place, one in enumerate(result.results, start=1)
        if not one.success
    ]
    return _Part(
        gate=result.gate,
        subject=result.subject,
        checked_at=format_moment(result.checked_at),
        verdict=_verdict(result),
        n_checks=len(result.results),
        failures=[one for one in findings if one.result.is_failure],
        warnings=[one for one in findings if one.result.is_warning],
        held=_held(result.results),
    )


def _held(results: Sequence[CheckResult]) -> list[tuple[str, list[_Held]]]:
    """By suite, then by check: a check that holds for thirty relations takes one row."""
    suites: dict[str, dict[tuple[str, str], list[tuple[str, JSON]]]] = {}
    for one in results:
        if one.success:
            # For a check on rows that holds, what was observed is that there are none.
            observed = None if one.observed == one.n_unexpected else one.observed
            checks = suites.setdefault(one.suite, {})
            checks.setdefault((one.check, one.description), []).append((one.relation, observed))
    return [
        (suite, [_Held(*key, relations) for key, relations in checks.items()])
        for suite, checks in suites.items()
    ]


def _verdict(result: GateResult) -> str:
    if not result.passed:
        return "failed"
    return "warned" if result.warnings else "passed"


def _tally(result: GateResult) -> str:
    return (
        f"{visible(result.subject)}: {len(result.results)} checks, "
        f"{len(result.failures)} failed, {len(result.warnings)} warned"
    )


def _is_list(value: JSON) -> TypeGuard[Sequence[JSON]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def visible(value: JSON) -> str:
    """A value as text in which every character can be seen.

    Control and formatting characters (escape codes, direction overrides, line breaks) are written
    as ``\\u{1b}``. Lists and mappings are written as JSON.
    """
    if isinstance(value, str):
        text = value
    elif value is None or isinstance(value, bool):
        text = json.dumps(value)
    elif isinstance(value, int | float):
        text = str(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
    return "".join(
        f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _HIDDEN else char for char in text
    )


def seen(observed: JSON) -> JSON:
    """What was observed, briefly: where there are details, they say what matters."""
    if not isinstance(observed, Mapping) or set(observed) != {"value", "details"}:
        return observed
    details = observed["details"]
    if isinstance(details, Mapping) and isinstance(details.get("mismatched"), Mapping):
        details = details["mismatched"]
    if not isinstance(details, Mapping):
        return details
    return "; ".join(
        f"{key}: {', '.join(map(visible, item)) if _is_list(item) else visible(item)}"
        for key, item in details.items()
    )


def grouped(number: int) -> str:
    """A count with narrow spaces between the thousands, which reads the same in every language."""
    return f"{number:,}".replace(",", "\u202f")


def _text_of(result: GateResult, one: CheckResult, mark: str) -> Iterator[str]:
    """One finding as lines."""
    place = f"gate {result.gate} · {one.relation} · {one.suite} · {one.check}"
    yield from _wrapped(f"{mark:<5} ", visible(place))
    yield from _wrapped("      ", visible(one.description))
    if one.error is not None:
        yield from _wrapped("      Could not be evaluated: ", visible(one.error))
    elif one.n_unexpected is not None:
        shown = min(len(one.rows), _MAX_TEXT_ROWS)
        first = f"; the first {shown}" if 0 < shown < one.n_unexpected else ""
        yield f"      Breaks the rule: {one.n_unexpected}{first}"
    else:
        yield from _wrapped("      Observed: ", visible(seen(one.observed)))
    yield from _text_table(one.rows[:_MAX_TEXT_ROWS])
    if one.remedy:
        yield from _wrapped("      Remedy: ", visible(one.remedy))
    yield ""


def _text_table(rows: Sequence[Mapping[str, JSON]]) -> Iterator[str]:
    """Rows in columns; columns that do not fit are named below."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = {c: [_cut(visible(c))] + [_cut(visible(row.get(c))) for row in rows] for c in columns}
    widths = {c: max(map(text_width, cells[c])) for c in columns}
    room, fitting = TEXT_WIDTH - 8, []
    for column in columns:
        room -= widths[column] + 2
        if room < -2:
            break
        fitting.append(column)
    for line in range(len(rows) + 1 if fitting else 0):
        row = "  ".join(_padded(cells[c][line], widths[c]) for c in fitting)
        yield "        " + row.rstrip()
    if left := columns[len(fitting) :]:
        yield from _wrapped("        Not shown: ", visible(", ".join(left)))


def text_width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - text_width(text))


def _cut(text: str) -> str:
    """A text of at most :data:`_MAX_CELL` columns."""
    if text_width(text) <= _MAX_CELL:
        return text
    while text_width(text) > _MAX_CELL - 1:
        text = text[:-1]
    return text + "…"


def _wrapped(label: str, text: str) -> Iterator[str]:
    """The text behind a label, continued below its beginning, within the width."""
    indent = " " * len(label)
    # Wide characters take two columns: count on the worst the text has.
    widest = 2 if text_width(text) > len(text) else 1
    width = len(label) + (TEXT_WIDTH - len(label)) // widest
    yield from textwrap.wrap(text, width=width, initial_indent=label, subsequent_indent=indent) or [
        label.rstrip()
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "grouped": grouped, "seen": seen}
    environment.globals["gate_names"] = GATE_NAMES
    return environment


_TEMPLATES = _environment()
