"""Small file operations that must hold under a crash: locks, atomic writes, whole-folder moves."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zicht.errors import BusyError, StorageError

_LONGEST_NAME = 240


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on ``path`` for as long as the process lives and the block runs.

    Raises:
        BusyError: Z-BUSY-001 if ``wait`` is false and another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise BusyError(
                f"another process is at work ({path.name}).",
                remedy="Wait until it has finished; a lock goes with its process.",
            ) from error
        yield


def sync_file(path: Path) -> None:
    """Makes the bytes of a file survive a power cut."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: str) -> None:
    """Writes text so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    # A file name need not be UTF-8; in JSON the escape reads back as it was.
    with partial.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def write_json(path: Path, document: Any) -> None:
    """Writes ``document`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file in UTF-8.

    Raises:
        StorageError: Z-IO-002 naming the file, if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(
            f"{path} is damaged: {error}.",
            code="Z-IO-002",
            remedy="Restore the file from the backup; see the runbook on restoring.",
        ) from error


def list_folders(folder: Path) -> list[Path]:
    """The folders in ``folder``, in order of name; none when it is not there.

    Unlike a glob, a folder that may not be read is an error and not an empty one.
    """
    if not folder.exists():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir())


def hidden_beside(folder: Path, prefix: str) -> Path:
    """A hidden name beside ``folder`` that a file system takes, however long its own name is."""
    name = os.fsencode(folder.name)
    fits = len(prefix) + len(name) <= _LONGEST_NAME
    return folder.with_name(prefix + (folder.name if fits else hashlib.sha256(name).hexdigest()))


def remove_tree(folder: Path) -> None:
    """Removes a folder if it is there; a name that is first hidden is never seen half-removed."""
    if not folder.exists():
        return
    hidden = hidden_beside(folder, ".removing-")
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(folder, hidden)
    shutil.rmtree(hidden)


def move_folder(source: Path, target: Path) -> None:
    """Moves a folder by one rename and makes both ends durable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    sync_folder(target.parent)
    sync_folder(source.parent)
