"""Runs the services of ``docker-compose.yml`` natively: no Docker engine, the file's own words.

Every service runs with its ``command``, ``environment``, ``user``, ``volumes``, ``tmpfs`` and
``read_only`` as the file has them, and is healthy when its own ``healthcheck.test`` says so. Linux
namespaces stand in for the engine: one network and process namespace for all (so the ports are
free, nothing reaches the internet and nothing survives), one mount namespace for each.

Where namespaces are not allowed, ``isolated`` is false: then host names, ports and paths in the
file are substituted and users are not switched, except for PostgreSQL, which refuses root.

This file is also the program that runs inside: ``python compose_machine.py stage|enter PLAN …``.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from compose_file import Image

POSTGRES_BINARIES = "/usr/lib/postgresql/*/bin"
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def postgres_folder() -> str | None:
    """Where Debian puts the PostgreSQL server, newest version; None when it is not installed."""
    found = sorted(glob.glob(POSTGRES_BINARIES), key=lambda path: int(path.split("/")[-2]))
    return found[-1] if found else None


def can_isolate() -> bool:
    """Whether this user may make the namespaces."""
    tools = all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount"))
    # These folders are covered by empty ones in each service's own view of the file system.
    places = all(Path(place).is_dir() for place in ("/mnt", "/opt", "/srv"))
    if os.geteuid() != 0 or not tools or not places:
        return False
    probe = [*NAMESPACES, "mount", "-o", "remount,bind,ro", "/"]
    return subprocess.run(probe, capture_output=True).returncode == 0


class Machine:
    """The running services, as seen from outside."""

    def __init__(self, base: Path, process: subprocess.Popen[bytes]) -> None:
        self.base = base
        self.process = process

    def volume(self, name: str) -> Path:
        """The folder behind a named volume."""
        return self.base / "volumes" / name

    def states(self) -> dict[str, Any]:
        """Per service ``waiting``, ``starting``, ``healthy``, ``done`` or ``exited``."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.base / "states.json").read_text()))
        return {}

    def tail(self, lines: int = 25) -> str:
        """The end of every service's output."""
        parts = []
        for log in sorted((self.base / "logs").glob("*.log")):
            text = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {log.stem}\n" + "\n".join(text))
        return "\n".join(parts)

    def wait_healthy(self, patience: float) -> dict[str, Any]:
        """Waits until every service is healthy or done.

        Raises:
            AssertionError: with the ends of the logs, when one exits or time is up.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.process.poll() is None:
            states = self.states()
            if states and all(state in ("healthy", "done") for state in states.values()):
                return states
            if "exited" in states.values():
                break
            time.sleep(0.5)
        raise AssertionError(f"not all services got healthy: {self.states()}\n{self.tail()}")


@contextlib.contextmanager
def running(
    compose: Mapping[str, Any], image: Image, project: Path, base: Path, *, isolated: bool
) -> Iterator[Machine]:
    """Starts the services of a resolved compose file and ends them all afterwards.

    Args:
        compose: the file, variables filled in.
        image: what the Dockerfile gives every service that is built from it.
        project: the checkout.
        base: empty folder for volumes, logs and states.
        isolated: in namespaces, or by substitution.
    """
    plan = {
        "services": compose["services"],
        "image": vars(image),
        "project": str(project),
        "base": str(base),
        "isolated": isolated,
        "postgres": postgres_folder(),
        "ports": {"postgres": _free_port(), "api": _free_port()},
    }
    _let_others_pass(base)
    for folder in ("logs", *(f"volumes/{name}" for name in compose["volumes"])):
        (base / folder).mkdir(parents=True)
    plan_file = base / "plan.json"
    plan_file.write_text(json.dumps(plan))
    stage = [sys.executable, str(Path(__file__).resolve()), "stage", str(plan_file)]
    with (base / "logs" / "stage.log").open("wb") as log:
        process = subprocess.Popen(
            [*(NAMESPACES if isolated else []), *stage],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        yield Machine(base, process)
    finally:
        # The stage ends when its input does.
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def _let_others_pass(base: Path) -> None:
    """The services are other users: they may pass the folders above theirs, which tools close."""
    for folder in (base, *base.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- inside the namespaces


def stage(plan_file: Path) -> None:
    """Starts the services in the order of ``depends_on`` and watches them until input ends."""
    plan = json.loads(plan_file.read_text())
    base, services = Path(plan["base"]), plan["services"]
    if plan["isolated"]:
        _loopback_up()
    else:
        _adopt_orphans()
    states = dict.fromkeys(services, "waiting")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    os.set_blocking(0, False)
    try:
        while _input_is_open():
            for name, service in services.items():
                states[name] = _next_state(plan_file, name, service, states, processes, base)
            partial = base / ".states.json"
            partial.write_text(json.dumps(states))
            os.replace(partial, base / "states.json")
            time.sleep(0.5 if "waiting" in states.values() else 1.0)
    finally:
        if not plan["isolated"]:  # otherwise the kernel does it, with the process namespace
            _end_all()


def _next_state(
    plan_file: Path,
    name: str,
    service: Mapping[str, Any],
    states: Mapping[str, str],
    processes: dict[str, subprocess.Popen[bytes]],
    base: Path,
) -> str:
    if name not in processes:
        wanted = {
            "service_healthy": "healthy",
            "service_completed_successfully": "done",
            "service_started": "starting",
        }
        for other, need in (service.get("depends_on") or {}).items():
            if states[other] not in (wanted[need["condition"]], "healthy", "done"):
                return "waiting"
        processes[name] = _enter(plan_file, name, "run", base / "logs" / f"{name}.log")
        return "starting"
    code = processes[name].poll()
    if code is not None:
        return "done" if code == 0 and "healthcheck" not in service else "exited"
    if states[name] == "starting" and "healthcheck" in service:
        check = _enter(plan_file, name, "check", base / "logs" / f"{name}.check.log")
        try:
            return "healthy" if check.wait(60) == 0 else "starting"
        except subprocess.TimeoutExpired:
            check.kill()
    return states[name]


def _enter(plan_file: Path, name: str, what: str, log: Path) -> subprocess.Popen[bytes]:
    isolated = json.loads(plan_file.read_text())["isolated"]
    command = [sys.executable, str(Path(__file__).resolve()), "enter", str(plan_file), name, what]
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*(["unshare", "--mount", "--uts"] if isolated else []), *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def _input_is_open() -> bool:
    try:
        return os.read(0, 1) != b""
    except BlockingIOError:
        return True


def _end_all() -> None:
    """Asks all that descends from this process to stop, and kills what does not."""
    this = psutil.Process()
    for process in this.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(this.children(recursive=True), timeout=5)
    while left := this.children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


def _adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans, so that none can get away."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", up))  # SIOCSIFFLAGS


def enter(plan_file: Path, name: str, what: str) -> None:
    """Becomes a service (``run``) or its health check (``check``)."""
    plan = json.loads(plan_file.read_text())
    service, image = plan["services"][name], plan["image"]
    is_postgres = service["image"].startswith("postgres:")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOSTNAME": name}
    if is_postgres:
        environment["PATH"] = f"{plan['postgres']}:{environment['PATH']}"
    else:
        environment |= image["environment"]
    environment |= {key: str(value) for key, value in service["environment"].items()}
    if what == "check":
        kind, *command = service["healthcheck"]["test"]
        assert kind == "CMD", "only the exec form is understood"
    elif is_postgres:
        # What the image's entrypoint does, with Debian's server.
        command = ["sh", "-c", _POSTGRES]
    else:
        command = [str(word) for word in service["command"]]
    if plan["isolated"]:
        socket.sethostname(name)
        _mount(plan, service, is_postgres=is_postgres)
        uid, gid = service["user"].split(":")
        drop = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *drop, "--", *command]
        os.chdir("/" if is_postgres else image["workdir"])
    else:
        environment, command = _substitute(plan, service, environment, command)
        if is_postgres and os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            for folder in _volumes(plan, service):
                os.chown(folder, user.pw_uid, user.pw_gid)
            who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            command = ["setpriv", *who, "--", *command]
    os.execvpe(command[0], command, environment)


_POSTGRES = """
set -eu
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > "$PGDATA.password"
  initdb --username="$POSTGRES_USER" --pwfile="$PGDATA.password" $POSTGRES_INITDB_ARGS
  rm "$PGDATA.password"
  echo "create database \\"$POSTGRES_DB\\"" |
    postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses=127.0.0.1 \\
  -c unix_socket_directories="${SOCKETS-/var/run/postgresql}" -p "${PGPORT-5432}"
