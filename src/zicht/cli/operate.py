"""The commands of those who operate refreshes and look at deliveries.

Each one reads the settings, calls one function, and prints what came out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zicht.cli.options import AsJson, Here, Patience, Source
from zicht.cli.tables import console, print_json, print_table
from zicht.clock import clock_from_environment, format_moment
from zicht.commands import fetch_source, human_path, requeue, source_of_table
from zicht.contracts import load_contracts
from zicht.deliveries.landing import unread_entries
from zicht.deliveries.ledger import read_ledger
from zicht.deliveries.package import printable
from zicht.deliveries.quarantine import read_quarantine
from zicht.errors import UsageError
from zicht.expected import SourceStatus, all_statuses
from zicht.files import read_json
from zicht.releases.store import current_release, list_releases
from zicht.settings import Settings

app = typer.Typer(rich_markup_mode=None)
statline_app = typer.Typer(
    help="The open data of Statistics Netherlands.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(statline_app, name="statline")


def _say(line: str) -> None:
    typer.echo(line)


_MARK = {"provisional": "p"}


def _status_row(status: SourceStatus) -> dict[str, Any]:
    last = status.last
    return {
        "source": status.source,
        "last_period": str(last.reference_period) if last else None,
        "observation_status": last.observation_status.value if last else None,
        "delivered_at": format_moment(last.delivered_at) if last else None,
        "known_at": format_moment(last.known_at) if last else None,
        "lag_days": last.lag_days if last else None,
        "agreed_lag_days": status.contract.lag_days,
        "next_period": str(status.next_period),
        "next_due": status.next_due.isoformat(),
        "days_overdue": status.days_overdue,
        "missing_periods": [str(period) for period in status.missing],
        "agreement": status.agreement,
        "n_accepted": status.n_deliveries,
        "n_refused": status.n_refused,
        "n_waiting": status.n_waiting,
        "n_incomplete": status.n_incomplete,
    }


def _refused_rows(settings: Settings, source: str | None = None) -> list[dict[str, Any]]:
    return [
        {
            "source": refusal.source,
            "delivery": refusal.delivery,
            "reference_period": refusal.reference_period,
            "refused_at": refusal.refused_at,
            "reasons": list(refusal.reasons),
            "is_destroyed": refusal.is_destroyed,
            "folder": str(refusal.folder),
        }
        for refusal in read_quarantine(settings, source)
    ]


def _print_refused(rows: list[dict[str, Any]]) -> None:
    out = console()
    for row in rows:
        gone = ", content destroyed" if row["is_destroyed"] else ""
        out.print(f"refused {row['delivery']} ({row['source']}, {row['refused_at']}{gone})")
        for reason in row["reasons"]:
            named = not reason["file"] or reason["message"].startswith(reason["file"])
            where = "" if named else f"{reason['file']}: "
            count = f" [{reason['n_rows']} row(s)]" if reason["n_rows"] else ""
            out.print(f"  {reason['code']} {where}{reason['message']}{count}")
            if reason["observed"] and not reason["rows"]:
                out.print(f"      seen: {reason['observed']}")
            for bad in reason["rows"][:3]:
                row_number = bad.get("_row")
                where = f"row {row_number}, " if row_number is not None else ""
                out.print(
                    f"      {where}{bad.get('column', '?')}: {str(bad.get('value')).strip()!r}"
                )
            out.print(f"      remedy: {reason['remedy']}")


def _known_source(settings: Settings, source: str | None) -> None:
    contracts = load_contracts(settings.contracts)
    if source is not None and source not in contracts:
        raise UsageError(
            f"there is no contract for the source {source!r}.",
            code="Z-USE-002",
            remedy=f"Choose one of: {', '.join(contracts)}.",
        )


@app.command()
def status(as_json: AsJson = False) -> None:
    """Shows per source what came, how old it was, what is expected when, and what was refused.

    Example: zicht status --json
    """
    settings, clock = Settings.from_environment(), clock_from_environment()
    contracts = load_contracts(settings.contracts)
    statuses = all_statuses(
        settings, contracts, read_ledger(settings), read_quarantine(settings), clock()
    )
    rows = [_status_row(one) for one in statuses]
    refused = _refused_rows(settings)
    current = current_release(settings)
    release_id = current["release_id"] if current else None
    last = settings.runs / "last.json"
    refresh = read_json(last) if last.exists() else None
    if as_json:
        print_json(
            {
                "home": str(settings.home),
                "release": release_id,
                "last_refresh": refresh,
                "sources": rows,
                "refused": refused,
            }
        )
        return
    shown = [
        {
            "source": row["source"],
            "last": f"{row['last_period'] or ''}{_MARK.get(row['observation_status'], '')}",
            "delivered": (row["delivered_at"] or "")[:10],
            "lag": row["lag_days"],
            "next": row["next_period"],
            "due": row["next_due"],
            "late": row["days_overdue"] or None,
            "ok/no/waits": (
                f"{row['n_accepted']}/{row['n_refused']}/{row['n_waiting'] + row['n_incomplete']}"
            ),
        }
        for row in rows
    ]
    print_table(
        "sources: lag and late in days, p is provisional, ok/no/waits in deliveries",
        list(shown[0]) if shown else [],
        shown,
        right=["lag", "late", "ok/no/waits"],
        empty="no contract in expectations/contracts",
    )
    for row in rows:
        if row["missing_periods"]:
            periods = ", ".join(row["missing_periods"])
            typer.echo(f"{row['source']}: missing in between: {periods}")
        if row["agreement"] == "none" or row["agreement"].startswith("ends"):
            typer.echo(f"{row['source']}: agreement: {row['agreement']}")
        if row["n_incomplete"]:
            typer.echo(
                f"{row['source']}: {row['n_incomplete']} folder(s) in landing wait for their "
                "datapackage.json"
            )
    for entry in unread_entries(settings, contracts):
        name = printable(str(entry.relative_to(settings.landing)))
        typer.echo(f"landing/{name} is not looked at: a delivery is a folder below a source's own")
    typer.echo("")
    there = "" if settings.home.is_dir() else " (nothing there yet: a new installation)"
    typer.echo(f"home: {human_path(settings.home)}{there}")
    if refresh is not None:
        typer.echo(f"last refresh: {refresh['run_id']}: {refresh['state']}")
    typer.echo(f"current release: {release_id or 'none yet'}")
    _print_refused(refused[-5:])
    if len(refused) > 5:
        typer.echo(f"… and {len(refused) - 5} more: zicht deliveries --refused")


@app.command()
def deliveries(
    source: Source = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refused ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lists the accepted deliveries, or with --refused those in quarantine and why.

    Example: zicht deliveries --source cbs_crime
    """
    settings = Settings.from_environment()
    _known_source(settings, source)
    if refused:
        rows = _refused_rows(settings, source)
        if as_json:
            print_json(rows)
        elif rows:
            _print_refused(rows)
        else:
            typer.echo("no refused deliveries")
        return
    records = [record.to_json() for record in read_ledger(settings, source)]
    replaced = {(record["source"], record["supersedes"]) for record in records}
    if as_json:
        print_json(records)
        return
    print_table(
        "accepted deliveries, in order of acceptance",
        ["delivery", "period", "status", "delivered", "lag", "rows", "replaced"],
        [
            {
                "delivery": record["id"],
                "period": record["reference_period"],
                "status": record["observation_status"],
                "delivered": record["delivered_at"][:10],
                "lag": record["lag_days"],
                "rows": sum(record["rows"].values()),
                "replaced": "yes" if (record["source"], record["id"]) in replaced else None,
            }
            for record in records
        ],
        right=["lag", "rows"],
        empty="none yet",
    )


@app.command()
def releases(as_json: AsJson = False) -> None:
    """Lists the releases; the current one is marked.

    Example: zicht releases
    """
    settings = Settings.from_environment()
    documents = list_releases(settings)
    current = current_release(settings)
    current_id = current["release_id"] if current else None
    if as_json:
        print_json([{**one, "is_current": one["release_id"] == current_id} for one in documents])
        return
    print_table(
        f"releases in {human_path(settings.releases)}",
        ["release", "made", "geo_year", "figures", "inputs", "warnings", "current"],
        [
            {
                "release": one["release_id"],
                "made": one["released_at"][:16].replace("T", " "),
                "geo_year": one["geo_year"],
                "figures": one["n_observations"],
                "inputs": len(one["inputs"]),
                "warnings": sum(gate["n_warnings"] for gate in one["gates"]),
                "current": "◀" if one["release_id"] == current_id else None,
            }
            for one in documents
        ],
        right=["geo_year", "figures", "inputs", "warnings"],
        empty="none yet",
    )


@app.command()
def refresh(
    as_of: Annotated[
        str | None,
        typer.Option(help="Show what was known at this moment (2024-06-30); releases nothing."),
    ] = None,
    here: Here = False,
    patience: Patience = 3600,
    as_json: AsJson = False,
) -> None:
    """Makes a new release from what was accepted; does nothing when nothing is new.

    With Airflow running (zicht up) the scheduler does it; otherwise the same DAG runs here.

    Example: zicht refresh --as-of 2025-06-30
    """
    from zicht.orchestration.ask import refresh_now

    settings, clock = Settings.from_environment(), clock_from_environment()
    say = _tell_stderr if as_json else _say
    refresh_now(settings, clock, say, kind="manual", as_of=as_of, here=here, patience=patience)
    current = current_release(settings)
    if as_json:
        print_json({"release": current["release_id"] if current else None, "as_of": as_of})
    elif as_of is None:
        typer.echo(f"current release: {current['release_id'] if current else 'none yet'}")


def _tell_stderr(line: str) -> None:
    typer.echo(line, err=True)


@app.command()
def gates(
    run: Annotated[
        str | None, typer.Argument(help="A run below runs/; the last one if omitted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows what the gates found in a refresh: failures and warnings, with rows and remedies.

    Example: zicht gates
    """
    from zicht.gates.model import GateResult
    from zicht.gates.report import render_text

    settings = Settings.from_environment()
    names = sorted({path.parent.name for path in settings.runs.glob("*/gate_*.json")})
    if (run is not None and run not in names) or not names:
        raise UsageError(
            f"no gate has looked at a run {run!r}." if run else "no gate has looked at a run yet.",
            code="Z-USE-003",
            remedy=f"Choose one of: {', '.join(names[-3:])}." if names else "Run zicht refresh.",
        )
    newest = max(names, key=lambda name: (settings.runs / name / "plan.json").stat().st_mtime)
    folder = settings.runs / (run or newest)
    results = [GateResult.loads(path.read_text()) for path in sorted(folder.glob("gate_*.json"))]
    if as_json:
        print_json([result.to_json() for result in results])
        return
    typer.echo(render_text(results))
    typer.echo(f"report: {human_path(folder / 'report.html')}")


@app.command()
def intake(
    source: Annotated[
        str | None, typer.Argument(help="Only this source; all sources if omitted.")
    ] = None,
) -> None:
    """Takes in what lies in landing, now and here; a running scheduler does so by itself.

    Runs the same DAG as the scheduler. A refused delivery is a result, not an error.

    Example: zicht intake cbs_crime
    """
    from zicht.orchestration.local import run_dag_here

    settings = Settings.from_environment()
    _known_source(settings, source)
    for name in [source] if source else load_contracts(settings.contracts):
        typer.echo(name)
        run_dag_here(settings, f"intake_{name}", say=_say)


@app.command("requeue")
def requeue_command(
    delivery: Annotated[str, typer.Argument(help="Id or folder name of a refused delivery.")],
) -> None:
    """Moves a refused delivery back into landing, when the fault was on our side.

    Example: zicht requeue cbs_crime-2024-final-1a2b3c4d5e
    """
    settings = Settings.from_environment()
    typer.echo(f"back in landing: {human_path(requeue(settings, delivery))}")


@statline_app.command("fetch")
def statline_fetch(
    table: Annotated[str, typer.Argument(help="StatLine table number or source name.")],
    as_json: AsJson = False,
) -> None:
    """Fetches a StatLine table and drops what is new into landing, one delivery per period.

    The address is ZICHT_STATLINE_URL, by default that of Statistics Netherlands.

    Example: zicht statline fetch 83648NED
    """
    settings, clock = Settings.from_environment(), clock_from_environment()
    source = source_of_table(load_contracts(settings.contracts), table)
    result = fetch_source(settings, source, clock, _tell_stderr if as_json else _say)
    if as_json:
        print_json(
            {
                "source": source,
                "written": [path.name for path in result.written],
                "unchanged": list(result.unchanged),
                "n_rows": result.n_rows,
            }
        )
        return
    typer.echo(f"{source}: {len(result.written)} new, {len(result.unchanged)} unchanged")


@statline_app.command("serve")
def statline_serve(
    folder: Annotated[
        Path | None, typer.Argument(help="Snapshots; the sample in the project if omitted.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8471,
) -> None:
    """Serves snapshots as Statistics Netherlands does, to work without the internet.

    Example: zicht statline serve --port 8471
    """
    from zicht.statline.replay import serve

    settings = Settings.from_environment()
    sample = settings.project / "samples" / "statline"
    serve(
        folder or sample,
        port,
        on_ready=lambda url: typer.echo(f"export ZICHT_STATLINE_URL={url}   (Ctrl-C stops)"),
    )


@app.command()
def demo() -> None:
    """Brings sample deliveries into landing and runs the main job through the real DAGs.

    Example: zicht demo
    """
    from zicht.demo import run_demo

    run_demo(Settings.from_environment(), clock_from_environment(), _say)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1024, max=65533, help="Port of the UI.")] = 8080,
) -> None:
    """Runs Airflow (UI, scheduler, triggerer) on this home until Ctrl-C.

    Example: zicht up --port 8080
    """
    from zicht.orchestration.local import serve

    serve(Settings.from_environment(), port, _say)
