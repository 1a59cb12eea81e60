"""Writes shards in processes of their own, where one interpreter would use one core only.

Such a process imports neither Beam nor anything else that starts slowly: it is there in a third of a second, where
one of Beam's own local workers takes five. `imagemill.shard_process` is what runs in it.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

import imagemill
from imagemill.conversion import WrittenShard
from imagemill.errors import TemporaryFault
from imagemill.plan import ConversionPlan

CHILD = ["-P", "-m", "imagemill.shard_process"]
"""Python's arguments."""


class ShardProcesses:
    """A pool of processes that write shards of one version.

    Args:
        plan: The conversion.
        version_uri: Folder of the version.
        processes: How many.
    """

    def __init__(self, plan: ConversionPlan, version_uri: str, *, processes: int) -> None:
        self._workers = [_Worker(plan, version_uri) for _ in range(processes)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="shard-process")
        self._waiting: deque[Future[WrittenShard]] = deque()

    def write(self, number: int, batches: Iterable[bytes]) -> Iterator[WrittenShard]:
        """Hands a shard's packed references to a process, and yields what earlier shards came to, if it has to wait."""
        # One more than there are processes waits its turn, so that none of them does.
        while len(self._waiting) > len(self._workers):
            yield self._waiting.popleft().result()
        self._waiting.append(self._threads.submit(self._send, number, list(batches)))

    def finish(self) -> Iterator[WrittenShard]:
        """Yields what is left.

        Raises:
            TemporaryFault: A process died.
        """
        while self._waiting:
            yield self._waiting.popleft().result()

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=True)

    def _send(self, number: int, batches: list[bytes]) -> WrittenShard:
        worker = self._idle.get()
        try:
            return worker.write(number, batches)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, plan: ConversionPlan, version_uri: str) -> None:
        root = str(Path(imagemill.__file__).parents[1])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            [sys.executable, *CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._send((plan, version_uri))

    def write(self, number: int, batches: list[bytes]) -> WrittenShard:
        try:
            self._send((number, batches))
            answer = pickle.load(self._output)  # noqa: S301 - from our own child
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TemporaryFault(
                f"a process that writes shards ended with {how}; the machine may have run out of memory"
            ) from error
        if isinstance(answer, WrittenShard):
            return answer
        failure, trace = answer
        failure.add_note(trace)
        raise failure

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        with suppress(BrokenPipeError):  # what was not yet sent
            self._input.close()

    def _send(self, value: object) -> None:
        pickle.dump(value, self._input, protocol=pickle.HIGHEST_PROTOCOL)
        self._input.flush()

    @property
    def _input(self) -> IO[bytes]:
        return _pipe(self._process.stdin)

    @property
    def _output(self) -> IO[bytes]:
        return _pipe(self._process.stdout)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe
