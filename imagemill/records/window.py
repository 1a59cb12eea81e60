"""Reading many objects ahead, in order, through a window of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from imagemill.storage.store import MissingObject, ObjectTooLarge, Store

Item = TypeVar("Item")
Outcome = bytes | MissingObject | ObjectTooLarge
"""An object's bytes, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWindow:
    """Bounds on what is read ahead.

    Attributes:
        objects: Objects read or waiting for their turn at once; `Store.parallel_reads` of them are being read.
        bytes: Bytes of them together. An object larger than its share (`bytes / objects`) is read alone when its
            turn comes, so that memory stays below `bytes` and one such object, whatever the sizes.
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
    share = min(max_bytes, max(1, window.bytes // window.objects))
    waiting: deque[tuple[Item, Future[Outcome]]] = deque()

    def turn() -> tuple[Item, Outcome]:
        item, future = waiting.popleft()
        outcome = future.result()
        if isinstance(outcome, ObjectTooLarge) and outcome.size <= max_bytes:
            outcome = _read(store, key(item), max_bytes)
        return item, outcome

    with ThreadPoolExecutor(min(window.objects, store.parallel_reads), thread_name_prefix="read-ahead") as pool:
        try:
            for item in items:
                if len(waiting) == window.objects:
                    yield turn()
                waiting.append((item, pool.submit(_read, store, key(item), share)))
            while waiting:
                yield turn()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(store: Store, key: str, max_bytes: int) -> Outcome:
    try:
        return store.read(key, max_bytes=max_bytes)
    except (MissingObject, ObjectTooLarge) as outcome:
        return outcome
