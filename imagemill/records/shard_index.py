"""The index of one shard: where each record is and what it holds, in columns that open without being parsed.

Layout, all numbers little-endian, records in the order of the shard:

    8 bytes      magic, with the version in its last byte
    uint64       n, the number of records
    uint64       bytes of all keys
    n x uint64   hash of the key, ascending
    n x uint64   byte offset of the record's frame in the (uncompressed) shard
    n x uint64   byte where the record's key ends in the keys
    n x uint32   bytes of the record's frame
    n x int32    label id
    n x uint32   CRC-32C of the image
    n x 32 bytes SHA-256 of the image
    ...          the keys, UTF-8, one after the other

docs/decisions/0003-shard-index.md says why it is not Arrow.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from imagemill.errors import CallerError, UnusableData
from imagemill.records.sharding import key_hash

VERSION = 1
MAGIC = b"IMINDEX" + bytes([VERSION])

_HEADER = struct.Struct("<8sQQ")
_SHA256_BYTES = 32
_ROW_BYTES = 3 * 8 + 3 * 4 + _SHA256_BYTES


class IndexEntry(NamedTuple):
    """One record of a shard.

    Attributes:
        key: The row's filename.
        label: Class id.
        offset: Byte offset of the record's frame in the (uncompressed) shard.
        length: Bytes of the frame: `FRAMING_BYTES` more than the payload.
        crc32c: Checksum of the image as it was in the source.
        sha256: Digest of the image.
    """

    key: str
    label: int
    offset: int
    length: int
    crc32c: int
    sha256: bytes


class ShardIndexBuilder:
    """Collects the entries of a shard, in the order of its records, in about 60 bytes and the key for each."""

    def __init__(self) -> None:
        self._hashes, self._offsets, self._key_ends = array("Q"), array("Q"), array("Q")
        self._lengths, self._labels, self._crcs = array("I"), array("i"), array("I")
        self._sha256s, self._keys = bytearray(), bytearray()

    def add(self, entry: IndexEntry, *, hashed: int) -> None:
        """Appends one entry; `hashed` is its key's hash."""
        self._hashes.append(hashed)
        self._offsets.append(entry.offset)
        self._lengths.append(entry.length)
        self._labels.append(entry.label)
        self._crcs.append(entry.crc32c)
        self._sha256s += entry.sha256
        self._keys += entry.key.encode()
        self._key_ends.append(len(self._keys))

    def to_bytes(self) -> bytes:
        """Returns the index file."""
        columns = (self._hashes, self._offsets, self._key_ends, self._lengths, self._labels, self._crcs)
        header = _HEADER.pack(MAGIC, len(self._hashes), len(self._keys))
        return b"".join((header, *map(_little_endian, columns), self._sha256s, self._keys))


class ShardIndex:
    """A shard's index, opened: its columns are views of the file's bytes.

    Attributes:
        hashes: Hash of each key, ascending.
        labels: Label id of each record. Like all columns, NumPy wraps it without a copy.

    Args:
        data: The whole file.
        where: Its name, for messages.

    Raises:
        CallerError: It was written by a newer imagemill.
        UnusableData: It is not a shard index, or not a whole one.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        count, key_bytes = _check(data, where)
        self._data, self._count, self._where = data, count, where
        columns = _Columns(data, count)
        self.hashes = columns.take("Q")
        self._offsets, self._key_ends = columns.take("Q"), columns.take("Q")
        self._lengths, self.labels, self._crcs = columns.take("I"), columns.take("i"), columns.take("I")
        self._sha256s_at = columns.position
        self._keys_at = len(data) - key_bytes

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> IndexEntry:
        if not 0 <= position < self._count:
            raise IndexError(f"no record {position}: the shard has {self._count}")
        return IndexEntry(
            self.key(position),
            self.labels[position],
            self._offsets[position],
            self._lengths[position],
            self._crcs[position],
            self.sha256(position),
        )

    def __iter__(self) -> Iterator[IndexEntry]:
        return map(self.__getitem__, range(self._count))

    def key(self, position: int) -> str:
        """Returns the key of one record.

        Raises:
            UnusableData: It is no text.
        """
        start = self._key_ends[position - 1] if position else 0
        try:
            return self._data[self._keys_at + start : self._keys_at + self._key_ends[position]].decode()
        except UnicodeDecodeError as error:
            raise UnusableData(f"{self._where}: the key of row {position} is not UTF-8; it is damaged") from error

    def sha256(self, position: int) -> bytes:
        """Returns the digest of one record's image."""
        start = self._sha256s_at + position * _SHA256_BYTES
        return self._data[start : start + _SHA256_BYTES]

    @property
    def sha256s(self) -> memoryview:
        """The digests of all images, 32 bytes each, one after the other."""
        return memoryview(self._data)[self._sha256s_at : self._keys_at]

    def find(self, key: str) -> int | None:
        """Returns the position of a key's record, or None."""
        hashed = key_hash(key)
        position = bisect_left(self.hashes, hashed)
        while position < self._count and self.hashes[position] == hashed:
            if self.key(position) == key:
                return position
            position += 1
        return None

    def positions(self, label: int) -> list[int]:
        """Returns the positions of a class's records."""
        return [position for position, found in enumerate(self.labels) if found == label]


class _Columns:
    """Takes columns of numbers off the file, one after the other."""

    def __init__(self, data: bytes, count: int) -> None:
        self.position = _HEADER.size
        self._view, self._count = memoryview(data), count

    def take(self, code: Literal["Q", "I", "i"]) -> Sequence[int]:
        end = self.position + self._count * struct.calcsize(f"={code}")
        raw = self._view[self.position : end]
        self.position = end
        if sys.byteorder == "little":
            return raw.cast(code)
        column: array[int] = array(code, raw.tobytes())
        column.byteswap()
        return column


def _check(data: bytes, where: str) -> tuple[int, int]:
    if len(data) < _HEADER.size or data[:7] != MAGIC[:7]:
        raise UnusableData(f"{where}: not a shard index; it begins with {data[:8]!r}")
    if data[7] > VERSION:
        raise CallerError(
            f"{where}: shard index version {data[7]} is newer than this imagemill reads ({VERSION}); "
            "upgrade imagemill to open it"
        )
    _, count, key_bytes = _HEADER.unpack_from(data)
    if len(data) != _HEADER.size + count * _ROW_BYTES + key_bytes:
        raise UnusableData(f"{where}: {len(data)} bytes are not the index of {count} records; it is cut or damaged")
    return count, key_bytes


def _little_endian(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()
