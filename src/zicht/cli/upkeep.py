"""``zicht upkeep``: destroys what may no longer be held."""

from __future__ import annotations

from typing import Annotated

import typer

from zicht.cli.tables import print_json
from zicht.clock import clock_from_environment
from zicht.settings import Settings
from zicht.upkeep import upkeep as run_upkeep


def upkeep(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; destroy nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Destroys deliveries whose agreement or retention ended, and what was computed from them.

    Releases stay; a record of what went, when and why stays in destroyed/.

    Example: zicht upkeep --dry-run
    """

    def say(line: str) -> None:
        typer.echo(line, err=as_json)

    report = run_upkeep(Settings.from_environment(), clock_from_environment(), say, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "deliveries": [
                    {
                        "delivery": one["delivery"],
                        "source": one["source"],
                        "reference_period": one["reference_period"],
                        "why": one["why"],
                    }
                    for one in report.deliveries
                ],
                "refused": list(report.refused),
                "n_derived_rows": report.n_derived_rows,
                "without_agreement": list(report.without_agreement),
                "without_contract": list(report.without_contract),
            }
        )
