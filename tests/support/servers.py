"""Child processes that serve on ports of this machine: started, awaited, ended by id with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A child process, its session and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 40) -> str:
        """Returns the end of the log, under the server's name."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"--- {self.name} (exit {self.process.poll()}), last lines of {self.log}", *text])


def free_ports(count: int) -> list[int]:
    """Returns ports nobody listens on, all different because all are held until the last is known."""
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Runs a command in a session of its own; on exit everything in that session is ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        yield Server(name, process, log)
    finally:
        end_session(process)


def end_session(leader: subprocess.Popen[bytes], *, grace_seconds: float = 10) -> None:
    """Ends every process of the leader's session, politely first.

    A process group is not enough: Beam's boot executable gives each SDK worker a group of its own.
    """
    for sign, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, grace_seconds)):
        for member in session_members(leader.pid):
            _signal(member, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if leader.poll() is not None and not session_members(leader.pid):
                return
            time.sleep(0.05)
    raise RuntimeError(f"processes {session_members(leader.pid)} of session {leader.pid} survived SIGKILL")


def session_members(session: int) -> list[int]:
    """Returns the ids of the living processes of a session."""
    return [pid for pid in psutil.pids() if _lives_in(pid, session)]


def _lives_in(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.Error):  # gone meanwhile, or somebody else's
        return False


def _signal(pid: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself between the listing and now
        os.kill(pid, sign)


def wait_until(ready: Callable[[], bool], *servers: Server, seconds: float = 90) -> None:
    """Polls until what these servers do together is ready.

    Raises:
        RuntimeError: One ended, or it was not ready in time; the message holds the end of each log.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if ended := [server for server in servers if server.process.poll() is not None]:
            raise RuntimeError("\n".join(["ended before it was ready", *(server.tail() for server in ended)]))
        if time.monotonic() > deadline:
            raise RuntimeError("\n".join([f"not ready after {seconds} s", *(server.tail() for server in servers)]))
        time.sleep(0.05)


def wait_for_port(port: int, server: Server, *, host: str = LOOPBACK, seconds: float = 90) -> None:
    """Waits until a server accepts connections."""
    wait_until(lambda: _accepts(host, port), server, seconds=seconds)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
