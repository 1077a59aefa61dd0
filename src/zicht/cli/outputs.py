"""Whether files may be written where a command is told to write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from zicht.errors import UsageError


def check_outputs(made: Sequence[Path], given: Iterable[Path], *, code: str) -> None:
    """Refuses to write over what the command reads, and over what is no plain file.

    Args:
        made: files that will be written.
        given: files that are read; one that is not there does no harm.
        code: code of the error.

    Raises:
        UsageError: ``code`` naming the file.
    """
    read = [path.resolve() for path in given]
    places = [path.resolve() for path in made]
    for path, place in zip(made, places, strict=True):
        same = place.exists() and any(one.exists() and one.samefile(place) for one in read)
        if places.count(place) > 1 or place in read or same:
            raise UsageError(
                f"{path.name} would be written over another file of this command.",
                code=code,
                remedy="Give every file a name of its own.",
            )
        if not path.parent.is_dir():
            raise UsageError(
                f"the folder {path.parent} of {path.name} is not there.",
                code=code,
                remedy="Make it first.",
            )
        # What is renamed into place replaces a device or a link by a file.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(
                f"{path.name or path} is there and is no plain file.",
                code=code,
                remedy="Name a file; a folder, a link or a device is not replaced.",
            )
