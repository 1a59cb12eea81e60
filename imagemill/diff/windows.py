"""Rows of a version's shard indexes, one window of key hashes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagemill.errors import UnusableData
from imagemill.manifest import ShardEntry
from imagemill.records.shard_index import ShardIndex
from imagemill.records.sharding import shard_of
from imagemill.storage import MissingObject, Store

READ_AHEAD = 8
"""Indexes of a split that are read before they are needed, where reads wait for a network."""

_DIGEST_WORDS = 4
"""A SHA-256 as 64-bit words, which NumPy compares at once."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a version, in columns.

    Attributes:
        hashes: Hash of each key.
        splits: Number of each row's split.
        labels: Number of each row's label.
        digests: SHA-256 of each image, as four words.
        shards: Which of `indexes` each row is from.
        positions: Its position there.
        indexes: The indexes that the rows are from.
    """

    hashes: NDArray[np.uint64]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint64]
    shards: NDArray[np.int64]
    positions: NDArray[np.int64]
    indexes: tuple[ShardIndex, ...]

    def __len__(self) -> int:
        return len(self.hashes)

    def key(self, row: int) -> str:
        return self.indexes[int(self.shards[row])].key(int(self.positions[row]))

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Rows:
        """Returns these rows, in this order."""
        chosen = np.asarray(rows, np.intp)
        return Rows(
            self.hashes[chosen],
            self.splits[chosen],
            self.labels[chosen],
            self.digests[chosen],
            self.shards[chosen],
            self.positions[chosen],
            self.indexes,
        )

    @classmethod
    def of(cls, index: ShardIndex, first: int, last: int, *, split: int, number_of: Callable[[int], int]) -> Rows:
        """Returns the rows of an index whose hashes are from `first` to `last`."""
        hashes = np.asarray(index.hashes, np.uint64)
        start = int(np.searchsorted(hashes, np.uint64(first)))
        end = int(np.searchsorted(hashes, np.uint64(last), side="right"))
        ids, places = np.unique(np.asarray(index.labels, np.int64)[start:end], return_inverse=True)
        numbers = np.array([number_of(int(label)) for label in ids], np.int64)
        digests = np.frombuffer(index.sha256s, np.uint64).reshape(-1, _DIGEST_WORDS)
        return cls(
            hashes=hashes[start:end],
            splits=np.full(end - start, split, np.int64),
            labels=numbers[places],
            digests=digests[start:end],
            shards=np.zeros(end - start, np.int64),
            positions=np.arange(start, end, dtype=np.int64),
            indexes=(index,),
        )

    @classmethod
    def together(cls, parts: Sequence[Rows]) -> Rows:
        """Returns the rows of all parts."""
        if not parts:
            none = np.zeros(0, np.int64)
            digests = np.zeros((0, _DIGEST_WORDS), np.uint64)
            return cls(none.astype(np.uint64), none, none, digests, none, none, ())
        return cls(
            np.concatenate([part.hashes for part in parts]),
            np.concatenate([part.splits for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.digests for part in parts]),
            np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            np.concatenate([part.positions for part in parts]),
            tuple(index for part in parts for index in part.indexes),
        )


class SplitShards:
    """The indexes of one split's shards, opened as windows reach them and let go when windows have passed.

    Args:
        store: The version folder.
        split: The split.
        entries: The manifest's shards of it.
    """

    def __init__(self, store: Store, split: str, entries: Sequence[ShardEntry]) -> None:
        self._store, self._split = store, split
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
            yield Rows.of(self._index(number), first, last, split=split, number_of=number_of)

    def _index(self, number: int) -> ShardIndex:
        if self._pool is not None:
            for soon in range(number, min(number + self._ahead, len(self._entries))):
                if soon not in self._open:
                    self._open[soon] = self._pool.submit(self._read, soon)
        found = self._open.get(number)
        index = found.result() if isinstance(found, Future) else found or self._read(number)
        self._open[number] = index
        return index

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
