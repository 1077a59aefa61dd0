"""The tables of the disclosure benchmark: two that are given, and larger ones made from them.

Made-up data: nothing here is about anybody. Every table is a frame of innermost cells with a spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REGIONS = {"hierarchies": [["mun", "prov"]], "total": "Total"}
LINKED = {"hierarchies": [["mun", "prov"], ["mun", "vr"]], "total": "Total"}
SEED = 20261122


@dataclass(frozen=True)
class Table:
    """Innermost cells and the dimensions of their spec.

    Attributes:
        name: for the report.
        cells: one row per innermost cell, with ``freq``.
        dimensions: as in ``spec.yaml``.
    """

    name: str
    cells: pd.DataFrame
    dimensions: dict[str, Any]

    def spec(self, **policy: Any) -> dict[str, Any]:
        """The document of ``spec.yaml`` with the policy given."""
        return {
            "dimensions": self.dimensions,
            "count": "freq",
            "policy": {"minimum_frequency": 10, "publish_zeros": True, **policy},
        }


def given(folder: Path, name: str) -> Table:
    """Table S or A, of ``folder``, with provinces; a column that never changes is no dimension."""
    cells = pd.read_csv(folder / f"{name}_inner.csv")
    others = {one: {"total": "Total"} for one in ("cat", "sex") if cells[one].nunique() > 1}
    return Table(name, cells, {"mun": REGIONS, **others})


def linked(table: Table) -> Table:
    """The same table with the regions ``vr`` as well, which cross the provinces."""
    return Table(f"{table.name} + vr", table.cells, {**table.dimensions, "mun": LINKED})


def quarters(table: Table) -> Table:
    """Four quarters and a year total: each count spread over four draws of its own size."""
    random = np.random.default_rng(SEED)
    parts = []
    for quarter in ("Q1", "Q2", "Q3", "Q4"):
        part = table.cells.copy()
        part["freq"] = random.poisson(part["freq"] * random.uniform(0.85, 1.15, len(part)))
        parts.append(part.assign(quarter=quarter))
    return Table(
        f"{table.name}, 4 quarters",
        pd.concat(parts, ignore_index=True).drop(columns="period"),
        {**table.dimensions, "quarter": {"total": "Year"}},
    )


def areas(table: Table, number: int = 3000) -> Table:
    """Every municipality divided into areas, some 9 of unequal size; four levels of regions."""
    random = np.random.default_rng(SEED)
    municipalities = table.cells["mun"].unique()
    extra = random.multinomial(
        number - len(municipalities), np.full(len(municipalities), 1 / len(municipalities))
    )
    shares = {
        code: random.dirichlet(np.full(1 + n, 1.5))
        for code, n in zip(municipalities, extra, strict=True)
    }
    rows = []
    for row in table.cells.itertuples(index=False):
        # An area has the density of its municipality: as many per cell, over more cells.
        own = shares[row.mun]
        counts = random.poisson(row.freq * len(own) * own)
        rows += [
            (f"{row.mun}-{i:02}", row.mun, row.prov, row.cat, row.sex, int(n))
            for i, n in enumerate(counts)
        ]
    cells = pd.DataFrame(rows, columns=["area", "mun", "prov", "cat", "sex", "freq"])
    dimensions = {
        "area": {"hierarchies": [["area", "mun", "prov"]], "total": "Total"},
        "cat": {"total": "Total"},
        "sex": {"total": "Total"},
    }
    return Table(f"{number} areas", cells, dimensions)


def late_records(table: Table, share: float = 0.02, seed: int = 1) -> Table:
    """A later vintage: ``share`` of all records more, where records already are or nearly so."""
    random = np.random.default_rng(SEED + seed)
    cells = table.cells.copy()
    weight = cells["freq"].to_numpy() + 0.2
    extra = random.multinomial(round(share * cells["freq"].sum()), weight / weight.sum())
    cells["freq"] = cells["freq"] + extra
    return Table(f"{table.name}, vintage {seed + 1}", cells, table.dimensions)


def redivided(table: Table, merges: int = 12) -> tuple[Table, pd.DataFrame]:
    """The same facts after pairs of municipalities of one province merged.

    Returns:
        The table, and the successors (``from``, ``to``).
    """
    parents = table.cells[["mun", "prov", "vr"]].drop_duplicates().reset_index(drop=True)
    moves = {}
    for _, members in parents.groupby(["prov", "vr"]):
        codes = list(members["mun"])
        if len(codes) >= 4 and len(moves) < merges:
            moves[codes[1]] = codes[0]
    cells = table.cells.copy()
    cells["mun"] = cells["mun"].replace(moves)
    keys = [column for column in cells.columns if column != "freq"]
    merged = cells.groupby(keys, as_index=False, sort=False)["freq"].sum()
    successors = pd.DataFrame(sorted(moves.items()), columns=["from", "to"])
    return Table(f"{table.name}, merged", merged, table.dimensions), successors
