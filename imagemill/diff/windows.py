"""Rows of a version's shard indexes, one window of key hashes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagemill.errors import UnusableData
from imagemill.manifest import ShardEntry
from imagemill.records.shard_index import ShardIndex
from imagemill.records.sharding import shard_of
from imagemill.storage import MissingObject, Store

READ_AHEAD = 8
"""Indexes of a split that are read before they are needed, where reads wait for a network."""

ROW = np.dtype(
    [
        ("hash", np.uint64),
        ("digest", np.uint64, (4,)),
        ("split", np.int32),
        ("label", np.int32),
        ("shard", np.int32),
        ("position", np.int32),
    ]
)
"""One row: hash of its key, SHA-256 of its image as words that NumPy compares at once, numbers of its split and label,
and where its key is: the shard within its split, and the position there."""

Rows = NDArray[Any]
"""An array of `ROW`."""


def rows_of(
    index: ShardIndex, first: int, last: int, *, split: int, shard: int, number_of: Callable[[int], int]
) -> Rows:
    """Returns the rows of an index whose hashes are from `first` to `last`."""
    hashes = np.asarray(index.hashes, np.uint64)
    start = int(np.searchsorted(hashes, np.uint64(first)))
    end = int(np.searchsorted(hashes, np.uint64(last), side="right"))
    ids, places = np.unique(np.asarray(index.labels, np.int32)[start:end], return_inverse=True)
    rows = np.empty(end - start, ROW)
    rows["hash"] = hashes[start:end]
    rows["digest"] = np.frombuffer(index.sha256s, np.uint64).reshape(-1, 4)[start:end]
    rows["split"], rows["shard"] = split, shard
    rows["label"] = np.array([number_of(int(label)) for label in ids], np.int32)[places]
    rows["position"] = np.arange(start, end)
    return rows


class SplitShards:
    """The indexes of one split's shards, opened as windows reach them and let go when windows have passed.

    Args:
        store: The version folder.
        entries: The manifest's shards of the split.
    """

    def __init__(self, store: Store, entries: Sequence[ShardEntry]) -> None:
        self._store = store
        self._entries = sorted(entries, key=lambda entry: entry.name)
        self._open: dict[int, ShardIndex | Future[ShardIndex]] = {}
        ahead = min(READ_AHEAD, store.parallel_reads)
        self._pool = ThreadPoolExecutor(ahead, thread_name_prefix="index") if ahead > 1 else None
        self._ahead = ahead if ahead > 1 else 0

    def rows(self, first: int, last: int, *, split: int, number_of: Callable[[int], int]) -> Iterator[Rows]:
        """Yields the rows whose hashes are from `first` to `last`; windows must be asked for in their order.

        Raises:
            UnusableData: An index is gone or damaged.
        """
        count = len(self._entries)
        start, end = shard_of(first, count), shard_of(last, count)
        for number in [number for number in self._open if number < start]:
            del self._open[number]
        for number in range(start, end + 1):
            self._begin(number)
            index = self._open[number] = self.index(number)
            yield rows_of(index, first, last, split=split, shard=number, number_of=number_of)

    def index(self, shard: int) -> ShardIndex:
        """Returns a shard's index, read anew where the windows are not there or have passed."""
        found = self._open.get(shard)
        return found.result() if isinstance(found, Future) else found or self._read(shard)

    def _begin(self, number: int) -> None:
        if self._pool is not None:
            for soon in range(number, min(number + self._ahead, len(self._entries))):
                if soon not in self._open:
                    self._open[soon] = self._pool.submit(self._read, soon)

    def _read(self, number: int) -> ShardIndex:
        entry = self._entries[number]
        where = f"{self._store.uri.rstrip('/')}/{entry.index.name}"
        try:
            index = ShardIndex(self._store.read(entry.index.name), where=where)
        except MissingObject as error:
            raise UnusableData(f"{where} is gone; verify that version") from error
        hashes = np.asarray(index.hashes, np.uint64)
        if len(index) != entry.records or np.any(hashes[1:] < hashes[:-1]):
            raise UnusableData(f"{where} is not the index of its shard; verify that version")
        if len(index) and not (
            shard_of(int(hashes[0]), len(self._entries)) == number == shard_of(int(hashes[-1]), len(self._entries))
        ):
            raise UnusableData(f"{where} holds keys of another shard; verify that version")
        return index
