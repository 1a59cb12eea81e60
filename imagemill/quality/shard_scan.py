"""Looks at one shard and its index: what holds, what does not, and where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from imagemill.errors import UnusableData
from imagemill.manifest import ShardEntry
from imagemill.quality.evidence import Faults, IndexedRecord, ShardFacts
from imagemill.records.shard_index import IndexEntry, ShardIndex
from imagemill.records.sharding import key_hash, shard_of
from imagemill.records.tfrecord import FRAMING_BYTES, CorruptRecord, read_records
from imagemill.storage.object_file import compression_of, open_object
from imagemill.storage.store import MissingObject, Store

_GZIP_RATIO = 1032
"""Bytes that one byte can stand for at most: a DEFLATE match of 258 bytes takes two bits."""


def scan_shard(
    store: Store,
    entry: ShardEntry,
    *,
    place: tuple[int, int],
    drawn: Mapping[int, Sequence[int]],
    full: bool,
) -> ShardFacts:
    """Looks at one shard.

    Args:
        store: The version folder.
        entry: What the manifest says of the shard.
        place: The shard's number within its split, and how many shards the split has.
        drawn: Which records are in the sample: ordinals among the shard's records of each label id.
        full: Verify the framing of every record, and hold the whole index against it.
    """
    facts = ShardFacts(entry)
    index = _open_index(store, entry, facts.index)
    walk = _IndexWalk(index, entry.index.name, facts.index) if index is not None else None
    if full:
        _scan_records(store, entry, walk, facts)
    if index is not None and walk is not None:
        facts.indexed, facts.indexed_labels = len(index), Counter(index.labels)
        _judge_order(index, entry, place, facts.index)
        facts.drawn = _take(index, entry, drawn, walk.unsound, facts.index)
    return facts


def _open_index(store: Store, entry: ShardEntry, faults: Faults) -> ShardIndex | None:
    try:
        return ShardIndex(store.read(entry.index.name), where=entry.index.name)
    except MissingObject:  # a finding of `shards_present`
        return None
    except UnusableData as error:
        faults.add(entry.index.name, str(error))
        return None


def _scan_records(store: Store, entry: ShardEntry, walk: _IndexWalk | None, facts: ShardFacts) -> None:
    facts.scanned = 0
    try:
        with open_object(store, entry.name, compression=compression_of(entry.name)) as file:
            for offset, payload in read_records(file, where=entry.name):
                facts.scanned += 1
                if walk is not None:
                    walk.meet(offset, len(payload) + FRAMING_BYTES)
    except CorruptRecord as error:
        facts.framing.add(entry.name, error.problem, offset=error.offset)
    except UnusableData as error:
        facts.framing.add(entry.name, str(error))
    if walk is not None:
        walk.finish(cut=bool(facts.framing))


class _IndexWalk:
    """Holds an index against the records of its shard, both in the order of their offsets.

    Attributes:
        unsound: Positions of rows that do not lead to a record that holds.
    """

    def __init__(self, index: ShardIndex, name: str, faults: Faults) -> None:
        self._index, self._name, self._faults = index, name, faults
        self._position = 0
        self.unsound: set[int] = set()

    def meet(self, offset: int, length: int) -> None:
        """Takes the next record of the shard."""
        row = self._row()
        while row is not None and row.offset < offset:
            self._stray(row)
            row = self._row()
        if row is None or row.offset > offset:
            self._faults.add(self._name, "does not know a record of the shard", offset=offset)
            return
        if row.length != length:
            self._refuse(row, f"says {row.length} bytes, the record has {length}")
        elif key_hash(row.key) != self._index.hashes[self._position]:
            self._refuse(row, "has another hash than its key")
        self._position += 1

    def finish(self, *, cut: bool) -> None:
        """Ends the walk; where the shard was cut short by a damaged record, nobody knows the rows behind it."""
        if cut:
            self.unsound.update(range(self._position, len(self._index)))
            return
        while (row := self._row()) is not None:
            self._stray(row)

    def _row(self) -> IndexEntry | None:
        while self._position < len(self._index):
            try:
                return self._index[self._position]
            except UnusableData as error:
                self._faults.add(self._name, str(error))
                self.unsound.add(self._position)
                self._position += 1
        return None

    def _stray(self, row: IndexEntry) -> None:
        self._refuse(row, "names a place where no record starts")
        self._position += 1

    def _refuse(self, row: IndexEntry, detail: str) -> None:
        self._faults.add(self._name, detail, offset=row.offset, key=row.key)
        self.unsound.add(self._position)


def _judge_order(index: ShardIndex, entry: ShardEntry, place: tuple[int, int], faults: Faults) -> None:
    number, shards = place
    if not len(index):
        return
    if any(first > second for first, second in pairwise(index.hashes)):
        faults.add(entry.index.name, "its key hashes are not in order, so that keys are not found")
    elif any(shard_of(hashed, shards) != number for hashed in (index.hashes[0], index.hashes[-1])):
        faults.add(entry.index.name, f"holds keys of another shard than {number} of {shards}")


def _take(
    index: ShardIndex, entry: ShardEntry, drawn: Mapping[int, Sequence[int]], unsound: set[int], faults: Faults
) -> list[IndexedRecord]:
    positions: dict[int, list[int]] = defaultdict(list)
    for position, label in enumerate(index.labels):
        if label in drawn:
            positions[label].append(position)
    # An index with fewer rows of a label than the manifest says is a finding of `record_counts`.
    chosen = {positions[label][n] for label in drawn for n in drawn[label] if n < len(positions[label])}
    taken = []
    for position in sorted(chosen - unsound):
        try:
            row = index[position]
        except UnusableData as error:
            faults.add(entry.index.name, str(error))
            continue
        if row.offset + row.length > _most_bytes(entry):
            faults.add(entry.index.name, "names a place behind the end of the shard", offset=row.offset, key=row.key)
        else:
            taken.append(_indexed(entry, row))
    return taken


def _most_bytes(entry: ShardEntry) -> int:
    """Returns what a shard can hold at most, unpacked."""
    return entry.bytes * (_GZIP_RATIO if compression_of(entry.name) else 1)


def _indexed(entry: ShardEntry, row: IndexEntry) -> IndexedRecord:
    return IndexedRecord(
        shard=entry.name,
        split=entry.split,
        key=row.key,
        label=row.label,
        offset=row.offset,
        length=row.length,
        source_sha256=row.sha256.hex(),
    )
