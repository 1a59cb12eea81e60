"""Sort more than the memory holds: sorted runs on disk, merged lazily."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any, TypeVar

T = TypeVar("T")

CHUNK = 50_000
"""Items held and sorted in memory at once."""

_BLOCK = 500  # items read back from one run at a time: with a thousand runs still a modest memory


def sorted_lines(lines: Iterable[T], *, key: Callable[[T], Any], chunk: int = CHUNK) -> Iterator[T]:
    """Yields the items in the order of `key`; equal ones keep their order.

    Up to `chunk` items never leave the memory; more are sorted in runs of that many, in unnamed temporary files that
    vanish with the iterator or the process.

    Args:
        lines: Items that pickle can carry.
        key: What to compare.
        chunk: Items in memory at once.
    """
    source = iter(lines)
    first = sorted(islice(source, chunk), key=key)
    second = sorted(islice(source, chunk), key=key)
    if not second:
        yield from first
        return
    with ExitStack() as files:
        runs = []
        for run in _chunks(first, second, source, key=key, chunk=chunk):
            file = files.enter_context(tempfile.TemporaryFile())
            _spill(run, file)
            runs.append(_unspill(file))
        del first, second
        yield from heapq.merge(*runs, key=key)


def _chunks(
    first: list[T], second: list[T], source: Iterator[T], *, key: Callable[[T], Any], chunk: int
) -> Iterator[list[T]]:
    yield first
    yield second
    while run := sorted(islice(source, chunk), key=key):
        yield run


def _spill(items: list[T], file: IO[bytes]) -> None:
    for start in range(0, len(items), _BLOCK):
        pickle.dump(items[start : start + _BLOCK], file, pickle.HIGHEST_PROTOCOL)
    items.clear()
    file.seek(0)


def _unspill(file: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            block = pickle.load(file)  # noqa: S301 - written above, in a file without a name
        except EOFError:
            return
        yield from block
