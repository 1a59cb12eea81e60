"""Reading many objects ahead, in order, through a window of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, TypeVar

from imagemill.storage.store import MissingObject, ObjectTooLarge, Store

Item = TypeVar("Item")
Outcome = bytes | MissingObject | ObjectTooLarge
"""An object's bytes, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWindow:
    """Bounds on what is read ahead.

    Attributes:
        objects: Objects read or waiting for their turn at once; `Store.parallel_reads` of them are being read.
        bytes: Bytes of them together. Only the object whose turn it is may exceed them, so that memory stays below
            `bytes` and one object, whatever the sizes.
    """

    objects: int = 64
    bytes: int = 128 << 20

    def __post_init__(self) -> None:
        if self.objects < 1 or self.bytes < 1:
            raise ValueError(f"a window has room for at least one object and one byte: {self}")


DEFAULT_WINDOW = ReadWindow()


def read_ahead(
    items: Iterable[Item], *, key: Callable[[Item], str], store: Store, window: ReadWindow, max_bytes: int
) -> Generator[tuple[Item, Outcome], None, None]:
    """Yields every item with its object, in the order of the items.

    Args:
        items: What to read, taken as the window moves on.
        key: Returns an item's object name.
        store: Where the objects are.
        window: How far to read ahead.
        max_bytes: A larger object is an outcome of its own; its bytes are not read.
    """
    if store.parallel_reads <= 1:
        for item in items:
            yield item, _read(store, key(item), max_bytes)
        return
    with ThreadPoolExecutor(min(window.objects, store.parallel_reads), thread_name_prefix="read-ahead") as pool:
        reading = _Reading(iter(items), key, store=store, window=window, max_bytes=max_bytes, pool=pool)
        try:
            while reading.wait():
                yield reading.take()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Read(Generic[Item]):
    """One object on its way: `held` of the window's bytes are its own; `wanted` once they are known to be too few."""

    item: Item
    future: Future[Outcome] = field(default_factory=Future)
    held: int = 0
    wanted: int = 0
    settled: bool = False


class _Reading(Generic[Item]):
    """Hands out the window's bytes: a read holds what it may fetch, then what it did fetch, until that was used.

    An object larger than its read may fetch is asked for once more, with what it needs, when that is free or its turn
    has come. Objects of one dataset are much alike, so few are asked for twice: a read may fetch its equal share or
    twice the mean of those before. All methods but `_fetch` run on the thread of who takes the objects.
    """

    def __init__(
        self,
        items: Iterator[Item],
        key: Callable[[Item], str],
        *,
        store: Store,
        window: ReadWindow,
        max_bytes: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._items, self._key, self._store, self._pool = items, key, store, pool
        self._objects, self._most = window.objects, min(window.bytes, max_bytes)
        self._share = max(1, window.bytes // window.objects)
        self._guess = max(1, window.bytes // min(window.objects, store.parallel_reads))
        self._max_bytes = max_bytes
        self._free, self._taken = window.bytes, 0
        self._waiting: deque[_Read[Item]] = deque()
        self._larger: list[_Read[Item]] = []
        self._done: SimpleQueue[_Read[Item]] = SimpleQueue()
        self._count = self._total = 0

    def wait(self) -> bool:
        """Waits for the next item's object, while reads go on; False after the last. What was taken before is used."""
        self._free += self._taken
        self._taken = 0
        self._advance()
        while self._waiting and not (self._waiting[0].settled and self._done.empty()):
            self._settle(self._done.get())
            self._advance()
        return bool(self._waiting)

    def take(self) -> tuple[Item, Outcome]:
        """Returns the next item and its object, or raises why it could not be read."""
        read = self._waiting.popleft()
        self._taken = read.held
        return read.item, read.future.result()

    def _advance(self) -> None:
        for read in self._larger.copy():
            if read.wanted <= self._free or read is self._waiting[0]:
                self._larger.remove(read)
                self._start(read, read.wanted)
        while not self._larger and len(self._waiting) < self._objects:
            allowed = min(self._guess, self._most)
            if allowed > self._free and self._waiting:
                return
            try:
                read = _Read(next(self._items))
            except StopIteration:
                return
            self._waiting.append(read)
            self._start(read, allowed)

    def _start(self, read: _Read[Item], allowed: int) -> None:
        self._free -= allowed
        read.held = allowed
        read.future = self._pool.submit(self._fetch, read, allowed)

    def _fetch(self, read: _Read[Item], allowed: int) -> Outcome:
        try:
            return _read(self._store, self._key(read.item), allowed)
        finally:
            self._done.put(read)

    def _settle(self, read: _Read[Item]) -> None:
        outcome = read.future.result() if read.future.exception() is None else None
        size = len(outcome) if isinstance(outcome, bytes) else 0
        if larger := isinstance(outcome, ObjectTooLarge) and outcome.size <= self._max_bytes:
            size = outcome.size
        if size and not read.wanted:
            self._count, self._total = self._count + 1, self._total + size
            self._guess = max(self._share, 2 * self._total // self._count)
        self._free += read.held
        if larger:
            read.held, read.wanted = 0, size
            self._larger.append(read)
        else:
            read.held, read.settled = size, True
            self._free -= size


def _read(store: Store, key: str, max_bytes: int) -> Outcome:
    try:
        return store.read(key, max_bytes=max_bytes)
    except (MissingObject, ObjectTooLarge) as outcome:
        return outcome
