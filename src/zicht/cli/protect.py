"""``zicht protect``: a table of counts or sums, protected against disclosure."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

import typer

WIDTH = 80
SLOW = 5.0
"""Seconds after which the command tells how far it is."""

Rows = list[tuple[str, str]]


def _rows(report: dict[str, Any]) -> Rows:
    def share(part: int) -> str:
        return f"{part:,} ({100 * part / max(report['n_cells'], 1):.1f}%)"

    rows = [("cells, totals included", f"{report['n_cells']:,}")]
    if report["method"] == "round":
        rows += [
            ("rounded to", str(report["rounding_base"])),
            ("largest change", f"{report['largest_error']:,}"),
            ("hidden as well", f"{report['n_hidden']:,}"),
        ]
    else:
        rows += [
            ("hidden: unsafe in itself", share(report["n_primary"])),
            ("hidden: to shield those", share(report["n_secondary"])),
        ]
        if report["n_kept_hidden"]:
            rows.append(("  of which hidden before", f"{report['n_kept_hidden']:,}"))
        loss = f"{report['loss']:,.0f}"
        if report["lower_bound"] is not None:
            loss += f" (cannot be below {report['lower_bound']:,.0f})"
        rows.append(("loss", loss))
        if report["n_unmet"]:
            rows.append(("targets that cannot be had", f"{report['n_unmet']:,}"))
    changes = report["changes"]
    if changes is not None:
        rows += [
            ("hidden before, shown now", f"{changes['n_hidden_to_shown']:,}"),
            ("shown before, hidden now", f"{changes['n_shown_to_hidden']:,}"),
            ("small changes", f"{changes['n_small_changes']:,}"),
        ]
    rows += [("instead", one) for one in report["fallbacks"]]
    rows += [("merged", one) for one in report["merged"]]
    rows.append(("seconds", f"{report['seconds']:.1f}"))
    return rows


def protect(
    cells: Annotated[Path, typer.Argument(help="Innermost cells, a CSV or Parquet file.")],
    spec: Annotated[Path, typer.Option(help="What the table is and what is asked, in YAML.")],
    out: Annotated[Path, typer.Option(help="Where what may be published goes.")],
    released: Annotated[
        list[Path] | None,
        typer.Option(help="An earlier release of the same units; may be repeated, oldest first."),
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Internal: why each cell is hidden (Parquet or CSV).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Internal: loss, bound, what could not be had (JSON).")
    ] = None,
) -> None:
    """Protects a table against disclosure, also by who combines it with earlier releases.

    Writes the cells, totals included, and beside them which code lies in which. Writes nothing
    when anything is wrong.

    Example: zicht protect cells.csv --spec spec.yaml --out protected.csv
    """
    from zicht.cli.outputs import check_outputs
    from zicht.disclosure.history import Released, structure_path
    from zicht.disclosure.protecting import protect_cells
    from zicht.disclosure.spec import load_spec
    from zicht.disclosure.writing import NO_PLACE

    wanted = load_spec(spec)
    earlier = [Released.read(path) for path in released or ()]
    given = [cells, spec, *(released or ()), *(structure_path(one) for one in released or ())]
    if wanted.history.successors_file is not None:
        given.append(wanted.history.successors_file)
    check_outputs([out], given, code=NO_PLACE)
    made = [one for one in (out, structure_path(out), explain, report) if one is not None]
    check_outputs(made, given, code=NO_PLACE)
    began = time.monotonic()

    def tell(line: str) -> None:
        # Of what takes a moment nobody asks how far it is.
        if time.monotonic() - began > SLOW:
            typer.echo(line[:WIDTH], err=True)

    protected = protect_cells(cells, wanted, earlier, tell)
    protected.write(out, explain, report)
    typer.echo(f"protected {cells.name} -> {out.name}")
    rows = _rows(protected.report)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"  {name:<{width}}  {value}")
    for warning in protected.report["warnings"]:
        for line in textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="  "):
            typer.echo(line)
