"""The suppression engine alone: ``python bench/disclosure_engine.py A informed exact 60``.

Tables: S and A of ``../shared/data/sdc``, ``quarters`` (A in four quarters with a year total) and
``wide`` (3,000 areas in four levels), the last two generated from A. Prints rounds, loss, bound,
wall-clock and processor seconds and memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array

from zicht.disclosure.secondary import Demand, System, suppress

SDC = Path(__file__).resolve().parents[2] / "shared" / "data" / "sdc"
CROSS = [["cat"], ["sex"]]


def load(frame: pd.DataFrame, dimensions: list[list[str]]) -> tuple[csr_array, ...]:
    """Equations, values and numbers of leaves of a table in which every dimension has a total.

    Args:
        dimensions: levels per dimension, innermost first.
    """
    frame = frame.assign(total="Total")
    lines, sums, shape = [], [], []
    for levels in dimensions:
        path = frame[[*levels, "total"]].drop_duplicates(levels[0]).sort_values(levels[0])
        codes = [(level, code) for level in [*levels, "total"] for code in sorted(set(path[level]))]
        at = {code: k for k, code in enumerate(codes)}
        steps = zip([*levels], [*levels[1:], "total"], strict=True)
        pairs = [(at[low, a], at[high, b]) for low, high in steps
                 for a, b in sorted(set(zip(path[low], path[high], strict=True)))]  # fmt: skip
        lines.append(pd.DataFrame(pairs, columns=["part", "whole"]).groupby("whole")["part"])
        members = [(at[level, code], k) for level in [*levels, "total"]
                   for k, code in enumerate(path[level])]  # fmt: skip
        row, column = np.array(members).T
        sums.append(coo_array((np.ones(len(row)), (row, column))).toarray())
        shape.append(len(codes))
    inner = frame.groupby([levels[0] for levels in dimensions])["freq"].sum()
    counts = inner.to_numpy(float).reshape([len(index) for index in inner.index.levels])
    leaves = (counts > 0).astype(float)
    for axis, matrix in enumerate(sums):
        counts, leaves = (
            np.moveaxis(np.tensordot(matrix, part, (1, axis)), 0, axis) for part in (counts, leaves)
        )
    ids = np.arange(counts.size).reshape(shape)
    parts, row = [], 0
    for axis, groups in enumerate(lines):
        for whole, kids in groups:
            total = np.take(ids, whole, axis).ravel()
            number = np.arange(row, row + len(total))
            parts.append((number, total, np.ones(len(total))))
            parts += [(number, np.take(ids, k, axis).ravel(), -np.ones(len(total))) for k in kids]
            row += len(total)
    number, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    matrix = coo_array((value, (number, column)), shape=(row, counts.size)).tocsr()
    return matrix, counts.ravel(), leaves.ravel()


def table(name: str) -> tuple[csr_array, ...]:
    """One of the tables by name."""
    rng = np.random.default_rng(7)
    frame = pd.read_csv(SDC / ("S_inner.csv" if name == "S" else "A_inner.csv"))
    if name == "S":
        return load(frame, [["mun", "prov"], ["cat"]])
    if name == "A":
        return load(frame, [["mun", "prov"], *CROSS])
    if name == "quarters":
        quarters = [
            frame.assign(
                quarter=f"Q{k}", freq=rng.poisson(frame.freq * rng.uniform(0.9, 1.1, len(frame)))
            )
            for k in range(4)
        ]
        return load(pd.concat(quarters), [["mun", "prov"], *CROSS, ["quarter"]])
    profile = frame.pivot_table(index="mun", columns=["cat", "sex"], values="freq")
    province = frame.drop_duplicates("mun").set_index("mun")["prov"]
    parent = np.sort(
        np.concatenate([profile.index, rng.choice(profile.index, 3000 - len(profile))])
    )
    areas = [
        pd.DataFrame(
            {
                "area": f"W{k:04d}",
                "mun": mun,
                "prov": province[mun],
                "cat": profile.columns.get_level_values("cat"),
                "sex": profile.columns.get_level_values("sex"),
                "freq": rng.poisson(
                    profile.iloc[rng.integers(len(profile))] * rng.uniform(0.8, 1.2)
                ),
            }
        )
        for k, mun in enumerate(parent)
    ]
    return load(pd.concat(areas), [["area", "mun", "prov"], *CROSS])


def problem(
    parts: tuple[csr_array, ...], attacker: str, protection: str, minimum: int = 10
) -> tuple[System, Demand]:
    """Frequency rule, published zeros, weight by value."""
    matrix, values, leaves = parts
    lower = leaves if attacker == "informed" else np.zeros(len(values))
    hidden = (values > 0) & (values < minimum)
    sided = hidden & (protection == "interval")
    return (
        System(matrix, values, lower, np.full(len(values), np.inf)),
        Demand(
            hidden=hidden,
            shown=values == 0,
            weight=np.where(hidden, 0.0, values),
            guarded=values > 0,
            low=np.where(sided, np.maximum(lower, 1.0), np.nan),
            high=np.where(sided, float(minimum), np.nan),
        ),
    )


def main() -> None:
    """Protects one table and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["S", "A", "quarters", "wide"])
    parser.add_argument("attacker", choices=["naive", "informed"])
    parser.add_argument("protection", choices=["exact", "interval"])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    system, demand = problem(table(asked.table), asked.attacker, asked.protection)
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    answer = suppress(
        system,
        demand,
        seconds=asked.seconds,
        processes=asked.processes,
        progress=lambda event, facts: print(
            event, {name: round(fact, 1) for name, fact in facts.items()}, flush=True
        ),
    )
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{asked.table} {asked.attacker} {asked.protection}: {system.size} cells, "
        f"{answer.secondary.sum()} secondary, loss {answer.loss:.0f}, "
        f"bound {answer.lower_bound:.0f}, unmet {len(answer.unmet)}, "
        f"infeasible {len(answer.infeasible)}, complete {answer.complete}, "
        f"rounds {answer.rounds}, wall {time.monotonic() - began:.1f} s, "
        f"processor {own.ru_utime - before + children.ru_utime:.1f} s, "
        f"memory {own.ru_maxrss // 1024} + {children.ru_maxrss // 1024} MB"
    )


if __name__ == "__main__":
    main()
