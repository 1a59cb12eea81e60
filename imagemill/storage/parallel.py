"""Spreads work over threads: as many as the stores answer at once, so that none waits for its turn and costs time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from queue import SimpleQueue
from typing import TypeVar

from imagemill.storage.store import Store

_BATCH = 32  # items a lone thread takes at once
_REMOTE_BATCH = 8  # handing items over one by one costs a fifth of a small object's upload
_FIRST_BATCH = 2  # a short listing must give every thread something
_WINDOW = 8  # batches a thread may be ahead by

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Crew:
    """Threads for work on some stores.

    Args:
        stores: Where the work waits.
        threads: How many, whatever the stores say.
    """

    def __init__(self, *stores: Store, threads: int | None = None) -> None:
        self._stores, self._fixed = stores, threads
        self._most = threads or max(store.parallel_reads for store in stores)

    def batches(self, items: Iterable[_Item]) -> Iterator[list[_Item]]:
        """Yields the items in batches that are worth handing to a thread."""
        iterator = iter(items)
        sizes = repeat(_BATCH) if self._most == 1 else chain(repeat(_FIRST_BATCH, self._most), repeat(_REMOTE_BATCH))
        for size in sizes:
            batch = list(islice(iterator, size))
            if not batch:
                return
            yield batch

    def spread(self, function: Callable[[_Item], _Result], items: Iterator[_Item]) -> Iterator[_Result]:
        """Yields `function(item)` in order, with a bounded number of items in flight."""
        if self._most == 1:
            yield from map(function, items)
            return
        waiting, ended, running = deque[Future[_Result]](), SimpleQueue[None](), 0
        with ThreadPoolExecutor(self._most, thread_name_prefix="sync") as pool:
            try:
                for item in items:
                    while running >= self._allowed():
                        ended.get()
                        running -= 1
                    future = pool.submit(function, item)
                    future.add_done_callback(lambda _: ended.put(None))
                    waiting.append(future)
                    running += 1
                    while waiting and (waiting[0].done() or len(waiting) > self._most * _WINDOW):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _allowed(self) -> int:
        return self._fixed or max(store.parallel_now for store in self._stores)
