"""Operators: the platform's functions as Airflow tasks. DAG files only name and order these.

Heavy modules (dbt, Great Expectations) are imported inside a task, never while DAG files are read.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, SkipMixin
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from zicht.clock import clock_from_environment
from zicht.errors import BusyError, RemoteError, ZichtError
from zicht.orchestration.assets import LEDGER, bell_rope, landing_asset, raw_asset
from zicht.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

PROGRESS = logging.getLogger("zicht.progress")
"""Where tasks say what they do: the task log, or the terminal when ``zicht`` runs the DAG."""

HOPS: tuple[str, ...] = (
    *("stage", "gate_2", "build", "gate_3"),
    *("protect", "forecast", "gate_4", "publish"),
)
"""The hops of a refresh after ``plan``, in order; each is a function of :mod:`zicht.refresh`."""

_CURABLE = (BusyError, RemoteError)
"""Errors that may be gone at the next attempt; repeating any other one gives the same answer."""

_RUN_ID = re.compile(
    r"^(?P<kind>[a-z_]+)__(?P<at>\d{4}-\d\d-\d\dT[\d:.]+)(?:\+00:00|Z)?_?(?P<rest>.*)$"
)


def say(line: str) -> None:
    """Reports progress of the running task."""
    PROGRESS.info("%s", line)


def run_name(dag_run_id: str) -> str:
    """A short name for a DAG run that can be a folder: sorts by time, the same at every attempt.

    ``asset_triggered__2025-04-30T09:00:00.123456+00:00_x7Yz`` becomes
    ``20250430T090000.123456-asset_triggered-x7Yz``; an id that somebody chose is kept, with other
    signs than letters, digits, ``.``, ``_`` and ``-`` replaced.
    """
    match = _RUN_ID.match(dag_run_id)
    if match is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", dag_run_id).strip(".-") or "run"
    at = match["at"].replace("-", "").replace(":", "")
    rest = re.sub(r"[^A-Za-z0-9._-]+", "-", match["rest"])
    return "-".join(part for part in (at, match["kind"], rest) if part)


class ZichtOperator(BaseOperator):
    """A task that calls one function of the platform and turns its errors into Airflow's."""

    def work(self, settings: Settings, context: Context) -> Any:
        """What the task does; the result becomes its XCom."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Runs :meth:`work`.

        Raises:
            AirflowFailException: for an error that no further attempt cures; no retries follow.
            Exception: any other one, as it came; the task's retries apply.
        """
        # What is confidential is not for everybody on this machine to read.
        os.umask(0o027)
        try:
            return self.work(Settings.from_environment(), context)
        except _CURABLE as error:
            PROGRESS.warning("%s", error)
            raise
        except ZichtError as error:
            # The full text, with the rows, goes to the log before the traceback buries it.
            PROGRESS.error("%s", error, extra={"zicht_error": error})
            raise AirflowFailException(f"{error.code}: {error.message}") from error
        except AirflowException:
            # How a task tells Airflow to skip or to wait; not an error.
            raise
        except Exception as error:
            PROGRESS.error("%s: %s", type(error).__name__, error)
            raise


class Intake(ZichtOperator):
    """Takes in all complete deliveries of one source; rings the source's raw asset if any passed.

    A refused delivery is a result, not a failure: it is in quarantine with its reasons, and named
    in the log and the XCom.
    """

    def __init__(self, *, source: str, task_id: str = "take_in", **kwargs: Any) -> None:
        self.source = source
        self.rope = bell_rope(f"intake_{source}")
        super().__init__(task_id=task_id, outlets=[self.rope], **kwargs)

    def work(self, settings: Settings, context: Context) -> dict[str, list[str]]:
        """Returns the accepted, refused and unchanged deliveries as texts."""
        from zicht.contracts import contract_of
        from zicht.deliveries.intake import take_in

        contract = contract_of(settings.contracts, self.source)
        report = take_in(settings, contract, clock_from_environment(), say)
        outcome = {
            "accepted": _names(report.accepted),
            "refused": _names(report.refused),
            "unchanged": _names(report.unchanged),
        }
        if report.accepted or (context["ti"].try_number > 1 and _pending(settings)):
            # An earlier attempt may have accepted deliveries and died before it could ring.
            events = context["outlet_events"][self.rope]
            events.add(raw_asset(self.source), extra={"accepted": len(report.accepted)})
        return outcome


class Plan(ZichtOperator, SkipMixin):
    """Works out what a refresh has to compute; skips the rest of the run when that is nothing."""

    inherits_from_skipmixin = True

    def __init__(self, *, task_id: str = "plan", **kwargs: Any) -> None:
        super().__init__(task_id=task_id, **kwargs)

    def work(self, settings: Settings, context: Context) -> str:
        """Returns the name of the run, which is that of its folder below ``runs/``."""
        from zicht import refresh

        name = run_name(context["run_id"])
        as_of = context["params"].get("as_of") or None
        if not refresh.plan(settings, name, clock_from_environment(), say, as_of):
            say("nothing new: the current release stands")
            self.skip(ti=context["ti"], tasks=self.get_flat_relatives(upstream=False))
        return name


class Hop(ZichtOperator):
    """One hop of a refresh: calls the function of :mod:`zicht.refresh` that it is named after."""

    def __init__(self, *, hop: str, **kwargs: Any) -> None:
        self.hop = hop
        super().__init__(task_id=hop, **kwargs)

    def work(self, settings: Settings, context: Context) -> None:
        """Runs the hop; what it made lies in files, nothing is passed on."""
        from zicht import refresh

        function: Callable[..., object] = getattr(refresh, self.hop)
        function(settings, run_name(context["run_id"]), clock_from_environment(), say)


class Sweep(ZichtOperator):
    """Rings for work that lies there: deliveries in landing, accepted ones not yet planned."""

    def __init__(self, *, task_id: str = "sweep", **kwargs: Any) -> None:
        self.rope = bell_rope("sweep")
        super().__init__(task_id=task_id, outlets=[self.rope], **kwargs)

    def work(self, settings: Settings, context: Context) -> list[str]:
        """Returns the names of the bells that were rung."""
        from zicht.contracts import load_contracts
        from zicht.deliveries.landing import claimed_deliveries, complete_deliveries

        sources = load_contracts(settings.contracts)
        bells = [
            landing_asset(name)
            for name in sources
            if complete_deliveries(settings, name) or claimed_deliveries(settings, name)
        ]
        if _pending(settings):
            bells.append(LEDGER)
        for bell in bells:
            say(f"work lies there: {bell.name}")
            context["outlet_events"][self.rope].add(bell)
        return [bell.name for bell in bells]


class FetchStatline(ZichtOperator):
    """Fetches the StatLine table of one contract and drops what is new into landing."""

    def __init__(self, *, source: str, task_id: str = "fetch", **kwargs: Any) -> None:
        self.source = source
        super().__init__(task_id=task_id, **kwargs)

    def work(self, settings: Settings, context: Context) -> None:
        """Writes deliveries; the watcher of landing does the rest."""
        from zicht.commands import fetch_source

        fetch_source(settings, self.source, clock_from_environment(), say)


def _names(items: Sequence[object]) -> list[str]:
    return [str(item) for item in items]


def _pending(settings: Settings) -> bool:
    from zicht import refresh

    return bool(refresh.pending(settings, clock_from_environment()()))
