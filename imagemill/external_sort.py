"""Sort more than the memory holds: sorted runs on disk, merged lazily."""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import IO, Any, TypeVar

from imagemill.storage.spool import TemporarySpool, temporary_faults

T = TypeVar("T")

CHUNK = 50_000
"""Items held and sorted in memory at once."""

MERGED_RUNS = 128
"""Runs of one length, each an open file, that become one longer run."""

_BLOCK = 500  # items read back from one run at a time: with hundreds of runs still a modest memory


def sorted_lines(
    lines: Iterable[T], *, key: Callable[[T], Any], chunk: int = CHUNK, merged: int = MERGED_RUNS
) -> Iterator[T]:
    """Yields the items in the order of `key`; equal ones keep their order.

    Up to `chunk` items never leave the memory; more are sorted in runs of that many, in unnamed temporary files that
    vanish with the iterator or the process. A few hundred of them are open at most, however many items there are.

    Args:
        lines: Items that pickle can carry.
        key: What to compare.
        chunk: Items in memory at once.
        merged: Runs that become one.

    Raises:
        CallerError: The folder for temporary files is full, or cannot be written to.
    """
    source = iter(lines)
    first = sorted(islice(source, chunk), key=key)
    second = sorted(islice(source, chunk), key=key)
    if not second:
        yield from first
        return
    with ExitStack() as files:
        runs = _Runs(files, key, merged)
        for run in chain([first, second], _chunks(source, key=key, chunk=chunk)):
            runs.add(run)
        del run, first, second
        yield from runs.all()


def _chunks(source: Iterator[T], *, key: Callable[[T], Any], chunk: int) -> Iterator[list[T]]:
    while run := sorted(islice(source, chunk), key=key):
        yield run


class _Runs:
    """Sorted runs on disk: `_levels[n]` has those of `merged**n` chunks, the oldest first, fewer than `merged`."""

    def __init__(self, files: ExitStack, key: Callable[[Any], Any], merged: int) -> None:
        self._stack, self._key, self._merged = files, key, merged
        self._levels: list[list[IO[bytes]]] = []

    def add(self, run: list[Any]) -> None:
        """Takes a run, and empties it."""
        added = self._spill(iter(run))
        run.clear()
        for level in self._levels:
            level.append(added)
            if len(level) < self._merged:
                return
            added = self._spill(self._merge(level))
            for file in level:
                file.close()
            level.clear()
        self._levels.append([added])

    def all(self) -> Iterator[Any]:
        """Yields the items of all runs in order."""
        return self._merge(chain.from_iterable(reversed(self._levels)))

    def _merge(self, runs: Iterable[IO[bytes]]) -> Iterator[Any]:
        return heapq.merge(*map(_unspill, runs), key=self._key)

    def _spill(self, items: Iterator[Any]) -> IO[bytes]:
        file = self._stack.enter_context(TemporarySpool(max_size=1))
        while block := list(islice(items, _BLOCK)):
            pickle.dump(block, file, pickle.HIGHEST_PROTOCOL)
        file.seek(0)
        return file


def _unspill(file: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            with temporary_faults():
                block = pickle.load(file)  # noqa: S301 - written above, in a file without a name
        except EOFError:
            return
        yield from block
