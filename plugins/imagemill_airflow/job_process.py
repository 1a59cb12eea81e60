"""A child process that leaves nothing behind: neither when it is stopped, nor when its parent is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence

GRACE_SECONDS = 5
"""Time between asking a process to end and ending it."""

# A pipe's end of file is the one sign of a parent's death that a SIGKILL cannot suppress, on Linux and macOS alike.
_GUARD = f'cat; kill -s TERM -- "-$1"; sleep {GRACE_SECONDS}; kill -s KILL -- "-$1"'


class JobProcess:
    """One command, running, with all that it starts in a process group of its own.

    stdout and stderr share one pipe, so that neither can fill up unread while the other is waited for.

    Attributes:
        command: What runs.
        environment: Its variables; None for this process's own.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        self.command, self.environment = tuple(command), environment
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._started, self._ended = threading.Event(), threading.Event()
        # Signals interrupt the main thread only: a process that another thread starts is never started and lost.
        threading.Thread(target=self._live, name="job", daemon=True).start()
        try:
            self._started.wait()
        except BaseException:
            self._started.wait()
            self.stop()
            raise
        if self._error is not None:
            raise self._error

    def lines(self) -> Iterator[str]:
        """Yields what the process says, line by line without the ends, until it has ended."""
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as pipe:
            for line in pipe:
                yield line.decode(errors="replace").rstrip("\r\n")

    def wait(self) -> int:
        """Returns the exit code; negative is the signal that ended the process."""
        self._ended.wait()
        return self._process.returncode if self._process else 0

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Ends the process and all that it started; after a grace, by force."""
        if self._ended.is_set():
            return
        self._signal(signal.SIGTERM)
        if not self._ended.wait(GRACE_SECONDS if grace_seconds is None else grace_seconds):
            self._signal(signal.SIGKILL)
            self._ended.wait()

    def _live(self) -> None:
        try:
            self._process = process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            guard = subprocess.Popen(
                ["sh", "-c", _GUARD, "guard", str(process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._error = error
            if self._process is not None:  # without a guard it could outlive this process
                self._signal(signal.SIGKILL)
                self._process.communicate()
            self._ended.set()
            return
        finally:
            self._started.set()
        with guard:
            process.wait()
            # Whatever the process left running would keep the pipe open, and the reader waiting.
            self._signal(signal.SIGKILL)
            guard.kill()
        self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
