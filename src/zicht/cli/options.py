"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Here = Annotated[
    bool, typer.Option("--here", help="Run the DAG in this process, whatever else runs.")
]
Patience = Annotated[float, typer.Option(help="Seconds to wait for the scheduler.")]
Source = Annotated[str | None, typer.Option("--source", help="Only this source.")]
