"""Runs steps of the platform in child processes that may kill themselves: what the tests drive.

A process that has imported everything and opened nothing reads requests from standard input, one
JSON object per line, forks for each, and answers with the number of the child and, when it has
ended, with how. The child is a real process with an environment of its own; forking only saves
the seconds that importing costs. Progress goes to the file that the request names.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import great_expectations  # noqa: F401
import httpx  # noqa: F401

from zicht import refresh
from zicht.checkpoints import checkpoint
from zicht.clock import clock_from_environment
from zicht.commands import fetch_source
from zicht.contracts import load_contracts
from zicht.deliveries.intake import take_in
from zicht.files import read_json
from zicht.releases import store
from zicht.settings import Settings


def registered(_: Path) -> None:
    """In the place of what a refresh does under the lock of publication."""
    checkpoint("publish-registered")


def run(step: str, argument: str, say: Any) -> None:
    """One step: ``intake`` or ``fetch`` of a source, ``publish`` of a candidate, or a hop."""
    settings, clock = Settings.from_environment(), clock_from_environment()
    if step == "intake":
        take_in(settings, load_contracts(settings.contracts)[argument], clock, say)
    elif step == "fetch":
        fetch_source(settings, argument, clock, say)
    elif step == "publish-only":
        folder = settings.candidates / argument
        document = read_json(folder.parent / f"{argument}.json")
        store.publish(settings, argument, document, document["files"], registered)
    else:
        getattr(refresh, step)(settings, argument, clock, say)


def child(request: dict[str, Any]) -> int:
    """Does what the request asks; 0 when it went well."""
    os.environ.update(request["environment"])
    progress = Path(request["progress"])

    def say(line: str) -> None:
        with progress.open("a") as stream:
            stream.write(line + "\n")

    try:
        run(request["step"], request["argument"], say)
    except BaseException:
        say(traceback.format_exc())
        return 1
    return 0


def main() -> None:
    """Answers requests until standard input ends."""
    for line in iter(sys.stdin.readline, ""):
        process = os.fork()
        if process == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1):
                os.dup2(null, stream)
            os._exit(child(json.loads(line)))
        print(json.dumps({"process": process}), flush=True)
        _, status = os.waitpid(process, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
