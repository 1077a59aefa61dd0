"""``zicht synth``: synthetic deliveries of the registers into landing."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from zicht.cli.options import AsJson
from zicht.cli.tables import print_json, print_table
from zicht.clock import clock_from_environment
from zicht.commands import human_path
from zicht.contracts import load_contracts
from zicht.errors import UsageError
from zicht.periods import Period
from zicht.settings import Settings

TRUTH = "ground_truth.json"


def _periods(texts: list[str], first: int, last: int) -> list[Period] | tuple[int, int]:
    if not texts:
        return first, last
    try:
        return [Period.parse(text) for text in texts]
    except ValueError as error:
        raise UsageError(
            f"{error}.", code="Z-SYN-009", remedy="For example --period 2024-Q1 --period 2024."
        ) from error


def synth(
    source: Annotated[
        list[str] | None, typer.Option(help="Only this register; may be repeated. All if omitted.")
    ] = None,
    province: Annotated[
        list[str] | None,
        typer.Option(help="Only this province (PV29); may be repeated. The country if omitted."),
    ] = None,
    municipality: Annotated[
        list[str] | None, typer.Option(help="Only this municipality (GM0654); may be repeated.")
    ] = None,
    first: Annotated[int, typer.Option("--from", help="First year.")] = 2022,
    last: Annotated[int, typer.Option("--to", help="Last year.")] = 2024,
    period: Annotated[
        list[str] | None,
        typer.Option(help="Only this period (2024, 2024-Q1 or 2024-01) instead of the years."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes another country.")] = 7,
    landing: Annotated[Path | None, typer.Option(help="Where the deliveries are dropped.")] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="What was planted goes here; ground_truth.json beside landing if omitted."
        ),
    ] = None,
    late: Annotated[
        list[str] | None, typer.Option(help="This register's newest delivery comes late.")
    ] = None,
    revised: Annotated[
        list[str] | None, typer.Option(help="A delivery of this register is corrected afterwards.")
    ] = None,
    provisional: Annotated[
        list[str] | None, typer.Option(help="This register delivers provisionally first.")
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="As historic deliveries, known when they were made.")
    ] = False,
    turn: Annotated[
        list[int] | None,
        typer.Option(
            help="Low income rises or falls in some municipalities after this year; may be "
            "repeated. Nowhere if omitted."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Makes synthetic deliveries of the registers and drops them into landing.

    Nobody in them exists. The same seed gives the same country in every register and year, with
    every municipality as large as it is. Only what would have been delivered by now is made.

    Example: zicht synth --province PV29 --from 2022 --to 2024 --source brp --seed 7
    With a change in slope to be found: zicht synth --source tax_income --from 2015 --turn 2021
    """
    from zicht.synthetic import Options, load_geography, make, plan_deliveries, scope_of

    settings, clock = Settings.from_environment(), clock_from_environment()
    contracts = load_contracts(settings.contracts)
    geography = load_geography(settings.dbt_project / "seeds" / "geography")
    scope = scope_of(geography, seed, [*(province or ()), *(municipality or ())], turn or ())
    options = Options(tuple(late or ()), tuple(revised or ()), tuple(provisional or ()), archive)
    wanted = plan_deliveries(
        contracts, source or (), _periods(period or [], first, last), clock(), options
    )
    landing = landing or settings.landing
    truth = truth or landing.parent / TRUTH
    began = time.monotonic()
    totals: dict[str, dict[str, Any]] = defaultdict(lambda: {"deliveries": 0, "rows": 0})

    def say(line: str) -> None:
        typer.echo(line, err=as_json)

    for number, made in enumerate(make(landing, contracts, scope, wanted, say, truth), start=1):
        n_rows = sum(made.rows.values())
        totals[made.wanted.source]["deliveries"] += 1
        totals[made.wanted.source]["rows"] += n_rows
        say(f"{number}/{len(wanted)} {made.wanted.id}: {n_rows:,} rows")
    seconds = time.monotonic() - began
    rows = [{"source": name, **counts} for name, counts in sorted(totals.items())]
    total = sum(row["rows"] for row in rows)
    if as_json:
        print_json(
            {
                "seed": seed,
                "regions": list(scope.regions),
                "turns": list(scope.turns),
                "landing": str(landing),
                "truth": str(truth),
                "deliveries": len(wanted),
                "rows": total,
                "seconds": round(seconds, 1),
                "sources": rows,
            }
        )
        return
    print_table(
        "synthetic deliveries",
        ["source", "deliveries", "rows"],
        rows,
        right=["deliveries", "rows"],
        empty="none: nothing in these periods would have been delivered by now",
    )
    typer.echo(f"{total:,} rows in {seconds:.1f} s")
    typer.echo(f"landing: {human_path(landing)}")
    typer.echo(f"what was planted: {human_path(truth)}")
