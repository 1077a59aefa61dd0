"""Measures Protect beside what existing tools make of the same tables, and attacks what it made.

Run it with ``make bench-disclosure``. Every row is two commands as a user would give them,
``zicht protect`` and ``zicht attack``, timed from start to end, start of Python included. The two
given tables and the rows of other tools are public and lie outside the project, in
``ZICHT_SDC`` (default ``../shared/data/sdc``); without them nothing runs, since the large tables
are made from these. ``ZICHT_BENCH_VINTAGES`` (10) says how many vintages follow each other.

``python bench/disclosure.py A 37k`` runs the cases whose name has one of these words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import altair
import pandas as pd
import yaml
from disclosure_tables import (
    Table,
    areas,
    given,
    late_records,
    linked,
    quarters,
    redivided,
)

from zicht.disclosure.reading import read_columns
from zicht.disclosure.spec import load_spec
from zicht.disclosure.tables import build_table

PROJECT = Path(__file__).resolve().parents[1]
SDC = Path(os.environ.get("ZICHT_SDC") or PROJECT.parent / "shared" / "data" / "sdc")
PLOT = PROJECT / "docs" / "images" / "disclosure-time.svg"
EXACT = {"protection": "exact", "attacker": "informed"}
NAIVE = {"protection": "interval", "attacker": "naive"}
INTERVAL = {"protection": "interval", "attacker": "informed"}
HEAD = (
    f"{'table':30} {'secondary':>9} {'mass':>8} {'bound':>8} {'wall s':>6} {'cpu s':>6} {'MB':>5} "
    f"{'exact':>5} {'short':>9} {'aim':>6}"
)
ZICHT = [str(Path(sys.executable).with_name("zicht"))]


@dataclass
class Run:
    """One protected table and what the attack found in it."""

    case: str
    policy: dict[str, Any]
    folder: Path
    cells: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    megabytes: float = 0.0
    status: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    attack: dict[str, Any] = field(default_factory=dict)
    attack_status: int = 0
    attack_seconds: float = 0.0

    def findings(self, *kinds: str) -> int:
        """Number of findings of these kinds that break the promise."""
        found = self.attack.get("findings", ())
        return sum(one["kind"] in kinds and one["severity"] == "fail" for one in found)

    def row(self) -> str:
        """The run as a line; ``short`` is targets not reached, of which so many cannot be had."""
        if not self.attack:
            return f"{self.case:30} {'failed, see above':>9}"
        report = self.report
        exact = self.findings("exact", "printed")
        short = "-"
        if self.policy["protection"] == "interval":
            unmet = {json.dumps(one["cell"]) for one in report["unmet"]}
            short = f"{self.findings('narrow')}/{len(unmet)}/{report['n_never_one']}"
        bound = "-" if report["lower_bound"] is None else f"{report['lower_bound']:,.0f}"
        return (
            f"{self.case:30} {report['n_secondary']:9,} {report['mass']:8,} {bound:>8} "
            f"{self.seconds:6.1f} {self.cpu:6.1f} {self.megabytes:5.0f} {exact:5} {short:>9} "
            f"{self.policy.get('seconds', 60):6}"
        )

    @property
    def protected(self) -> Path:
        return self.folder / "protected.csv"

    @property
    def spec(self) -> Path:
        return self.folder / "spec.yaml"


def timed(command: Sequence[str]) -> tuple[int, float, float, float, str]:
    """Status, wall seconds, processor seconds and megabytes (of the largest process)."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    return (
        os.waitstatus_to_exitcode(status),
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        output,
    )


def primary_cells(cells: Path, spec: Path) -> pd.DataFrame:
    """All cells of a table, and whether the threshold makes each a primary one."""
    known = load_spec(spec)
    table = build_table(read_columns(cells), known, cells.name)
    count = table.count.ravel()
    small = (count > 0) & (count < known.policy.minimum_frequency)
    return pd.DataFrame({**table.key_columns(), "is_primary": small.astype(int)})


