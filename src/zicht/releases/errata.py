"""What people know of figures that the figures do not say: errata and known breaks.

Both are declared in ``expectations/``: ``errata.yaml`` has what turned out to be wrong in a
release, ``breaks.yaml`` the periods from which on a figure is made in another way, and who says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from zicht.catalogue import Mart
from zicht.errors import ConfigurationError
from zicht.periods import Period
from zicht.settings import Settings

_T = TypeVar("_T")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ID = re.compile(r"[0-9]{4}-[0-9]+")
_REGION = re.compile(r"[A-Z]{2}[0-9]{2,4}")
_RELEASE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{8}(-[0-9]+)?")


class BreakCode(StrEnum):
    """In what a series is broken."""

    METHOD = "method"
    DEFINITION = "definition"
    GEOGRAPHY = "geography"


@dataclass(frozen=True)
class Break:
    """From one period on a figure cannot be compared with those before it.

    Attributes:
        period: the first period that is made in the new way.
        code: what changed.
        indicator: the indicator concerned; None when it is a source.
        source: the source concerned, and so every indicator that rests on it; None when it is one
            indicator.
        reason: what changed, in ``nl`` and ``en``.
        reference: where that is said; a web address.
    """

    period: Period
    code: BreakCode
    indicator: str | None
    source: str | None
    reason: Mapping[str, str]
    reference: str


def errata_path(settings: Settings) -> Path:
    """Where errata are declared."""
    return settings.project / "expectations" / "errata.yaml"


def breaks_path(settings: Settings) -> Path:
    """Where known breaks are declared."""
    return settings.project / "expectations" / "breaks.yaml"


def load_errata(settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``errata``, by identifier.

    An erratum may be about an indicator that is no longer published, so it is not held against the
    catalogue.

    Raises:
        ConfigurationError: Z-REL-021 naming the entry and what is wrong in it.
    """
    path, code = errata_path(settings), "Z-REL-021"
    rows = _loaded(path, "errata", code, _erratum)
    ids = [row["erratum_id"] for row in rows]
    if repeated := sorted({one for one in ids if ids.count(one) > 1}):
        raise _wrong(path, "errata", f"{', '.join(repeated)} is there twice", code)
    return sorted(rows, key=lambda row: str(row["erratum_id"]))


def _erratum(entry: Mapping[str, Any]) -> dict[str, Any]:
    needed = {"id", "announced_on", "indicator", "nl", "en", "found_in"}
    _require_keys(entry, needed, {"period", "region", "corrected_in"})
    if type(entry["announced_on"]) is not date:
        raise ValueError(f"announced_on is {entry['announced_on']!r}, not a day")
    corrected = entry.get("corrected_in")
    return {
        "erratum_id": _matching("id", entry["id"], _ID),
        "announced_on": entry["announced_on"].isoformat(),
        "indicator_id": _matching("indicator", entry["indicator"], _NAME),
        "reference_period": str(_period(entry["period"])) if "period" in entry else None,
        "region_code": _matching("region", entry["region"], _REGION) if "region" in entry else None,
        "what_nl": _said("nl", entry["nl"]),
        "what_en": _said("en", entry["en"]),
        "found_in": _matching("found_in", entry["found_in"], _RELEASE),
        "corrected_in": _matching("corrected_in", corrected, _RELEASE) if corrected else None,
    }


def load_breaks(settings: Settings) -> list[Break]:
    """The known breaks, in the order of the file.

    An indicator or source that is not there is no error: whoever removes a theme need not look
    here.

    Raises:
        ConfigurationError: Z-REL-022 naming the entry and what is wrong in it.
    """
    return _loaded(breaks_path(settings), "breaks", "Z-REL-022", _break)


def _break(entry: Mapping[str, Any]) -> Break:
    about = {"indicator", "source"} & set(entry)
    _require_keys(entry, {"period", "code", "nl", "en", "reference"}, about)
    if len(about) != 1:
        raise ValueError("it is about either an indicator or a source")
    names = {one: _matching(one, entry[one], _NAME) for one in about}
    return Break(
        period=_period(entry["period"]),
        code=BreakCode(entry["code"]),
        indicator=names.get("indicator"),
        source=names.get("source"),
        reason={language: _said(language, entry[language]) for language in ("nl", "en")},
        reference=_said("reference", entry["reference"]),
    )


def break_rows(
    breaks: Sequence[Break], marts: Sequence[Mart], periods: Mapping[str, Iterable[str]]
) -> list[dict[str, Any]]:
    """The rows of ``breaks``: the breaks within the published series of an indicator, or after it.

    A break belongs to the first period that ends on or after the day on which it began, also when
    that is still to come. When it is the first of all there is nothing before it to compare with,
    and so no row.

    Args:
        periods: the published periods per indicator.
    """
    found: dict[tuple[str, str, str], list[Break]] = {}
    for mart in marts:
        name, sources = mart.indicator["id"], {*mart.indicator["sources"], *mart.sources}
        series = sorted(map(Period.parse, periods.get(name, ())), key=lambda p: p.start)
        for one in breaks:
            if one.indicator != name and one.source not in sources:
                continue
            if not series or series[0].end >= one.period.start:
                continue
            at = next((period for period in series if period.end >= one.period.start), series[-1])
            while at.end < one.period.start:
                at = at.next()
            found.setdefault((name, str(at), one.code.value), []).append(one)
    return [
        {
            "indicator_id": name,
            "reference_period": period,
            "code": code,
            "reason_nl": " ".join(one.reason["nl"] for one in same),
            "reason_en": " ".join(one.reason["en"] for one in same),
            "reference": " ".join(one.reference for one in same),
        }
        for (name, period, code), same in sorted(found.items())
    ]


_FAULTS = (KeyError, TypeError, ValueError, AttributeError)


def _wrong(path: Path, where: str, what: object, code: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: {where}: {what}.",
        code=code,
        remedy="Correct the entry; the comment at the top of the file shows its form.",
    )


def _loaded(path: Path, name: str, code: str, made: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
    """What is made of each entry of the list ``name``, in the order of the file."""
    found = []
    for number, entry in enumerate(_entries(path, name, code), start=1):
        try:
            found.append(made(entry))
        except _FAULTS as error:
            raise _wrong(path, f"{name}, number {number}", error, code) from error
    return found


def _entries(path: Path, name: str, code: str) -> list[Mapping[str, Any]]:
    """The list ``name`` of the file; a file that is not there holds none."""
    if not path.exists():
        return []
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _wrong(path, name, f"not YAML: {error}", code) from error
    entries = document.get(name) if isinstance(document, dict) and set(document) == {name} else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise _wrong(path, name, f"the file is not a list called {name}", code)
    return entries


def _require_keys(entry: Mapping[str, Any], needed: set[str], optional: set[str]) -> None:
    if missing := sorted(needed - set(entry)):
        raise ValueError(f"{', '.join(missing)} is missing")
    if unknown := sorted(map(str, set(entry) - needed - optional)):
        raise ValueError(f"{', '.join(unknown)} is unknown")


def _matching(name: str, value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r}")
    return value


def _said(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is empty")
    return " ".join(value.split())


def _period(value: Any) -> Period:
    if not isinstance(value, str):
        raise ValueError(f"period is {value!r}; write it in quotation marks")
    return Period.parse(value)
