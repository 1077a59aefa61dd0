"""Work in forked processes: HiGHS holds the interpreter lock, so threads do not help."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

from zicht.errors import DisclosureError

Part = TypeVar("Part")
Result = TypeVar("Result")


def share(work: Callable[[Part], Result], parts: Sequence[Part], processes: int) -> list[Result]:
    """Results of ``work`` per part, in order; parts run at the same time where that is allowed.

    The answer does not depend on the number of processes.

    Raises:
        DisclosureError: Z-DIS-066 when a process dies.
    """
    if processes < 2 or len(parts) < 2 or multiprocessing.current_process().daemon:
        return [work(part) for part in parts]
    context = multiprocessing.get_context("fork")
    running = []
    for part in parts[1:]:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(work, part, sender), daemon=True)
        process.start()
        sender.close()
        running.append((process, receiver))
    try:
        results = [work(parts[0])]
        for process, receiver in running:
            try:
                ok, answer = receiver.recv()
            except EOFError:
                ok, answer = False, "it ended without an answer"
            if not ok:
                raise DisclosureError(
                    f"a process of the suppression engine failed: {answer}",
                    code="Z-DIS-066",
                    remedy="Check memory; run with one process to see the error where it happens.",
                )
            results.append(answer)
            process.join()
    finally:
        for process, receiver in running:
            receiver.close()
            if process.is_alive():
                process.terminate()
            process.join()
    return results


def _child(work: Callable[[Part], Result], part: Part, sender: Connection) -> None:
    try:
        sender.send((True, work(part)))
    except Exception:
        sender.send((False, traceback.format_exc(limit=3)))
    finally:
        sender.close()