def run(
    case: str,
    table: Table,
    folder: Path,
    *,
    released: Sequence[Run] = (),
    history: dict[str, Any] | None = None,
    **policy: Any,
) -> Run:
    """Protects a table and attacks what came out, with all that was released before."""
    own = folder / "".join(c if c.isalnum() else "-" for c in case)
    own.mkdir(parents=True)
    result = Run(case, policy, own)
    cells = own / "cells.csv"
    table.cells.to_csv(cells, index=False)
    spec = table.spec(**policy)
    if history:
        spec["history"] = history
    result.spec.write_text(yaml.safe_dump(spec, sort_keys=False))
    command = [*ZICHT, "protect", str(cells), "--spec", str(result.spec)]
    command += ["--out", str(result.protected), "--report", str(own / "report.json")]
    for earlier in released:
        command += ["--released", str(earlier.protected)]
    result.status, result.seconds, result.cpu, result.megabytes, output = timed(command)
    if result.status:
        print(f"{case}: zicht protect ended with {result.status}\n{output}", file=sys.stderr)
        return result
    result.report = json.loads((own / "report.json").read_text())
    result.cells = sum(1 for _ in result.protected.open()) - 1
    command = [*ZICHT, "attack", str(result.protected)]
    command += [str(earlier.protected) for earlier in reversed(released)]
    command += ["--spec", str(result.spec), "--report", str(own / "attack.json")]
    command += ["--knowledge", policy.get("attacker", "informed")]
    if policy["protection"] == "interval":
        flags = own / "primary.csv"
        primary_cells(cells, result.spec).to_csv(flags, index=False)
        command += ["--flags", str(flags)]
    result.attack_status, result.attack_seconds, *_, output = timed(command)
    if (own / "attack.json").exists():
        result.attack = json.loads((own / "attack.json").read_text())
    else:
        print(f"{case}: zicht attack ended with {result.attack_status}\n{output}", file=sys.stderr)
    return result


def peers() -> list[str]:
    """What other tools made of the given tables, as they are listed there."""
    lines = (SDC / "PEERS.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(("| S |", "| A |"))]


def given_tables(folder: Path) -> list[Run]:
    """The two given tables, at the times that are asked."""
    small, large = given(SDC, "S"), given(SDC, "A")
    naive_exact = {"protection": "exact", "attacker": "naive"}
    cases = [
        ("S exact, naive", small, {**naive_exact, "seconds": 30}),
        ("S exact, informed", small, {**EXACT, "seconds": 30}),
        ("S interval, naive", small, {**NAIVE, "seconds": 30}),
        ("S interval, informed", small, {**INTERVAL, "seconds": 30}),
        ("A exact, informed", large, {**EXACT, "seconds": 9}),
        ("A exact, informed, longer", large, {**EXACT, "seconds": 60}),
        ("A interval, naive", large, {**NAIVE, "seconds": 14}),
        ("A interval, naive, longer", large, {**NAIVE, "seconds": 120}),
        ("A interval, informed", large, {**INTERVAL, "seconds": 120}),
        ("A + vr exact, informed", linked(large), {**EXACT, "seconds": 60}),
    ]
    return [
        show(run(name, table, folder, **policy)) for name, table, policy in cases if asked(name)
    ]


def large_tables(folder: Path) -> list[Run]:
    """Larger tables, for how time grows."""
    base = given(SDC, "A")
    runs = []
    for name, make in (("37k quarters", quarters), ("70k areas", areas)):
        for what, policy in (
            ("exact", {**EXACT, "seconds": 60}),
            ("interval", {**INTERVAL, "seconds": 180}),
        ):
            if asked(f"{name} {what}"):
                runs.append(show(run(f"{name} {what}", make(base), folder, **policy)))
    return runs


def vintages(folder: Path) -> list[Run]:
    """Vintages in a row, each with 2% late records, and a re-division at the end."""
    if not asked("vintages"):
        return []
    number = int(os.environ.get("ZICHT_BENCH_VINTAGES", "10"))
    table = given(SDC, "A")
    runs: list[Run] = []
    for vintage in range(number):
        if vintage:
            table = late_records(table, seed=vintage)
        name = f"A vintage {vintage + 1}"
        runs.append(show(run(name, table, folder, released=runs, **EXACT, seconds=60)))
        changes = runs[-1].report.get("changes")
        if changes:
            print(
                f"  flips: {changes['n_shown_to_hidden']} hidden now, "
                f"{changes['n_hidden_to_shown']} shown now; "
                f"{changes['n_small_changes']} shown cells changed by less than the threshold"
            )
    merged, successors = redivided(late_records(table, seed=number))
    history = {
        "relation": "additions",
        "successors": [list(map(str, pair)) for pair in successors.itertuples(index=False)],
    }
    final = run("A re-divided", merged, folder, released=runs, history=history, **EXACT, seconds=60)
    return [*runs, show(final)]


def asked(name: str) -> bool:
    """Whether the command line asks for a case; without words, for all."""
    return len(sys.argv) == 1 or any(word in name for word in sys.argv[1:])


def show(result: Run) -> Run:
    """Prints a run and gives it back."""
    print(result.row(), flush=True)
    return result


def plot(runs: Sequence[Run]) -> None:
    """Time against cells, with lines for linear and quadratic growth from the smallest table."""
    points = pd.DataFrame(
        [
            {"cells": one.cells, "seconds": one.seconds, "protection": one.policy["protection"]}
            for one in runs
            if one.attack
        ]
    )
    start = points.sort_values("cells").groupby("protection").first().reset_index()
    lines = pd.DataFrame(
        [
            {
                "cells": cells,
                "seconds": row.seconds * (cells / row.cells) ** power,
                "growth": {1: "linear", 2: "quadratic"}[power],
                "protection": row.protection,
            }
            for row in start.itertuples()
            for cells in sorted({row.cells, *points["cells"]})
            for power in (1, 2)
        ]
    )
    axes = {
        "x": altair.X("cells:Q", scale=altair.Scale(type="log"), title="cells, totals included"),
        "y": altair.Y("seconds:Q", scale=altair.Scale(type="log"), title="seconds, start included"),
    }
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    panels = [
        altair.layer(
            altair.Chart(lines[lines["protection"] == what])
            .mark_line(strokeDash=[4, 4])
            .encode(**axes, color=altair.Color("growth:N", title="growth")),
            altair.Chart(points[points["protection"] == what])
            .mark_point(size=80, filled=True, color="black")
            .encode(**axes),
        ).properties(width=260, height=220, title=what)
        for what in sorted(points["protection"].unique())
    ]
    altair.hconcat(*panels).save(PLOT)
    print(f"plot: {PLOT.relative_to(PROJECT)}")


def main() -> int:
    """Runs what is asked; 1 when an attack found something in what Protect made."""
    if not SDC.is_dir():
        print(f"{SDC} is not there: the given tables and those made from them cannot be run.")
        return 1
    with tempfile.TemporaryDirectory(prefix="zicht-bench-") as name:
        folder = Path(name)
        print(HEAD)
        first = given_tables(folder)
        large = large_tables(folder)
        then = vintages(folder)
    print(
        "\nshort: targets that the attack finds unmet / that cannot be met whatever is hidden /\n"
        "cells whose lowest attainable value is more than 1 (PEERS.md counts these as short)"
    )
    print("\nOther tools, each on its own table (PEERS.md):")
    print("\n".join(peers()))
    comparable = [one for one in first if one.case in ("A exact, informed", "A interval, informed")]
    if comparable and large:
        plot([*comparable, *large])
    runs = [*first, *large, *then]
    leaks = [one.case for one in runs if not one.attack or one.findings("exact", "printed")]
    if leaks:
        print(f"LEAKS in {', '.join(leaks)}")
    return int(bool(leaks))


if __name__ == "__main__":
    sys.exit(main())
