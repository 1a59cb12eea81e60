"""Takes the steps of a conversion in processes of their own, where one interpreter would use one core only.

Such a process imports neither Beam nor anything else that starts slowly: it is there in a third of a second, where
one of Beam's own local workers takes five. `imagemill.conversion.step_worker` is what runs in it.
"""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import IO, Any, ClassVar, Literal

from imagemill.conversion.batches import Batches, Spool
from imagemill.conversion.engine import CARRIED, Conversion
from imagemill.errors import TemporaryFault
from imagemill.plan import ConversionPlan
from imagemill.processes import python_command, python_environment

Name = Literal["read", "resolve", "write", "compare", "sort_rejects"]
"""A step: a method of `Conversion`."""


@dataclass(frozen=True, slots=True)
class Work:
    """A conversion on its way.

    Attributes:
        plan: What to convert.
        version_uri: Folder of the version.
        processes: Processes that each worker uses; 1 is the worker itself.
        spooled: Batches wait in files that this process has open, between `on_this_machine` and its end.
    """

    plan: ConversionPlan
    version_uri: str
    processes: int = 1
    spooled: bool = False


@contextmanager
def on_this_machine(plan: ConversionPlan, version_uri: str, *, processes: int) -> Iterator[Work]:
    """Opens what a job needs all of whose steps are taken by this process, or by those that it starts."""
    work = Work(plan, version_uri, processes, spooled=True)
    pool = _WorkerPool.lease(work, new=True)
    try:
        yield work
    finally:
        pool.release()


def batches_of(work: Work) -> Batches:
    """Returns where the batches of a job wait."""
    return _WorkerPool.find(work).spool or CARRIED if work.spooled else CARRIED


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
        self._pool = _WorkerPool.lease(work) if work.processes > 1 else None
        self._here = None if self._pool else Conversion(work.plan, work.version_uri, batches_of(work))

    def take(self, *arguments: object) -> Iterator[Any]:
        """Begins a step, and yields what earlier ones came to, if it has to wait for them."""
        if self._pool is None:
            yield getattr(self._here, self._name)(*arguments)
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
        """Ends the processes, whatever they are doing, unless somebody else uses them."""
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()
        if self._pool is not None:
            self._pool.release()
            self._pool = None


class _WorkerPool:
    """Processes for one version, and the files they share; started when first leased, ended when last released."""

    _leased: ClassVar[dict[tuple[str, int, bool], _WorkerPool]] = {}
    _lock = Lock()

    def __init__(self, work: Work) -> None:
        self.processes = work.processes
        members = work.processes if work.processes > 1 else 0
        self.spool = Spool.create(1 + members) if work.spooled else None
        self._key = _key(work)
        self._leases = 0
        self._workers = [_Worker(work, self.spool, number) for number in range(1, members + 1)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(work.processes, thread_name_prefix="step")

    @classmethod
    def lease(cls, work: Work, *, new: bool = False) -> _WorkerPool:
        with cls._lock:
            pool = cls.find(work) if work.spooled and not new else cls._leased.get(_key(work))
            if pool is None:
                pool = cls._leased[_key(work)] = cls(work)
            pool._leases += 1
            return pool

    @classmethod
    def find(cls, work: Work) -> _WorkerPool:
        pool = cls._leased.get(_key(work))
        if pool is None:
            raise RuntimeError(f"the files that {work.version_uri} is made with are not open in this process")
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
        if self.spool:
            self.spool.close()

    def submit(self, name: Name, arguments: tuple[object, ...]) -> Future[Any]:
        return self._threads.submit(self._take, name, arguments)

    def _take(self, name: Name, arguments: tuple[object, ...]) -> Any:
        worker = self._idle.get()
        try:
            return worker.take(name, arguments)
        finally:
            self._idle.put(worker)


def _key(work: Work) -> tuple[str, int, bool]:
    return work.version_uri, work.processes, work.spooled


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, work: Work, spool: Spool | None, number: int) -> None:
        files = spool.descriptors if spool else ()
        self._process = subprocess.Popen(
            python_command("imagemill.conversion.step_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python_environment(),
            pass_fds=files,
        )
        self._introduction: tuple[object, ...] | None = (work.plan, work.version_uri, files, number)

    def take(self, name: Name, arguments: tuple[object, ...]) -> Any:
        try:
            if self._introduction:
                self._send(self._introduction)
                self._introduction = None
            self._send((name, arguments))
            answer, trace = pickle.load(_pipe(self._process.stdout))  # noqa: S301 - from our own child
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TemporaryFault(
                f"a process that converts images ended with {how}; the machine may have run out of memory"
            ) from error
        if trace:
            answer.add_note(trace)
            raise answer
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
