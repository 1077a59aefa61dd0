"""``zicht calendar``: which delivery is due when."""

from __future__ import annotations

from typing import Annotated

import typer

from zicht.cli.options import AsJson, Source
from zicht.cli.tables import print_json, print_table
from zicht.clock import clock_from_environment
from zicht.contracts import contract_of, load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.expected import State, expected_deliveries, months_later
from zicht.settings import Settings

_WORDS = {
    State.EXPECTED: "",
    State.DUE_SOON: "due soon",
    State.NOT_COVERED: "no agreement",
}


def calendar(
    source: Source = None,
    months: Annotated[int, typer.Option(min=1, max=120, help="How far to look ahead.")] = 12,
    as_json: AsJson = False,
) -> None:
    """Shows which deliveries are late or missing, and which are due in the coming year.

    Example: zicht calendar --source brp --months 24
    """
    settings, now = Settings.from_environment(), clock_from_environment()()
    contracts = load_contracts(settings.contracts)
    if source is not None:
        contracts = {source: contract_of(settings.contracts, source)}
    until = months_later(now.date(), months)
    lines = expected_deliveries(settings, contracts, read_ledger(settings, source), now, until)
    if as_json:
        print_json(
            [
                {
                    "source": line.source,
                    "reference_period": str(line.period),
                    "due": line.due.isoformat(),
                    "state": line.state.value,
                    "days_overdue": line.days_overdue,
                }
                for line in lines
            ]
        )
        return
    print_table(
        f"deliveries due until {until.isoformat()}",
        ["due", "source", "period", "state"],
        [
            {
                "due": line.due.isoformat(),
                "source": line.source,
                "period": line.period,
                "state": _WORDS.get(
                    line.state, f"{line.state.value}, {line.days_overdue} days late"
                ),
            }
            for line in lines
        ],
        empty="none",
    )
