"""The part of OData v3's ``$filter`` that clients of CBS use, as a function over rows.

``eq ne gt ge lt le``, ``and or not``, brackets, and ``startswith(column,'x')``,
``endswith(column,'x')``, ``substringof('x',column)``, ``substring(column,start[,length]) eq 'x'``.
As at CBS, codes are compared with their padding.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Predicate = Callable[[Mapping[str, Any]], bool]
_Operand = Callable[[Mapping[str, Any]], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>[(),]))"
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
    "substringof": lambda part, text: part in text,
}
_MAX_DEPTH = 100


def parse_filter(text: str, columns: frozenset[str]) -> Predicate:
    """Turns a filter into a function that says of a row whether it belongs to the answer.

    Raises:
        ValueError: if the filter is not understood or names an unknown column.
    """
    parser = _Parser(_tokens(text), columns)
    predicate = parser.disjunction()
    if not parser.at_end:
        raise ValueError(f"unexpected {parser.peek!r}")
    return predicate


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise ValueError(f"not understood from {stripped[position:][:20]!r}")
        found.append(match[match.lastgroup or 0])
        position = match.end()
    return found


class _Parser:
    """Recursive descent: or, and, not, one comparison or test."""

    def __init__(self, tokens: list[str], columns: frozenset[str]) -> None:
        self._tokens = tokens
        self._columns = columns
        self._position = 0
        self._depth = 0

    @property
    def at_end(self) -> bool:
        return self._position == len(self._tokens)

    @property
    def peek(self) -> str:
        return "" if self.at_end else self._tokens[self._position]

    def _take(self, *wanted: str) -> str:
        token = self.peek
        if not token or (wanted and token not in wanted):
            raise ValueError(f"expected {' or '.join(wanted) or 'more'}, found {token!r}")
        self._position += 1
        return token

    def disjunction(self) -> Predicate:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("too many brackets")
        parts = [self._conjunction()]
        while self.peek == "or":
            self._take()
            parts.append(self._conjunction())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _conjunction(self) -> Predicate:
        parts = [self._negation()]
        while self.peek == "and":
            self._take()
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _negation(self) -> Predicate:
        if self.peek != "not":
            return self._primary()
        self._take()
        inner = self._primary()
        return lambda row: not inner(row)

    def _primary(self) -> Predicate:
        if self.peek == "(":
            self._take("(")
            inner = self.disjunction()
            self._take(")")
            return inner
        if self.peek in _TESTS:
            return self._test()
        left = self._operand()
        compare = _COMPARISONS[self._take(*_COMPARISONS)]
        right = self._operand()
        return lambda row: _compared(compare, left(row), right(row))

    def _test(self) -> Predicate:
        test = _TESTS[self._take()]
        self._take("(")
        first = self._operand()
        self._take(",")
        second = self._operand()
        self._take(")")
        return lambda row: test(str(first(row) or ""), str(second(row) or ""))

    def _operand(self) -> _Operand:
        word = self._take()
        if word == "substring":
            return self._substring()
        if word.startswith("'"):
            text = word[1:-1].replace("''", "'")
            return lambda _: text
        if word == "null":
            return lambda _: None
        if word[0].isdigit() or word[0] == "-":
            number = float(word)
            return lambda _: number
        if word not in self._columns:
            raise ValueError(f"there is no column {word!r}")
        return lambda row: row[word]

    def _substring(self) -> _Operand:
        self._take("(")
        text = self._operand()
        self._take(",")
        start = int(self._take())
        length: int | None = None
        if self.peek == ",":
            self._take()
            length = int(self._take())
        self._take(")")
        end = None if length is None else start + length
        return lambda row: str(text(row) or "")[start:end]


def _compared(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> bool:
    """A missing figure equals only null; figures and texts are never alike."""
    try:
        return bool(compare(left, right))
    except TypeError:
        return False
