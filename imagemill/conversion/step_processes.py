"""Takes the steps of a conversion in processes of their own, where one interpreter would use one core only.

Such a process imports neither Beam nor anything else that starts slowly: it is there in a third of a second, where
one of Beam's own local workers takes five. `imagemill.conversion.step_process` is what runs in it.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, ClassVar, Literal

import imagemill
from imagemill.conversion.engine import Conversion
from imagemill.errors import TemporaryFault
from imagemill.plan import ConversionPlan

CHILD = ["-P", "-m", "imagemill.conversion.step_process"]
"""Python's arguments."""

Name = Literal["read", "resolve", "write"]
"""A step: a method of `Conversion`."""


@dataclass(frozen=True, slots=True)
class Work:
    """A conversion on its way.

    Attributes:
        plan: What to convert.
        version_uri: Folder of the version.
        processes: Processes that each worker uses; 1 is the worker itself.
    """

    plan: ConversionPlan
    version_uri: str
    processes: int = 1


class Steps:
    """Takes steps of one kind: here and at once, or several at a time in processes, which all kinds share.

    Args:
        name: Which step.
        work: Of which conversion, and in how many processes.

    Raises:
        TemporaryFault: (When a step is taken or finished) a process died.
    """

    def __init__(self, name: Name, work: Work) -> None:
        self._name = name
        self._waiting: deque[Future[Any]] = deque()
        self._conversion = Conversion(work.plan, work.version_uri) if work.processes == 1 else None
        self._pool = None if self._conversion else _Pool.lease(work)

    def take(self, *arguments: object) -> Iterator[Any]:
        """Begins a step, and yields what earlier ones came to, if it has to wait for them."""
        if self._pool is None:
            yield getattr(self._conversion, self._name)(*arguments)
            return
        # One more than there are processes waits its turn, so that none of them does.
        while len(self._waiting) > self._pool.processes:
            yield self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._name, arguments))

    def finish(self) -> Iterator[Any]:
        """Yields what is left."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def close(self) -> None:
        """Ends the processes, whatever they are doing, unless another kind of steps uses them."""
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()
        if self._pool is not None:
            self._pool.release()
            self._pool = None


class _Pool:
    """Processes for one version; started when first leased, ended when last released."""

    _leased: ClassVar[dict[tuple[str, int], _Pool]] = {}
    _lock = Lock()

    def __init__(self, work: Work) -> None:
        self.processes = work.processes
        self._key = work.version_uri, work.processes
        self._leases = 0
        self._workers = [_Worker(work) for _ in range(work.processes)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(work.processes, thread_name_prefix="step")

    @classmethod
    def lease(cls, work: Work) -> _Pool:
        with cls._lock:
            key = work.version_uri, work.processes
            pool = cls._leased.get(key)
            if pool is None:
                pool = cls._leased[key] = cls(work)
            pool._leases += 1
            return pool

    def release(self) -> None:
        with self._lock:
            self._leases -= 1
            if self._leases:
                return
            del self._leased[self._key]
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=True)

    def submit(self, name: Name, arguments: tuple[object, ...]) -> Future[Any]:
        return self._threads.submit(self._take, name, arguments)

    def _take(self, name: Name, arguments: tuple[object, ...]) -> Any:
        worker = self._idle.get()
        try:
            return worker.take(name, arguments)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, work: Work) -> None:
        root = str(Path(imagemill.__file__).parents[1])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            [sys.executable, *CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._introduction: tuple[object, ...] | None = (work.plan, work.version_uri)

    def take(self, name: Name, arguments: tuple[object, ...]) -> Any:
        try:
            if self._introduction:
                self._send(self._introduction)
                self._introduction = None
            self._send((name, arguments))
            answer = pickle.load(_pipe(self._process.stdout))  # noqa: S301 - from our own child
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TemporaryFault(
                f"a process that converts images ended with {how}; the machine may have run out of memory"
            ) from error
        if type(answer) is tuple:  # a failure: what steps return is no plain tuple
            failure, trace = answer
            failure.add_note(trace)
            raise failure
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()
        with suppress(BrokenPipeError):  # what was not yet sent
            _pipe(self._process.stdin).close()

    def _send(self, value: object) -> None:
        pipe = _pipe(self._process.stdin)
        pickle.dump(value, pipe, protocol=pickle.HIGHEST_PROTOCOL)
        pipe.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe
