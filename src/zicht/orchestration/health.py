"""Is a part of Airflow alive? ``python -m zicht.orchestration.health scheduler``.

For container health checks: does not import Airflow, which would cost seconds of a core each time.
The heartbeats that Airflow's processes write into its database are what Airflow's UI shows, too.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from zicht.orchestration.environment import DEFAULT_PORT, airflow_home
from zicht.settings import Settings

JOBS = {
    "scheduler": "SchedulerJob",
    "dag-processor": "DagProcessorJob",
    "triggerer": "TriggererJob",
}
"""Per part of Airflow the type of the job that writes its heartbeat."""

_SILENCE = timedelta(seconds=30)
"""Airflow's own threshold: what was silent for longer counts as gone."""


def database_address(settings: Settings) -> str | None:
    """SQLAlchemy address of Airflow's database for reading; None when it does not exist yet."""
    address = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
    if address and not address.startswith("sqlite"):
        return address
    file = airflow_home(settings) / "airflow.db"
    return f"sqlite:///file:{file}?mode=ro&uri=true" if file.exists() else None


def is_alive(part: str, address: str | None, hostname: str | None = None) -> bool:
    """Whether a part of Airflow wrote a heartbeat in the last half minute.

    Args:
        part: one of :data:`JOBS`.
        address: SQLAlchemy address of Airflow's database.
        hostname: only a process on this host counts; any host when omitted.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    if address is None:
        return False
    engine = create_engine(address)
    query = text(
        "select max(latest_heartbeat) from job where job_type = :job and state = 'running'"
        + (" and hostname = :host" if hostname else "")
    )
    try:
        with engine.connect() as connection:
            beat = connection.execute(query, {"job": JOBS[part], "host": hostname}).scalar()
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()
    if beat is None:
        return False
    moment = beat if isinstance(beat, datetime) else datetime.fromisoformat(str(beat))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return datetime.now(UTC) - moment < _SILENCE


def answers(port: int) -> bool:
    """Whether the API server on this host answers, and reaches its database."""
    address = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return b'"metadatabase":{"status":"healthy"}' in answer.read().replace(b" ", b"")
    except OSError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when the named part on this host is alive, 1 when not, 2 when misused."""
    if len(arguments) != 1 or arguments[0] not in (*JOBS, "api-server"):
        print(f"usage: python -m zicht.orchestration.health {{{','.join([*JOBS, 'api-server'])}}}")
        return 2
    part = arguments[0]
    if part == "api-server":
        alive = answers(int(os.environ.get("AIRFLOW__API__PORT") or DEFAULT_PORT))
    else:
        address = database_address(Settings.from_environment())
        alive = is_alive(part, address, socket.gethostname())
    print(f"{part}: {'alive' if alive else 'no sign of life'}")
    return 0 if alive else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
