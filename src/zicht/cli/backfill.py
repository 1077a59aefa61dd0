"""``zicht backfill``: computes again what a reviewed request names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zicht.backfill import find_scope, load_backfill, run_backfill, summary
from zicht.cli.options import AsJson, Here, Patience
from zicht.cli.tables import print_json, print_table
from zicht.clock import clock_from_environment
from zicht.contracts import load_contracts
from zicht.settings import Settings


def backfill(
    file: Annotated[Path, typer.Argument(help="The reviewed request, a YAML file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be computed again.")
    ] = False,
    here: Here = False,
    patience: Patience = 3600,
    as_json: AsJson = False,
) -> None:
    """Computes again what rests on the sources and periods that a reviewed file names.

    Example: zicht backfill expectations/backfills/example.yaml --dry-run
    """
    settings, clock = Settings.from_environment(), clock_from_environment()

    def say(line: str) -> None:
        typer.echo(line, err=as_json)

    if dry_run:
        request = load_backfill(file, load_contracts(settings.contracts), clock().date())
        scope = find_scope(settings, request)
        rows = [
            {"cube": row.cube, "period": row.reference_period, "vintage": row.vintage}
            for row in scope.rows
        ]
        if as_json:
            deliveries = [{"source": r.source, "id": r.id} for r in scope.deliveries]
            print_json({"deliveries": deliveries, "rows": rows})
            return
        print_table(
            f"what {request.id} would compute again",
            ["cube", "period", "vintage"],
            rows,
            empty="nothing was computed from these deliveries yet",
        )
        typer.echo(summary(scope).strip())
        return

    def refresh() -> None:
        from zicht.orchestration.ask import refresh_now

        refresh_now(settings, clock, say, kind="backfill", here=here, patience=patience)

    record = run_backfill(settings, file, clock, say, refresh)
    if as_json:
        print_json(record)
