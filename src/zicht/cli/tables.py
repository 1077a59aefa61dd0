"""Tables for a person at a terminal, and the same content as JSON for a program."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_NARROWEST = 60
_WIDEST = 120


def console() -> Console:
    """A console as wide as the terminal, within reason."""
    width = min(max(shutil.get_terminal_size((100, 40)).columns, _NARROWEST), _WIDEST)
    return Console(width=width, highlight=False, markup=False, soft_wrap=False)


def print_json(document: Any) -> None:
    """Writes a document as JSON to standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    right: Sequence[str] = (),
    empty: str = "nothing",
) -> None:
    """Prints rows as a table that fits the terminal; says ``empty`` when there are none."""
    out = console()
    if not rows:
        out.print(f"{title}: {empty}")
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.replace("_", " "),
            justify="right" if column in right else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*("" if row[c] is None else str(row[c]) for c in columns))
    out.print(table)
