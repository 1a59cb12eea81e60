"""Random access to the records of a version, without TensorFlow."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from threading import Lock
from typing import NamedTuple, Protocol

import google_crc32c

from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST, ShardEntry, parse_manifest
from imagemill.records.example import decode_features
from imagemill.records.shard_index import IndexEntry, ShardIndex
from imagemill.records.sharding import key_hash, shard_of
from imagemill.records.tfrecord import unframe
from imagemill.storage import MissingObject, open_store

BLOCK_BYTES = 8 << 20
"""What iteration reads at once: many records in one request."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One record of a version.

    Attributes:
        key: The row's filename.
        encoded: The image as it was in the source.
        format: "png", "jpeg", "gif", "webp" or "bmp".
        height: Pixels.
        width: Pixels.
        channels: Of the decoded image.
        sha256: Digest of `encoded`, hexadecimal.
        label: Class id.
        label_text: Class name.
    """

    key: str
    encoded: bytes
    format: str
    height: int
    width: int
    channels: int
    sha256: str
    label: int
    label_text: str


class _Inflater(Protocol):
    """What `zlib.decompressobj` returns, which has no public name."""

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


class _Place(NamedTuple):
    shard: int
    position: int


class RecordReader:
    """The records of a version, by position, by key, by class and in order: `reader[0]`, `reader.by_key("cat/1.png")`.

    Positions run through the splits in the order of their names, and within a split through its shards. A reader may
    be shared by threads, and travels to other processes as its arguments do. Indexes are read when they are needed
    and then kept, at about 70 bytes and the key for each record.

    Args:
        uri: The version's folder.
        split: Read only this split.

    Raises:
        CallerError: There is no such version or split, or a newer imagemill wrote it.
        UnusableData: The manifest is damaged.
    """

    def __init__(self, uri: str, *, split: str | None = None) -> None:
        self.uri, self.split = uri, split
        self._store = open_store(uri)
        where = f"{self._store.uri}/{MANIFEST}"
        try:
            manifest = parse_manifest(self._store.read(MANIFEST), where=where)
        except MissingObject as error:
            raise CallerError(f"{uri} is not a version: it has no {MANIFEST}; give the URI of a version") from error
        self.labels = tuple(manifest.labels)
        splits = sorted({shard.split for shard in manifest.shards})
        if split is not None and split not in splits:
            raise CallerError(f"{uri} has no split {split!r}; it has {', '.join(splits) or 'none'}")
        wanted = [split] if split is not None else splits
        self._shards = [shard for name in wanted for shard in manifest.shards if shard.split == name]
        self._ends = list(accumulate(shard.records for shard in self._shards))
        self._indexes: dict[int, ShardIndex] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return _open_reader, (self.uri, self.split)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, position: int) -> ImageRecord:
        """Returns the record at a position; negative ones count from the end.

        Raises:
            CorruptRecord: Its checksum does not hold.
        """
        place = self._place(position)
        return self._read(place.shard, self._index(place.shard)[place.position])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def __iter__(self) -> Iterator[ImageRecord]:
        """Yields all records, a block at a time."""
        for shard in range(len(self._shards)):
            yield from self._read_shard(shard)

    def by_key(self, key: str) -> ImageRecord:
        """Returns the record of a key.

        Raises:
            KeyError: There is none.
        """
        place = self._find(key)
        if place is None:
            raise KeyError(key)
        return self._read(place.shard, self._index(place.shard)[place.position])

    def position(self, key: str) -> int:
        """Returns the position of a key's record.

        Raises:
            KeyError: There is none.
        """
        place = self._find(key)
        if place is None:
            raise KeyError(key)
        return self._start(place.shard) + place.position

    def entry(self, position: int) -> IndexEntry:
        """Returns what the index says of the record at a position, without reading the record."""
        place = self._place(position)
        return self._index(place.shard)[place.position]

    def positions(self, label: int | str) -> list[int]:
        """Returns the positions of a class's records, by its id or its name.

        Raises:
            CallerError: There is no class of that name.
        """
        if isinstance(label, str):
            if label not in self._label_ids:
                raise CallerError(f"{self.uri} has no class {label!r}; it has {', '.join(self.labels)}")
            label = self._label_ids[label]
        found: list[int] = []
        for number, shard in enumerate(self._shards):
            if shard.labels.get(label):
                start = self._start(number)
                found.extend(start + position for position in self._index(number).positions(label))
        return found

    @cached_property
    def _label_ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.labels)}

    def _start(self, shard: int) -> int:
        return self._ends[shard - 1] if shard else 0

    def _place(self, position: int) -> _Place:
        if not -len(self) <= position < len(self):
            raise IndexError(f"no record {position}: there are {len(self)}")
        position %= len(self)
        shard = bisect_right(self._ends, position)
        return _Place(shard, position - self._start(shard))

    def _find(self, key: str) -> _Place | None:
        hashed = key_hash(key)
        for first, shards in self._ranges:
            shard = first + shard_of(hashed, shards)
            position = self._index(shard).find(key)
            if position is not None:
                return _Place(shard, position)
        return None

    @cached_property
    def _ranges(self) -> list[tuple[int, int]]:
        """First shard and number of shards of each split: within those the key's hash names the shard."""
        splits = [shard.split for shard in self._shards]
        return [(splits.index(split), splits.count(split)) for split in dict.fromkeys(splits)]

    def _index(self, shard: int) -> ShardIndex:
        index = self._indexes.get(shard)
        if index is None:
            with self._lock:
                index = self._indexes.get(shard) or self._open_index(self._shards[shard])
                self._indexes[shard] = index
        return index

    def _open_index(self, shard: ShardEntry) -> ShardIndex:
        where = f"{self._store.uri}/{shard.index.name}"
        data = self._store.read(shard.index.name)
        if f"{google_crc32c.value(data):08x}" != shard.index.crc32c:
            raise UnusableData(f"{where}: its checksum is not the manifest's; the version is damaged, publish another")
        index = ShardIndex(data, where=where)
        if len(index) != shard.records:
            raise UnusableData(f"{where}: {len(index)} records, the manifest has {shard.records}")
        return index

    def _read(self, shard: int, entry: IndexEntry) -> ImageRecord:
        name = self._shards[shard].name
        if name.endswith(".gz"):
            raise CallerError(
                f"{self._store.uri}/{name} is compressed as a whole, so its records have no address; "
                "iterate over them, or convert without `compression`"
            )
        record = self._store.read_range(name, entry.offset, entry.length)
        return self._parse(record, shard, entry)

    def _read_shard(self, shard: int) -> Iterator[ImageRecord]:
        waiting, start = bytearray(), 0
        blocks = self._blocks(self._shards[shard])
        for entry in self._index(shard):
            while entry.offset + entry.length > start + len(waiting):
                block = next(blocks, b"")
                if not block:
                    break  # the file ends early: what is left is no whole record, as its checksum will say
                del waiting[: entry.offset - start]
                start = entry.offset
                waiting += block
            first = entry.offset - start
            yield self._parse(bytes(waiting[first : first + entry.length]), shard, entry)

    def _blocks(self, shard: ShardEntry) -> Iterator[bytes]:
        """Yields the shard's records in blocks, decompressed, none of them empty."""
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if shard.name.endswith(".gz") else None
        for offset in range(0, shard.bytes, BLOCK_BYTES):
            data = self._store.read_range(shard.name, offset, BLOCK_BYTES)
            try:
                yield from filter(None, _inflated(inflater, data) if inflater else (data,))
            except zlib.error as error:
                raise UnusableData(f"{self._store.uri}/{shard.name}: does not decompress: {error}") from error

    def _parse(self, record: bytes, shard: int, entry: IndexEntry) -> ImageRecord:
        where = f"{self._store.uri}/{self._shards[shard].name}"
        found = parse_record(unframe(record, where=where, offset=entry.offset), where=where)
        if found.key != entry.key:
            raise UnusableData(f"{where}: byte offset {entry.offset}: the record is {found.key!r}, not {entry.key!r}")
        return found


def parse_record(payload: bytes, *, where: str) -> ImageRecord:
    """Returns a serialized tf.train.Example of this project as a record.

    Raises:
        UnusableData: It is something else.
    """
    features = decode_features(payload)
    try:
        return ImageRecord(
            key=_text(features["image/filename"][0]),
            encoded=_bytes(features["image/encoded"][0]),
            format=_text(features["image/format"][0]),
            height=int(features["image/height"][0]),
            width=int(features["image/width"][0]),
            channels=int(features["image/channels"][0]),
            sha256=_text(features["image/key/sha256"][0]),
            label=int(features["image/class/label"][0]),
            label_text=_text(features["image/class/text"][0]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnusableData(f"{where}: not a record of imagemill: {error!r}") from error


def _inflated(inflater: _Inflater, data: bytes) -> Iterator[bytes]:
    while data:
        yield inflater.decompress(data, BLOCK_BYTES)
        data = inflater.unconsumed_tail
    yield inflater.decompress(b"")  # what the limit held back


def _bytes(value: bytes | float) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not bytes")
    return value


def _text(value: bytes | float) -> str:
    return _bytes(value).decode()


def _open_reader(uri: str, split: str | None) -> RecordReader:
    return RecordReader(uri, split=split)
