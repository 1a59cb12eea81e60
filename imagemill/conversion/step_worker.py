"""The process at the other end of `imagemill.conversion.step_pool`: `python -m imagemill.conversion.step_worker`.

It takes the steps that it is asked for on stdin, and answers on stdout with what they came to and, where that is an
error, its trace; both are pickles. It ends when its stdin does, in the middle of a shard too: no parent, no work.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from typing import IO, Any

from imagemill.conversion.batches import Carried, Spool
from imagemill.conversion.engine import Conversion
from imagemill.garbage import few_collections


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Takes one step after the other, until there are no more requests; then ends the process at once.

    The first request introduces the work: the plan, the version's URI, and the files that batches wait in with the
    number of this process's own (none where the runner carries them). Every other is the name of a step of
    `Conversion` and its arguments.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    plan, version_uri, files, own = waiting.get()
    conversion = Conversion(plan, version_uri, Spool(files, own) if files else Carried())
    with few_collections():
        while True:
            step, arguments = waiting.get()
            pickle.dump(_answer(conversion, step, arguments), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(conversion: Conversion, step: str, arguments: tuple[object, ...]) -> tuple[object, str]:
    """Returns what a step came to; or the error, whatever it is, with its trace: it is raised again by the parent."""
    try:
        return getattr(conversion, step)(*arguments), ""
    except Exception as error:
        return _portable(error), f"in a process of its own:\n{traceback.format_exc()}"


def _receive(requests: IO[bytes], waiting: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            waiting.put(pickle.load(requests))  # noqa: S301 - from our own parent
    except (EOFError, pickle.UnpicklingError):
        os._exit(0)  # the parent is gone, or has no more work: the step in hand is nobody's


def _portable(error: Exception) -> Exception:
    """Returns the error, or its words where it cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # an exception's constructor may want anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's group; the parent decides what it means
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that is printed by accident may mix with answers
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
