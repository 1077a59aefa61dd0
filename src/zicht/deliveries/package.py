"""A delivery is a Frictionless Data Package (v2): data files and, written last, its descriptor.

No descriptor, no delivery: half-copied files are never read. The descriptor names every file with
its size and sha256, and says which source and reference period the delivery describes.
Standard: https://datapackage.org/standard/data-package/
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from zicht.checkpoints import checkpoint
from zicht.clock import format_moment, parse_moment
from zicht.errors import DeliveryError
from zicht.periods import Period

DESCRIPTOR = "datapackage.json"
PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
MAX_DESCRIPTOR_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_CHUNK = 1 << 20


class ObservationStatus(StrEnum):
    """Whether the provider still expects to revise the figures."""

    FINAL = "final"
    PROVISIONAL = "provisional"


@dataclass(frozen=True)
class Resource:
    """One data file of a delivery.

    Attributes:
        name: the table of the contract that it holds.
        path: file name, relative to the delivery, without folders that climb.
        size: bytes.
        sha256: hexadecimal digest of the bytes.
        dialect: CSV dialect as Frictionless writes it, for example ``{"delimiter": ";"}``.
        encoding: encoding of a text file.
    """

    name: str
    path: str
    size: int
    sha256: str
    dialect: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Descriptor:
    """What a delivery says about itself.

    Attributes:
        id: unique among the deliveries of its source; the ``name`` of the data package.
        source: the contract that the delivery falls under.
        reference_period: the one period that it describes.
        observation_status: final or provisional.
        delivered_at: when the provider handed it over (UTC).
        resources: the data files.
        supersedes: id of an earlier delivery that this one corrects.
        contract_version: version of the contract that the provider had in mind, if stated.
        is_archive: a historic delivery brought in later; its ``known_at`` is ``delivered_at``.
    """

    id: str
    source: str
    reference_period: Period
    observation_status: ObservationStatus
    delivered_at: datetime
    resources: tuple[Resource, ...]
    supersedes: str | None = None
    contract_version: str | None = None
    is_archive: bool = False

    @property
    def content_hash(self) -> str:
        """sha256 over the names and digests of the data files: equal content, equal hash."""
        digest = hashlib.sha256()
        for resource in sorted(self.resources, key=lambda r: r.name):
            digest.update(f"{resource.name}\0{resource.sha256}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The content of ``datapackage.json``."""
        document: dict[str, Any] = {
            "$schema": PROFILE,
            "name": self.id,
            "source": self.source,
            "reference_period": str(self.reference_period),
            "observation_status": self.observation_status.value,
            "delivered_at": format_moment(self.delivered_at),
            "supersedes": self.supersedes,
            "contract_version": self.contract_version,
            "archive": self.is_archive,
            "resources": [
                {
                    "name": r.name,
                    "path": r.path,
                    "bytes": r.size,
                    "hash": f"sha256:{r.sha256}",
                    "encoding": r.encoding,
                    "dialect": dict(r.dialect),
                }
                for r in self.resources
            ],
        }
        return document


