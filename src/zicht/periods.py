"""Reference periods: a year, a quarter or a month, written as SDMX writes ``TIME_PERIOD``."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

_PATTERN = re.compile(
    r"(?P<year>(?!0000)[0-9]{4})(?:-(?:Q(?P<quarter>[1-4])|(?P<month>0[1-9]|1[0-2])))?"
)
_STATLINE = re.compile(r"(?P<year>[0-9]{4})(?P<kind>JJ(?=00)|KW|MM)(?P<number>[0-9]{2})")


class Cadence(StrEnum):
    """How often a source describes the world."""

    YEARLY = "yearly"
    QUARTERLY = "quarterly"
    MONTHLY = "monthly"

    @property
    def months(self) -> int:
        """Length of one period, in months."""
        return {"yearly": 12, "quarterly": 3, "monthly": 1}[self.value]


@dataclass(frozen=True, order=True)
class Period:
    """One reference period: ``number`` counts from 1 within ``year`` (1 for a whole year)."""

    year: int
    number: int
    cadence: Cadence

    @classmethod
    def parse(cls, text: str) -> Period:
        """Reads ``2024``, ``2024-Q1`` or ``2024-01``.

        Raises:
            ValueError: for anything else.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a reference period; write 2024, 2024-Q1 or 2024-01")
        year = int(match["year"])
        if match["quarter"]:
            return cls(year, int(match["quarter"]), Cadence.QUARTERLY)
        if match["month"]:
            return cls(year, int(match["month"]), Cadence.MONTHLY)
        return cls(year, 1, Cadence.YEARLY)

    @classmethod
    def from_statline(cls, code: str) -> Period:
        """Reads StatLine period codes: ``2024JJ00``, ``2024KW01``, ``2024MM01``.

        Raises:
            ValueError: for anything else.
        """
        match = _STATLINE.fullmatch(code.strip())
        if match is None:
            raise ValueError(f"{code!r} is not a StatLine period code")
        year, number = int(match["year"]), int(match["number"])
        if match["kind"] == "JJ":
            return cls.parse(f"{year:04d}")
        inner = f"Q{number}" if match["kind"] == "KW" else f"{number:02d}"
        return cls.parse(f"{year:04d}-{inner}")

    @property
    def start(self) -> date:
        """First day."""
        return date(self.year, (self.number - 1) * self.cadence.months + 1, 1)

    @property
    def end(self) -> date:
        """Last day."""
        month = self.number * self.cadence.months
        return date(self.year, month, calendar.monthrange(self.year, month)[1])

    def next(self) -> Period:
        """The period that follows."""
        if self.number * self.cadence.months == 12:
            return Period(self.year + 1, 1, self.cadence)
        return Period(self.year, self.number + 1, self.cadence)

    def before(self, n: int = 1) -> Period:
        """The period ``n`` periods earlier."""
        per_year = 12 // self.cadence.months
        count = self.year * per_year + self.number - 1 - n
        return Period(count // per_year, count % per_year + 1, self.cadence)

    def reference_day(self, *, is_stock: bool = False) -> date:
        """The day from which a lag counts: the last one, or of a stock the first."""
        return self.start if is_stock else self.end

    def due(self, lag_days: int, *, is_stock: bool = False) -> date:
        """The day on which a delivery with the given lag (days) is expected."""
        return self.reference_day(is_stock=is_stock) + timedelta(days=lag_days)

    def lag(self, delivered: date, *, is_stock: bool = False) -> int:
        """Days from the reference day to ``delivered``."""
        return (delivered - self.reference_day(is_stock=is_stock)).days

    def __str__(self) -> str:
        match self.cadence:
            case Cadence.QUARTERLY:
                return f"{self.year:04d}-Q{self.number}"
            case Cadence.MONTHLY:
                return f"{self.year:04d}-{self.number:02d}"
            case _:
                return f"{self.year:04d}"
