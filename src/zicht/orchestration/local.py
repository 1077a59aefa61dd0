"""Airflow on one machine: prepare it, serve it, or run one DAG in this process.

This module is how the command line reaches Airflow. Airflow itself is imported inside functions,
after its environment stands; that costs some seconds, once per process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from zicht.errors import ZichtError
from zicht.files import locked
from zicht.orchestration.environment import (
    ADMIN,
    DEFAULT_PORT,
    OrchestrationError,
    airflow_environment,
    airflow_home,
    password_file,
)
from zicht.orchestration.health import database_address, is_alive
from zicht.orchestration.prepare import prepare
from zicht.settings import Settings

Say = Callable[[str], None]

_GRACE = 10
"""Seconds that Airflow gets to stop by itself. It waits for running tasks, but these can no longer
report to its API server by then; the next start runs them again."""


@dataclass(frozen=True)
class DagOutcome:
    """How a run of a DAG in this process ended.

    Attributes:
        dag_id: the DAG.
        run_id: Airflow's id of the run.
        state: ``success`` or ``failed``.
        tasks: per task its state, in the order in which the tasks depend on each other.
        seconds: wall time.
    """

    dag_id: str
    run_id: str
    state: str
    tasks: Mapping[str, str]
    seconds: float


def run_dag_here(
    settings: Settings, dag_id: str, conf: Mapping[str, Any] | None = None, say: Say = print
) -> DagOutcome:
    """Runs one DAG, the same that the scheduler runs, in this process and waits for its end.

    Nothing is retried: somebody is watching. Airflow's own log goes to
    ``$ZICHT_HOME/airflow/logs/here.log``.

    Args:
        settings: the installation.
        dag_id: for example ``refresh`` or ``intake_<source>``.
        conf: values for the DAG's params.
        say: receives the progress of the tasks, line by line.

    Raises:
        ZichtError: the error that made a task fail, as the task raised it.
        OrchestrationError: Z-ORC-004 if this process runs Airflow on another home already,
            Z-ORC-005 if there is no such DAG, Z-ORC-006 if a task failed for another reason.
    """
    started = time.monotonic()
    log_file = airflow_home(settings) / "logs" / "here.log"
    with _quiet(log_file, say) as errors:
        _enter(settings)
        prepare(airflow_home(settings))
        dag = _load(settings, dag_id)
        for task in dag.tasks:
            task.retries = 0
        run = dag.test(run_conf=dict(conf or {}))
        states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
        order = [task.task_id for task in dag.topological_sort()]
    outcome = DagOutcome(
        dag_id=dag_id,
        run_id=str(run.run_id),
        state=str(run.state),
        tasks={name: states.get(name, "none") for name in order},
        seconds=time.monotonic() - started,
    )
    if outcome.state != "success":
        if errors:
            raise errors[0]
        failed = [name for name, state in outcome.tasks.items() if state == "failed"]
        raise OrchestrationError(
            f"DAG {dag_id} ended as {outcome.state}; failed: {', '.join(failed) or 'no task'}.",
            code="Z-ORC-006",
            remedy=f"Read the end of {log_file}.",
        )
    return outcome


def _enter(settings: Settings) -> None:
    """Lays Airflow's environment over this process; refuses a second home."""
    wanted = airflow_environment(settings)
    if "airflow" in sys.modules and os.environ.get("AIRFLOW_HOME") != wanted["AIRFLOW_HOME"]:
        raise OrchestrationError(
            f"this process has imported Airflow for {os.environ.get('AIRFLOW_HOME')}, "
            f"not for {wanted['AIRFLOW_HOME']}.",
            code="Z-ORC-004",
            remedy="Use one process per ZICHT_HOME.",
        )
    # Airflow's command and its subprocesses are found by name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.update(wanted, PATH=path)


def _load(settings: Settings, dag_id: str) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(settings.project / "dags"), load_op_links=False)
    dag = bag.dags.get(dag_id)
    if dag is None:
        broken = "; ".join(f"{Path(f).name}: {text}" for f, text in bag.import_errors.items())
        raise OrchestrationError(
            f"there is no DAG {dag_id!r}." + (f" Files with errors: {broken}" if broken else ""),
            code="Z-ORC-005",
            remedy=f"Choose one of: {', '.join(sorted(bag.dags)) or 'none could be read'}.",
        )
    return dag


class _Ear(logging.Handler):
    """Hands the progress of tasks to ``say`` and keeps the errors of the platform."""

    def __init__(self, say: Say, terminal: TextIO) -> None:
        super().__init__(logging.INFO)
        self.say = say
        self.terminal = terminal
        self.errors: list[ZichtError] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = getattr(record, "zicht_error", None)
        if isinstance(error, ZichtError):
            # Raised again by run_dag_here, which is where it is told.
            self.errors.append(error)
            return
        with contextlib.redirect_stdout(self.terminal):
            self.say(record.getMessage())


