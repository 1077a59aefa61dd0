"""The one clock. Logic takes a :class:`Clock`; only the edge asks the system for the time."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from zicht.errors import ConfigurationError

Clock = Callable[[], datetime]
"""Returns the current moment, timezone-aware, in UTC."""


def system_clock() -> datetime:
    """The current moment in UTC, to the second: finer than that means nothing here."""
    return datetime.now(UTC).replace(microsecond=0)


def fixed_clock(moment: datetime) -> Clock:
    """A clock that stands still at ``moment``."""
    return lambda: moment


def parse_moment(text: str) -> datetime:
    """Reads an ISO 8601 date or date-time. A date means the end of that day in UTC.

    Raises:
        ValueError: if ``text`` is neither.
    """
    if not text.isascii():
        raise ValueError(f"{text!r} is not an ISO 8601 moment")
    if len(text) == 10:
        return datetime.fromisoformat(text + "T23:59:59+00:00")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write for example 2025-04-30T09:00:00Z")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise ValueError(f"{text!r} lies outside the calendar") from error


def format_moment(moment: datetime) -> str:
    """ISO 8601 in UTC with a ``Z``, to the second: ``2025-04-30T09:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_from_environment() -> Clock:
    """The system clock, or one frozen at ``ZICHT_CLOCK`` (for reproducible builds and tests).

    Raises:
        ConfigurationError: if ``ZICHT_CLOCK`` is set and not an ISO 8601 moment.
    """
    text = os.environ.get("ZICHT_CLOCK", "")
    if not text:
        return system_clock
    try:
        return fixed_clock(parse_moment(text))
    except ValueError as error:
        raise ConfigurationError(
            f"ZICHT_CLOCK is {text!r}, which is not a moment: {error}.",
            code="Z-CFG-002",
            remedy="Set it to something like 2025-04-30T09:00:00Z, or unset it.",
        ) from error
