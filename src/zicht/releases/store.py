"""The store of releases: publishing is one rename and one switch of a pointer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zicht.checkpoints import checkpoint
from zicht.deliveries.package import sha256_of
from zicht.errors import ReleaseError
from zicht.files import locked, move_folder, read_json, remove_tree, sync_folder, write_json
from zicht.settings import Settings

DOCUMENT = "release.json"
CURRENT = "current"


def list_releases(settings: Settings) -> list[Mapping[str, Any]]:
    """The documents of all releases, oldest first."""
    documents = [
        read_json(path)
        for path in settings.releases.glob(f"*/{DOCUMENT}")
        if path.parent.name != CURRENT and not path.parent.name.startswith(".")
    ]
    return sorted(documents, key=lambda d: (d["released_at"], d["release_id"]))


def current_release(settings: Settings) -> Mapping[str, Any] | None:
    """The document of the release that readers see; None before the first one."""
    path = settings.releases / CURRENT / DOCUMENT
    return dict(read_json(path)) if path.exists() else None


def describe_files(folder: Path) -> list[dict[str, Any]]:
    """Name, size in bytes and sha256 of each file, in order of name.

    Raises:
        ReleaseError: Z-REL-006 if something else than plain files lies there.
    """
    odd = [path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()]
    if odd:
        raise ReleaseError(
            f"{folder} holds what is no plain file: {', '.join(sorted(odd))}.",
            code="Z-REL-006",
            remedy="Run the refresh again, and find out who wrote there.",
        )
    return [
        {"path": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.name != DOCUMENT and not path.name.endswith(".partial")
    ]


def require_files(folder: Path, files: Sequence[Mapping[str, Any]]) -> None:
    """A candidate must be as it was built, each file of it and no other.

    Args:
        files: as :func:`describe_files` told them when it was built.

    Raises:
        ReleaseError: Z-REL-003 if it is not.
    """
    if describe_files(folder) != list(files):
        raise ReleaseError(
            f"candidate {folder.name} is not as it was built: a file changed or was added.",
            code="Z-REL-003",
            remedy="Run the refresh again, and find out who wrote in candidates/.",
        )


def _make_read_only(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


def _point(settings: Settings, release_id: str) -> None:
    partial = settings.releases / f".{CURRENT}.{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(release_id)
    os.replace(partial, settings.releases / CURRENT)
    sync_folder(settings.releases)


def publish(
    settings: Settings,
    release_id: str,
    document: Mapping[str, Any],
    expected: Sequence[Mapping[str, Any]],
    last_look: Callable[[Path], None],
) -> Path:
    """Publishes the candidate ``release_id``: moves it to the releases and switches the pointer.

    A reader that follows ``current`` sees the old release or the new one, whole. Safe to repeat.

    Args:
        document: the content of ``release.json``.
        expected: the files that passed gate 4, as :func:`describe_files` told them.
        last_look: called with the candidate while no other release can come in between; what it
            raises stops the publication. It keeps what the release says in the register.

    Returns:
        The folder of the release.

    Raises:
        ReleaseError: Z-REL-002 if the candidate is not there, Z-REL-003 if it changed after gate 4.
    """
    target = settings.releases / release_id
    with locked(settings.locks / "publish.lock"):
        current = current_release(settings)
        if current is not None and current["released_at"] > document["released_at"]:
            raise ReleaseError(
                f"{release_id} is of {document['released_at']} and the current release of "
                f"{current['released_at']}.",
                code="Z-REL-005",
                remedy="A newer refresh came first; start this one again from the plan.",
            )
        if not (target / DOCUMENT).exists():
            candidate = settings.candidates / release_id
            if not candidate.is_dir():
                raise ReleaseError(
                    f"candidate {release_id} is not there.",
                    code="Z-REL-002",
                    remedy="Run the refresh again: it makes the candidate anew.",
                )
            for leftover in candidate.glob(f".{DOCUMENT}.*.partial"):
                leftover.unlink()
            if describe_files(candidate) != list(expected):
                raise ReleaseError(
                    f"candidate {release_id} is not the one that passed gate 4: a file changed.",
                    code="Z-REL-003",
                    remedy="Run the refresh again, and find out who wrote in candidates/.",
                )
            last_look(candidate)
            write_json(candidate / DOCUMENT, document)
            checkpoint("publish-documented")
            move_folder(candidate, target)
            checkpoint("publish-moved")
        _make_read_only(target)
        _point(settings, release_id)
        # Left by a run that died after the move, or made again for a release that stands.
        remove_tree(settings.candidates / release_id)
        checkpoint("publish-pointed")
    return target