"""


def _volumes(plan: Mapping[str, Any], service: Mapping[str, Any]) -> dict[Path, tuple[str, bool]]:
    """Per folder behind a volume where it is mounted and whether it may be written."""
    found = {}
    for entry in service.get("volumes") or ():
        name, target, *mode = entry.split(":")
        found[Path(plan["base"], "volumes", name)] = (target, mode != ["ro"])
    return found


def _mount(plan: Mapping[str, Any], service: Mapping[str, Any], *, is_postgres: bool) -> None:
    """Makes the file system of the container: image, volumes, tmpfs, read-only root."""
    uid, gid = map(int, service["user"].split(":"))
    image = plan["image"]
    tree = {
        target: (str(path), writable)
        for path, (target, writable) in _volumes(plan, service).items()
    }
    folders: set[str] = set()
    if not is_postgres:
        tree["/opt/venv"] = (sys.prefix, False)
        for source, target in image["copied"].items():
            tree[target] = (str(Path(plan["project"], source)), False)
        # The empty folders of the image, over which volumes may be mounted.
        folders = {image["environment"]["ZICHT_HOME"], image["environment"]["AIRFLOW_HOME"]}
    # What the interpreter itself needs must stay reachable for a user without rights.
    needed = [sys.prefix, sys.base_prefix, plan["project"]]
    for parent in {_first_closed(path) for path in needed} - {None}:
        _replace(str(parent), [p for p in needed if p.startswith(f"{parent}/")])
    for top in ("/opt", "/srv", "/var/lib/postgresql", "/var/run/postgresql"):
        if os.path.isdir(top):
            _replace(top, [path for path in needed if path.startswith(f"{top}/")])
    for path, (_, writable) in _volumes(plan, service).items():
        if writable and os.stat(path).st_uid != uid:
            os.chown(path, uid, gid)
    files = {
        "/etc/hosts": "127.0.0.1 localhost " + " ".join(plan["services"]) + "\n",
        "/etc/passwd": f"root:x:0:0::/root:/bin/sh\nservice:x:{uid}:{gid}::/tmp:/bin/sh\n",
    }
    for target, text in files.items():
        own = Path(plan["base"], f"{Path(target).name}.{uid}")
        own.write_text(text)
        _run("mount", "--bind", str(own), target)
    for target in sorted(folders | set(tree)):
        os.makedirs(target, exist_ok=True)
    for target, (source, writable) in sorted(tree.items()):
        _run("mount", "--bind", source, target)
        if not writable:
            _run("mount", "-o", "remount,bind,ro", target)
    if service.get("read_only"):
        # Only this mount; what is mounted below it keeps its own mode.
        _run("mount", "-o", "remount,bind,ro", "/")
        for top in ("/opt", "/srv"):
            _run("mount", "-o", "remount,ro", top)
    for entry in service.get("tmpfs") or ():
        target, _, options = entry.partition(":")
        top = os.path.realpath(target)
        # A clone may lie below /tmp; what runs is still that clone.
        keep = [path for path in needed if path.startswith(f"{top}/")]
        _replace(top, keep, options or "mode=1777")


def _first_closed(path: str) -> str | None:
    """The first folder on the way to ``path`` that other users may not pass."""
    for parent in reversed(Path(path).parents):
        if not os.stat(parent).st_mode & 0o001:
            return str(parent)
    return None


def _replace(folder: str, keep: list[str], options: str = "mode=755") -> None:
    """Covers a folder with an empty one, in which ``keep`` is still there."""
    _run("mount", "--bind", folder, "/mnt")
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    for path in keep:
        os.makedirs(path, exist_ok=True)
        _run("mount", "--bind", "/mnt" + path.removeprefix(folder), path)
    _run("umount", "--lazy", "/mnt")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _substitute(
    plan: Mapping[str, Any],
    service: Mapping[str, Any],
    environment: Mapping[str, str],
    command: list[str],
) -> tuple[dict[str, str], list[str]]:
    """Without namespaces: other ports, 127.0.0.1 for host names, real folders for mounted ones."""
    database, api = plan["ports"]["postgres"], plan["ports"]["api"]
    replacements = {
        "postgres:5432": f"127.0.0.1:{database}",
        "api-server:8080": f"127.0.0.1:{api}",
        "/opt/venv": sys.prefix,
        plan["image"]["workdir"]: plan["project"],
        **{target: str(path) for path, (target, _) in _volumes(plan, service).items()},
    }

    def adapt(text: str) -> str:
        for old, new in replacements.items():
            text = text.replace(old, new)
        return text

    adapted = {key: adapt(value) for key, value in environment.items()}
    base = Path(plan["base"])
    adapted |= {
        "AIRFLOW__API__PORT": str(api),
        "PGPORT": str(database),
        "SOCKETS": "",
        "HOME": str(base),
        "TMPDIR": str(base),
        "HOSTNAME": socket.gethostname(),
    }
    return adapted, [adapt(word) for word in command]


if __name__ == "__main__":
    # A container starts with the usual mask, whatever that of the test run is.
    os.umask(0o022)
    if sys.argv[1] == "stage":
        stage(Path(sys.argv[2]))
    else:
        enter(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
