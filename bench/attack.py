"""How long the attacker takes: the real table A, and a made one of 70,455 cells.

The tables are hidden by a throw-away rule (small values, and the smallest other cell of every line
with one gap): good enough to leave the attacker all the work, and some cells to find.

    python bench/attack.py            # exact recovery, then all intervals
    python bench/attack.py --small    # table A only
"""

from __future__ import annotations

import csv
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from zicht.attacker import Kind, PublishedTable, Structure, attack, make_table, parse_spec
from zicht.attacker.system import build_system

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data" / "sdc" / "A_inner.csv"
THRESHOLD = 10

Leaf = tuple[tuple[str, ...], str, str, int]
"""Area with the areas above it, category, sex, count."""


def table_a() -> tuple[list[str], list[Leaf]]:
    """Municipalities in provinces."""
    with SHARED.open(encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return ["mun", "prov"], [
            ((r["mun"], r["prov"]), r["cat"], r["sex"], int(r["freq"])) for r in rows
        ]


def table_70k() -> tuple[list[str], list[Leaf]]:
    """3,000 areas in 342 municipalities in 12 provinces, 6 categories, 2 sexes."""
    random = np.random.default_rng(1)
    n = 3000
    mun = np.concatenate([np.arange(342), random.integers(0, 342, n - 342)])
    prov = random.integers(0, 12, 342)
    size = random.lognormal(3.0, 1.0, n)
    share = np.outer([0.4, 0.25, 0.15, 0.1, 0.07, 0.03], [0.7, 0.3])
    counts = random.poisson(size[:, None, None] * share)
    leaves = [
        (
            (f"A{i:04}", f"M{mun[i]:03}", f"P{prov[mun[i]]:02}"),
            f"C{c}",
            "MF"[s],
            int(counts[i, c, s]),
        )
        for i in range(n)
        for c in range(6)
        for s in range(2)
    ]
    return ["area", "mun", "prov"], leaves


def cube(leaves: Iterable[Leaf]) -> dict[tuple[str, str, str], int]:
    """All cells with their totals."""
    cells: dict[tuple[str, str, str], int] = {}
    for areas, cat, sex, count in leaves:
        for area in (*areas, "Total"):
            for c in (cat, "Total"):
                for s in (sex, "Total"):
                    cells[(area, c, s)] = cells.get((area, c, s), 0) + count
    return cells


def published(
    levels: Sequence[str], leaves: Sequence[Leaf], hidden: set[tuple[str, str, str]]
) -> PublishedTable:
    """The table with some cells hidden."""
    cells = sorted(cube(leaves).items())
    chains = sorted({areas for areas, *_ in leaves})
    structure = Structure(
        {level: tuple(sorted({c[i] for c in chains})) for i, level in enumerate(levels)},
        {
            (levels[i], levels[i + 1]): {c[i]: c[i + 1] for c in chains}
            for i in range(len(levels) - 1)
        },
    )
    spec = parse_spec(
        {
            "dimensions": {
                levels[0]: {"hierarchies": [list(levels)], "total": "Total"},
                "cat": {"total": "Total"},
                "sex": {"total": "Total"},
            }
        }
    )
    return make_table(
        {
            levels[0]: [key[0] for key, _ in cells],
            "cat": [key[1] for key, _ in cells],
            "sex": [key[2] for key, _ in cells],
            "value": [None if key in hidden else str(value) for key, value in cells],
            "obs_status": ["Q" if key in hidden else "A" for key, _ in cells],
        },
        spec,
        {levels[0]: structure},
    )


def throw_away(levels: Sequence[str], leaves: Sequence[Leaf]) -> set[tuple[str, str, str]]:
    """Small values, and the smallest other cell of every line with one gap."""
    system = build_system([published(levels, leaves, set())])
    values = system.lower
    hidden = (values > 0) & (values < THRESHOLD)
    while True:
        gaps = np.add.reduceat(hidden[system.columns].astype(int), system.start[:-1])
        before = int(hidden.sum())
        for row in np.flatnonzero(gaps == 1).tolist():
            line = system.columns[system.start[row] : system.start[row + 1]]
            spare = line[~hidden[line] & (values[line] > 0)]
            if hidden[line].sum() == 1 and len(spare):
                hidden[spare[np.argmin(values[spare])]] = True
        if int(hidden.sum()) == before:
            return {tuple(system.key(v).values()) for v in np.flatnonzero(hidden).tolist()}


def cpu() -> float:
    """Processor seconds of this process and its children."""
    return sum(
        resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def main() -> None:
    """Prints one line per table and question."""
    print(f"{'cells':>7} {'hidden':>7} {'question':<10} {'exact':>6} {'programs':>9} wall s  cpu s")
    for make in (table_a,) if "--small" in sys.argv else (table_a, table_70k):
        levels, leaves = make()
        hidden = throw_away(levels, leaves)
        for question in ("exact", "intervals"):
            wall, used = time.monotonic(), cpu()
            table = published(levels, leaves, hidden)
            report = attack([table], intervals=question == "intervals")
            print(
                f"{table.n_cells:>7} {len(hidden):>7} {question:<10} "
                f"{report.count(Kind.EXACT):>6} {report.statistics.n_programs:>9} "
                f"{time.monotonic() - wall:>6.1f} {cpu() - used:>6.1f}"
            )


if __name__ == "__main__":
    main()