def printable(text: str) -> str:
    """A name as a person may see it: what cannot be printed or encoded is escaped."""
    return text if text.isprintable() else ascii(text)[1:-1]


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_delivery(
    target: Path,
    *,
    id: str,
    source: str,
    reference_period: Period,
    observation_status: ObservationStatus,
    delivered_at: datetime,
    tables: Mapping[str, Path | bytes],
    dialect: Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    supersedes: str | None = None,
    contract_version: str | None = None,
    is_archive: bool = False,
) -> Path:
    """Writes a delivery to ``target`` (usually ``landing/<source>``), descriptor last.

    Args:
        target: folder in which the delivery's own folder is made, named after ``id``.
        tables: per file name (``crime.csv``) its bytes or a file to copy. The table of the
            contract is the file name up to its first dot.

    Returns:
        The folder of the delivery.
    """
    folder = target / id
    folder.mkdir(parents=True, exist_ok=True)
    resources: list[Resource] = []
    for file_name, content in sorted(tables.items()):
        path = folder / file_name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
        resources.append(
            Resource(
                name=file_name.split(".")[0],
                path=file_name,
                size=path.stat().st_size,
                sha256=sha256_of(path),
                dialect=dialect or {},
                encoding=encoding,
            )
        )
    descriptor = Descriptor(
        id=id,
        source=source,
        reference_period=reference_period,
        observation_status=observation_status,
        delivered_at=delivered_at,
        resources=tuple(resources),
        supersedes=supersedes,
        contract_version=contract_version,
        is_archive=is_archive,
    )
    partial = folder / f".{DESCRIPTOR}.partial"
    partial.write_text(json.dumps(descriptor.to_json(), indent=2) + "\n", encoding="utf-8")
    checkpoint("delivery-written")
    os.replace(partial, folder / DESCRIPTOR)
    checkpoint("delivery-described")
    return folder


_RULES = {
    "Z-DEL-002": "descriptor_is_json",
    "Z-DEL-003": "descriptor_is_complete",
    "Z-DEL-004": "files_as_described",
    "Z-DEL-005": "plain_path",
    "Z-DEL-006": "no_links",
}


def _refuse(code: str, message: str, remedy: str, file: str = DESCRIPTOR) -> DeliveryError:
    return DeliveryError(message, code=code, remedy=remedy, file=file, rule=_RULES[code])


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: {key!r} is missing or not a text.",
            f"Write {key!r} into the descriptor; see the reference page on deliveries.",
        )
    if not value.isprintable():
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: {key!r} holds signs that cannot be printed: {ascii(value)[:200]}.",
            "Leave control characters and half surrogate pairs out.",
        )
    return value


def _text_or_none(document: Mapping[str, Any], key: str) -> str | None:
    return None if document.get(key) is None else _text(document, key)


def _flag(document: Mapping[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: {key!r} is neither true nor false.",
            "Write true or false, without quotation marks.",
        )
    return value


def _resources(document: Mapping[str, Any]) -> Sequence[Resource]:
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: 'resources' is missing or empty.",
            "List every data file with its path, bytes and hash.",
        )
    found: list[Resource] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise _refuse("Z-DEL-003", f"{DESCRIPTOR}: a resource is not an object.", "Correct it.")
        path = PurePosixPath(_text(entry, "path"))
        if path.is_absolute() or len(path.parts) != 1 or not _NAME.fullmatch(path.name):
            raise _refuse(
                "Z-DEL-005",
                f"{DESCRIPTOR}: the path {str(path)!r} is not that of a plain file in it.",
                "Put data files beside the descriptor and name them with letters, digits, . _ -.",
            )
        size, checksum = entry.get("bytes"), _text(entry, "hash")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise _refuse(
                "Z-DEL-003",
                f"{DESCRIPTOR}: 'bytes' of {path.name} is missing or not a whole number.",
                "State the size of the file in bytes.",
            )
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", checksum):
            raise _refuse(
                "Z-DEL-003",
                f"{DESCRIPTOR}: the hash of {path.name} is not 'sha256:' and 64 hex digits.",
                "Write the sha256 of the file, as sha256sum prints it, behind 'sha256:'.",
            )
        dialect = entry.get("dialect") or {}
        found.append(
            Resource(
                name=_text(entry, "name"),
                path=path.name,
                size=size,
                sha256=checksum.removeprefix("sha256:"),
                dialect=dialect if isinstance(dialect, dict) else {},
                encoding=str(entry.get("encoding") or "utf-8"),
            )
        )
    return found


