"""A child process that leaves nothing behind: neither when it is stopped, nor when its parent is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence

GRACE_SECONDS = 5
"""Time between asking a process to end and ending it."""

# A pipe's end of file is the one sign of a parent's death that a SIGKILL cannot suppress, on Linux and macOS alike.
_GUARD = f'cat; kill -s TERM -- "-$1"; sleep {GRACE_SECONDS}; kill -s KILL -- "-$1"'


class JobProcess:
    """One command, running, with all that it starts in a process group of its own.

    stdout and stderr share one pipe, so that neither can fill up unread while the other is waited for.

    Attributes:
        command: What runs.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._ended = threading.Event()
        threading.Thread(target=self._reap, name="reap-job", daemon=True).start()

    def lines(self) -> Iterator[str]:
        """Yields what the process says, line by line without the ends, until it has ended."""
        if self._process.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        with self._process.stdout as pipe:
            for line in pipe:
                yield line.decode(errors="replace").rstrip("\r\n")

    def wait(self) -> int:
        """Returns the exit code; negative is the signal that ended the process."""
        self._ended.wait()
        return self._process.returncode

    def stop(self) -> None:
        """Ends the process and all that it started; after a grace, by force."""
        if self._ended.is_set():
            return
        self._signal(signal.SIGTERM)
        if not self._ended.wait(GRACE_SECONDS):
            self._signal(signal.SIGKILL)
            self._ended.wait()

    def _reap(self) -> None:
        self._process.wait()
        # Whatever the process left running would keep the pipe open, and the reader waiting.
        self._signal(signal.SIGKILL)
        self._guard.kill()
        self._guard.communicate()
        self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
