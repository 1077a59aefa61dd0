"""The one exception hierarchy of the platform.

Every error carries a stable ``code`` (documented in ``docs/reference/errors.md``), a message that
names the thing that is wrong, and a remedy. The command line turns the class into an exit status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class ZichtError(Exception):
    """Base of all errors that the platform raises on purpose.

    Args:
        message: what is wrong, naming the file, row or setting concerned.
        code: stable identifier such as ``Z-DEL-004``; the class default when omitted.
        remedy: what the reader can do about it.
    """

    default_code: ClassVar[str] = "Z-000"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.remedy = remedy

    def __str__(self) -> str:
        tail = f" Remedy: {self.remedy}" if self.remedy else ""
        return f"{self.code}: {self.message}{tail}"


class UsageError(ZichtError):
    """The command line was called with arguments that cannot be used."""

    default_code = "Z-USE-001"
    exit_status = 2


class ConfigurationError(ZichtError):
    """A contract, suite, policy, theme or setting in the project is wrong."""

    default_code = "Z-CFG-001"
    exit_status = 3


class DeliveryError(ZichtError):
    """A delivery is not what was agreed; it goes to quarantine.

    Args:
        file: the file of the delivery that is wrong; empty for the delivery as a whole.
        rule: name of the rule that does not hold, in snake case.
        rows: a sample of what is wrong, as ``_row``, ``column`` and ``value``.
    """

    default_code = "Z-DEL-001"
    exit_status = 4

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        remedy: str = "",
        file: str = "",
        rule: str = "",
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.file = file
        self.rule = rule
        self.rows = tuple(rows)


class GateError(ZichtError):
    """A gate failed: the flow stops and the last release stays."""

    default_code = "Z-GATE-001"
    exit_status = 5


class TransformError(ZichtError):
    """dbt could not build or test a model."""

    default_code = "Z-DBT-001"
    exit_status = 6


class DisclosureError(ZichtError):
    """An output cannot pass the wall under its policy."""

    default_code = "Z-DIS-001"
    exit_status = 7


class ReleaseError(ZichtError):
    """A release could not be built, published or read."""

    default_code = "Z-REL-001"
    exit_status = 8


class RemoteError(ZichtError):
    """A remote service did not answer as it should."""

    default_code = "Z-NET-001"
    exit_status = 9


class StorageError(ZichtError):
    """A file or folder cannot be read or written."""

    default_code = "Z-IO-001"
    exit_status = 12


class BusyError(ZichtError):
    """Another process holds the lock that this one needs."""

    default_code = "Z-BUSY-001"
    exit_status = 10


class AttackError(ZichtError):
    """Published tables cannot be attacked: a file, spec or structure is not what it should be."""

    default_code = "Z-ATT-001"
    exit_status = 13