def read_descriptor(folder: Path) -> Descriptor:
    """Reads and checks the descriptor of the delivery in ``folder``; does not touch the data files.

    Raises:
        DeliveryError: Z-DEL-002 not JSON or too large, Z-DEL-003 a field is missing or malformed,
            Z-DEL-005 a path that leaves the delivery, Z-DEL-006 a symbolic link.
    """
    path = folder / DESCRIPTOR
    if path.is_symlink():
        raise _refuse("Z-DEL-006", f"{DESCRIPTOR} is a symbolic link.", "Deliver plain files.")
    if path.stat().st_size > MAX_DESCRIPTOR_BYTES:
        raise _refuse(
            "Z-DEL-002", f"{DESCRIPTOR} is larger than {MAX_DESCRIPTOR_BYTES} bytes.", "Shorten it."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refuse(
            "Z-DEL-002", f"{DESCRIPTOR} is not JSON in UTF-8: {error}.", "Write it again as JSON."
        ) from error
    if not isinstance(document, dict):
        raise _refuse("Z-DEL-002", f"{DESCRIPTOR} is not a JSON object.", "Write it again.")
    identifier = _text(document, "name")
    # An engine reads a folder named delivery=NULL as no delivery at all.
    if not _NAME.fullmatch(identifier) or identifier.lower() == "null":
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: the name {identifier!r} is not of letters, digits, . _ - (or is null).",
            "Give the delivery a plain name of at most 120 signs.",
        )
    try:
        period = Period.parse(_text(document, "reference_period"))
        status = ObservationStatus(_text(document, "observation_status"))
        delivered_at = parse_moment(_text(document, "delivered_at"))
    except ValueError as error:
        raise _refuse(
            "Z-DEL-003",
            f"{DESCRIPTOR}: {error}.",
            "See the reference page on deliveries for the form of each field.",
        ) from error
    return Descriptor(
        id=identifier,
        source=_text(document, "source"),
        reference_period=period,
        observation_status=status,
        delivered_at=delivered_at,
        resources=tuple(_resources(document)),
        supersedes=_text_or_none(document, "supersedes"),
        contract_version=_text_or_none(document, "contract_version"),
        is_archive=_flag(document, "archive"),
    )


def verify_files(folder: Path, descriptor: Descriptor) -> None:
    """Compares the files with the descriptor: present, plain, size, checksum, nothing else there.

    Raises:
        DeliveryError: Z-DEL-004 missing, extra, or another size or checksum; Z-DEL-006 a link.
    """
    declared = {resource.path for resource in descriptor.resources}
    if len(declared) != len(descriptor.resources):
        raise _refuse("Z-DEL-003", f"{DESCRIPTOR}: a file is listed twice.", "List it once.")
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            raise _refuse(
                "Z-DEL-006",
                f"{printable(entry.name)} is a symbolic link.",
                "Deliver plain files.",
                printable(entry.name),
            )
        if entry.name != DESCRIPTOR and entry.name not in declared:
            raise _refuse(
                "Z-DEL-004",
                f"{printable(entry.name)} lies in the delivery and is not in {DESCRIPTOR}.",
                "List it as a resource or leave it out.",
                printable(entry.name),
            )
    for resource in descriptor.resources:
        path = folder / resource.path
        if not path.is_file():
            raise _refuse(
                "Z-DEL-004",
                f"{resource.path} is in {DESCRIPTOR} and not in the delivery.",
                "Deliver again, descriptor last.",
                resource.path,
            )
        size = path.stat().st_size
        if size != resource.size:
            raise _refuse(
                "Z-DEL-004",
                f"{resource.path} has {size} bytes where the descriptor says {resource.size}.",
                "The copy broke off or the file changed: deliver again under a new name.",
                resource.path,
            )
        checksum = sha256_of(path)
        if checksum != resource.sha256:
            raise _refuse(
                "Z-DEL-004",
                f"{resource.path} has sha256 {checksum[:12]}… where the descriptor says "
                f"{resource.sha256[:12]}…: at least one byte differs.",
                "The file was damaged or changed on the way: deliver again under a new name.",
                resource.path,
            )
