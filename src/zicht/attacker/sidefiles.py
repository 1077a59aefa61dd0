"""Small files that go with an attack: primary cells, published rates, remarks on hidden cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zicht.attacker.complaints import bad_number, missing_column
from zicht.attacker.knowledge import HiddenCount
from zicht.attacker.published import HIDDEN, PublishedTable, Texts, read_texts
from zicht.attacker.rates import RateTable
from zicht.attacker.spec import Spec

_YES = frozenset({"true", "1", "yes", "t", "primary"})


def _columns(path: Path, wanted: Sequence[str]) -> dict[str, Texts]:
    columns = read_texts(path)
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise missing_column(str(path), missing[0], wanted)
    return columns


def _number(path: Path, column: str, text: object) -> float:
    try:
        return float(str(text))
    except ValueError as error:
        raise bad_number(
            f"{path}: {column} holds {str(text)!r}, which is no number.",
            "Write numbers with a decimal point.",
        ) from error


def _key(columns: Mapping[str, Texts], names: Sequence[str], row: int) -> dict[str, str]:
    return {
        name: str(columns[name][row])
        for name in names
        if name in columns and columns[name][row] is not None
    }


def read_flags(path: Path, spec: Spec) -> list[dict[str, str]]:
    """Reads which cells are primary: the dimensions and ``is_primary`` (true or false).

    Raises:
        AttackError: Z-ATT-001 it cannot be read, Z-ATT-003 a column is missing.
    """
    names = [dimension.name for dimension in spec.dimensions]
    columns = _columns(path, [*names, "is_primary"])
    return [
        _key(columns, names, row)
        for row, text in enumerate(columns["is_primary"])
        if str(text).lower() in _YES
    ]


def read_rates(path: Path, table: PublishedTable) -> list[RateTable]:
    """Reads published rates of cells of a table, one RateTable per factor and decimals.

    Columns: the dimensions, ``rate``, ``denominator``, and if wished ``factor`` (100 when left
    out) and ``decimals`` (as many as the rates show when left out).

    Raises:
        AttackError: Z-ATT-001 it cannot be read, Z-ATT-003 a column is missing, Z-ATT-006 a field
            that is no number.
    """
    names = [dimension.name for dimension in table.spec.dimensions]
    columns = _columns(path, [*names, "rate", "denominator"])
    rows = [row for row, text in enumerate(columns["rate"]) if text is not None]
    shown = [len(str(columns["rate"][row]).partition(".")[2]) for row in rows]
    most = max(shown, default=0)
    hidden = {
        tuple(table.key(row).values()) for row in np.flatnonzero(table.status == HIDDEN).tolist()
    }
    groups: dict[tuple[float, int], list[int]] = {}
    for row in rows:
        factor, decimals = 100.0, most
        if "factor" in columns and columns["factor"][row] is not None:
            factor = _number(path, "factor", columns["factor"][row])
        if "decimals" in columns and columns["decimals"][row] is not None:
            decimals = int(_number(path, "decimals", columns["decimals"][row]))
        groups.setdefault((factor, decimals), []).append(row)
    return [
        RateTable(
            name=str(path),
            keys=[_key(columns, names, row) for row in own],
            rate=np.array([_number(path, "rate", columns["rate"][row]) for row in own]),
            denominator=np.array(
                [_number(path, "denominator", columns["denominator"][row]) for row in own]
            ),
            is_hidden=np.array(
                [tuple(str(columns[name][row]) for name in names) in hidden for row in own]
            ),
            decimals=decimals,
            factor=factor,
            is_share=factor == 100.0,
        )
        for (factor, decimals), own in groups.items()
    ]


def read_hidden_counts(path: Path, spec: Spec) -> list[HiddenCount]:
    """Reads remarks on hidden cells: dimensions (empty: all codes), ``n_primary``, ``total``.

    Raises:
        AttackError: Z-ATT-001 it cannot be read, Z-ATT-006 a field that is no number.
    """
    names = [dimension.name for dimension in spec.dimensions]
    columns = _columns(path, [])
    n = len(next(iter(columns.values()), []))

    def field(column: str, row: int) -> float | None:
        if column not in columns or columns[column][row] is None:
            return None
        return _number(path, column, columns[column][row])

    found = []
    for row in range(n):
        primary = field("n_primary", row)
        found.append(
            HiddenCount(
                where=_key(columns, names, row),
                n_primary=None if primary is None else int(primary),
                total=field("total", row),
            )
        )
    return found
