"""File operations that must hold under a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zicht.errors import BusyError
from zicht.files import (
    locked,
    move_folder,
    read_json,
    remove_tree,
    write_atomic,
    write_json,
)

HOLDER = """
import sys
from pathlib import Path
from zicht.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "one.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=r"one\.lock") as caught, locked(lock, wait=False):
            pass
        assert (caught.value.code, caught.value.exit_status) == ("Z-BUSY-001", 10)
        holder.send_signal(signal.SIGKILL)
        with locked(lock):
            pass
    with locked(lock, wait=False):
        pass


def test_writing_replaces_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomic(path, "first, and long")
    with path.open() as reader:
        write_atomic(path, "second")
        assert reader.read() == "first, and long"
    assert path.read_text() == "second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_json_keeps_every_text(tmp_path: Path) -> None:
    document = {"name": os.fsdecode(b"caf\xe9"), "fryslân": [1, None, True, "€"]}
    write_json(tmp_path / "x.json", document)
    assert read_json(tmp_path / "x.json") == document
    assert "fryslân" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["plain", "x" * 255, "é" * 127])
def test_a_tree_goes_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "file").write_text("x")
    remove_tree(folder)
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_goes_after_a_removal_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / ".removing-data" / "half").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    remove_tree(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_moves_as_a_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "deep" / "down" / "b"
    source.mkdir()
    (source / "file").write_text("x")
    move_folder(source, target)
    assert not source.exists()
    assert (target / "file").read_text() == "x"


def test_a_folder_never_lands_on_another_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        move_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "file").read_text() == "a"
    assert (tmp_path / "b" / "file").read_text() == "b"
