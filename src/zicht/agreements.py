"""Agreements: under which a source may be processed for a theme, and until when.

One YAML file per agreement in ``expectations/agreements/``. No agreement in force, no processing:
whoever works on microdata asks :func:`covers` first, with the day on which it is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from zicht.contracts import Contract
from zicht.errors import ConfigurationError

_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TEXTS = ("purpose", "legal_basis")
_LISTS = ("parties", "sources", "themes")
_DATES = ("valid_from", "valid_until")
_FIELDS = ("id", "title", *_LISTS[:1], *_TEXTS, *_LISTS[1:], *_DATES, "retention_days")


@dataclass(frozen=True)
class Agreement:
    """What the parties agreed.

    Attributes:
        id: the name of the file, also the name of the key that the agreement's sources share.
        title: in Dutch (``nl``) and English (``en``).
        parties: the bodies that signed.
        purpose: what the data may be used for.
        legal_basis: the law that allows it.
        sources: the sources that it covers.
        themes: the themes for which it covers them.
        valid_from: first day on which it is in force.
        valid_until: last day on which it is in force.
        retention_days: how long raw data may be kept after acceptance.
        path: the file that this was read from.
    """

    id: str
    title: Mapping[str, str]
    parties: tuple[str, ...]
    purpose: str
    legal_basis: str
    sources: tuple[str, ...]
    themes: tuple[str, ...]
    valid_from: date
    valid_until: date
    retention_days: int
    path: Path

    def in_force(self, on: date) -> bool:
        """Whether it is in force on a day; the last day counts."""
        return self.valid_from <= on <= self.valid_until


def _wrong(path: Path, what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: {what}.", code="Z-CFG-054", remedy=remedy)


def _texts(path: Path, name: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, list) and bool(value)
    if not is_list or any(not isinstance(one, str) or not one.strip() for one in value):
        raise _wrong(path, f"{name} is not a list of names", "Name one or more.")
    if len(set(value)) < len(value):
        raise _wrong(path, f"{name} names something twice", "Name it once.")
    return tuple(value)


def _load_agreement(path: Path) -> Agreement:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _wrong(path, f"not YAML: {error}", "Correct the YAML.") from error
    if not isinstance(content, dict) or set(content) != set(_FIELDS):
        found = set(content) if isinstance(content, dict) else set()
        odd = sorted(map(str, found ^ set(_FIELDS)))
        raise _wrong(
            path,
            f"missing or unknown: {', '.join(odd)}",
            f"An agreement has exactly the fields {', '.join(_FIELDS)}.",
        )
    if content["id"] != path.stem or not _ID.fullmatch(path.stem):
        raise _wrong(
            path,
            f"id {content['id']!r} must be the file's own name in lower case and underscores",
            f"Set id: {path.stem}.",
        )
    title = content["title"]
    if not isinstance(title, dict) or set(title) != {"nl", "en"} or not all(title.values()):
        raise _wrong(path, "title is not given in nl and en", "Write both.")
    for name in _TEXTS:
        if not isinstance(content[name], str) or not content[name].strip():
            raise _wrong(path, f"{name} is empty", "Say it in one or two sentences.")
    for name in _DATES:
        # A date-time is a date too, for Python; its last day would be in doubt.
        if type(content[name]) is not date:
            raise _wrong(path, f"{name} is {content[name]!r}, not a day", "Write 2028-12-31.")
    if content["valid_until"] < content["valid_from"]:
        raise _wrong(path, "valid_until lies before valid_from", "Correct one of them.")
    days = content["retention_days"]
    if type(days) is not int or not 1 <= days <= 36_500:
        raise _wrong(path, f"retention_days is {days!r}", "Write whole days: 1825 is five years.")
    lists = {name: _texts(path, name, content[name]) for name in _LISTS}
    return Agreement(
        id=path.stem,
        title={language: str(title[language]) for language in ("nl", "en")},
        parties=lists["parties"],
        purpose=content["purpose"].strip(),
        legal_basis=content["legal_basis"].strip(),
        sources=lists["sources"],
        themes=lists["themes"],
        valid_from=content["valid_from"],
        valid_until=content["valid_until"],
        retention_days=days,
        path=path,
    )


def load_agreements(folder: Path) -> dict[str, Agreement]:
    """Reads all agreements in ``folder``, by id, in order of id; a missing folder holds none.

    Raises:
        ConfigurationError: Z-CFG-054, naming the file and what is wrong in it.
    """
    return {path.stem: _load_agreement(path) for path in sorted(folder.glob("*.yaml"))}


def agreements_of(
    agreements: Mapping[str, Agreement], source: str, on: date
) -> tuple[Agreement, ...]:
    """The agreements in force on a day that cover a source for any theme, in order of id."""
    return tuple(
        agreement
        for _, agreement in sorted(agreements.items())
        if source in agreement.sources and agreement.in_force(on)
    )


def agreement_for(agreements: Mapping[str, Agreement], source: str, on: date) -> Agreement | None:
    """The agreement (the first by id) in force on a day that covers a source for any theme."""
    return next(iter(agreements_of(agreements, source, on)), None)


def covers(agreements: Mapping[str, Agreement], source: str, theme: str, on: date) -> bool:
    """Whether an agreement in force on a day covers a source for a theme."""
    return any(theme in found.themes for found in agreements_of(agreements, source, on))


def covered_until(agreements: Mapping[str, Agreement], source: str, on: date) -> date | None:
    """The last day of the unbroken cover of a source from a day on; None if it has none then.

    An agreement that begins at the latest on the day after another one's last day continues it.
    """
    last: date | None = None
    day = on
    while found := agreements_of(agreements, source, day):
        last = max(agreement.valid_until for agreement in found)
        if last == date.max:
            break
        day = date.fromordinal(last.toordinal() + 1)
    return last


def is_pseudonymising(contract: Contract) -> bool:
    """Whether a column of the source is replaced by a keyed hash on intake."""
    return any(column.is_pseudonymised for table in contract.tables for column in table.columns)


def check_agreements(
    agreements: Mapping[str, Agreement], contracts: Mapping[str, Contract]
) -> None:
    """Sees that agreements and contracts fit together.

    Raises:
        ConfigurationError: Z-CFG-052 if a source whose identifiers are hashed is in more than one
            agreement; Z-CFG-053 if an agreement covers a source without a contract.
    """
    for agreement in agreements.values():
        unknown = [source for source in agreement.sources if source not in contracts]
        if unknown:
            raise ConfigurationError(
                f"{agreement.path}: no contract for the source(s) {', '.join(unknown)}.",
                code="Z-CFG-053",
                remedy="Correct the name, or add the contract to expectations/contracts/ first.",
            )
    for source, contract in contracts.items():
        names = sorted(a.id for a in agreements.values() if source in a.sources)
        if len(names) > 1 and is_pseudonymising(contract):
            raise ConfigurationError(
                f"{agreements[names[-1]].path}: {source} is hashed with the key of its agreement, "
                f"and is in more than one: {', '.join(names)}.",
                code="Z-CFG-052",
                remedy="Leave it in one; to prolong an agreement, change its valid_until.",
            )
