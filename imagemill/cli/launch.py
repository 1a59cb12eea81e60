"""Runs a child command: its end is ours, and ours is its."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from types import FrameType


def run(command: Sequence[str]) -> int:
    """Runs a command in a process group of its own and returns its exit status.

    An interrupt or a termination of this process is passed on to the whole group, which is then waited for. The
    child's stdin is a pipe that nobody writes to: it ends when this process does, however that dies.
    """
    child = subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE)

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