@contextlib.contextmanager
def _quiet(log_file: Path, say: Say) -> Iterator[list[ZichtError]]:
    """Sends what is printed and logged to ``log_file``, and the progress of tasks to ``say``."""
    stream = _log_stream(log_file)
    progress = logging.getLogger("zicht.progress")
    ear = _Ear(say, sys.stdout)
    progress.addHandler(ear)
    level = progress.level
    progress.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield ear.errors
    finally:
        progress.removeHandler(ear)
        progress.setLevel(level)


@functools.cache
def _log_stream(log_file: Path) -> TextIO:
    """Opens a log for the rest of the process: Airflow's loggers keep the stream they first saw."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    return log_file.open("a", encoding="utf-8", buffering=1)


def serve(settings: Settings, port: int = DEFAULT_PORT, say: Say = print) -> None:
    """Runs all of Airflow in the foreground until it is interrupted (``airflow standalone``).

    Raises:
        BusyError: Z-BUSY-001 if it runs on this home already.
        OrchestrationError: Z-ORC-007 if the port is taken, Z-ORC-008 if Airflow does not start
            or stops by itself.
    """
    with airflow_running(settings, port, say) as process, _until_told() as told:
        say(f"Airflow is ready: http://127.0.0.1:{port}")
        say(f"User {ADMIN}; the password lies in {password_file(settings)}")
        say(f"Deliveries dropped below {settings.landing} are taken in. Stop with Ctrl-C.")
        while not told.is_set():
            if process.poll() is not None:
                raise _not_running(settings, "Airflow stopped by itself")
            told.wait(0.5)
        say("Stopping Airflow; a task that is running now is run again after the next start.")


@contextlib.contextmanager
def airflow_running(
    settings: Settings, port: int, say: Say = print, patience: float = 300.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts ``airflow standalone``, waits until all its parts are healthy, stops it at the end.

    Args:
        settings: the installation.
        port: of the UI; ``port + 1`` and ``port + 2`` serve logs.
        say: receives what is waited for.
        patience: seconds to wait for health.

    Raises:
        BusyError: Z-BUSY-001 if it runs on this home already.
        OrchestrationError: Z-ORC-007 if the port is taken, Z-ORC-008 if it does not get healthy.
    """
    with locked(settings.locks / "airflow.lock", wait=False):
        for one in (port, port + 1, port + 2):
            _require_free(one)
        environment = {
            **os.environ,
            **airflow_environment(settings, port=port),
            # `airflow standalone` finds its parts by name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        log_file = _standalone_log(settings)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            say("Preparing Airflow's database")
            command = [sys.executable, "-m", "zicht.orchestration.prepare"]
            if subprocess.run(command, env=environment, stdout=log, stderr=log).returncode:
                raise _not_running(settings, "Airflow's database could not be prepared")
            say("Starting Airflow")
            # Its own session, so that Ctrl-C reaches it once, from here, and so that nothing of
            # it can be left behind.
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + patience
            while not _healthy(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise _not_running(settings, "Airflow did not get healthy")
                time.sleep(0.5)
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    # Tasks have process groups of their own and outlive even a killed parent; what they all
    # share is the session. A worker that is left would go on writing with nobody watching it.
    while left := _session(process.pid):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        time.sleep(0.05)
    process.wait()


def _session(leader: int) -> list[int]:
    """Processes of the session that ``leader`` began, whether or not that still lives."""
    import psutil

    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(one.pid) == leader and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
    return found


def _healthy(port: int) -> bool:
    address = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            parts = json.load(answer)
    except (OSError, ValueError):
        return False
    needed = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    return all((parts.get(name) or {}).get("status") == "healthy" for name in needed)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise OrchestrationError(
                f"port {port} cannot be used: {error.strerror}.",
                code="Z-ORC-007",
                remedy="Choose another port, or stop what listens there.",
            ) from error


def _standalone_log(settings: Settings) -> Path:
    return airflow_home(settings) / "logs" / "standalone.log"


def _not_running(settings: Settings, what: str) -> OrchestrationError:
    return OrchestrationError(
        f"{what}.", code="Z-ORC-008", remedy=f"Read the end of {_standalone_log(settings)}."
    )


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of what they do otherwise."""
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def scheduler_is_alive(settings: Settings) -> bool:
    """Whether a scheduler of this installation gave a sign of life in the last half minute.

    Reads Airflow's database without importing Airflow.
    """
    return is_alive("scheduler", database_address(settings))
