"""Finding identical images among batches of digests, without a worker that sees them all."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from imagemill.records.sharding import shard_of
from imagemill.version.facts import RecordDigest, SharingFacts, find_sharing

_COUNT = struct.Struct("<I")
_DIGEST_BYTES = 32


class KeyDigest(NamedTuple):
    """What identifies the image of one record.

    Attributes:
        sha256: Digest of the image's bytes.
        label_id: The record's class.
        key: The record's key.
    """

    sha256: bytes
    label_id: int
    key: str


def pack_digests(records: Iterable[KeyDigest], *, split: str, ranges: int) -> dict[int, bytes]:
    """Returns the digests of one shard by the range they are in, each range packed into one `bytes`."""
    if ranges == 1:
        whole = list(records)
        return {0: _pack(whole, split)} if whole else {}
    by_range: defaultdict[int, list[KeyDigest]] = defaultdict(list)
    for record in records:
        by_range[shard_of(int.from_bytes(record.sha256[:8], "big"), ranges)].append(record)
    return {number: _pack(members, split) for number, members in by_range.items()}


def find_shared_images(batches: Iterable[bytes], *, labels: Sequence[str]) -> SharingFacts:
    """Returns which records of one range hold the same bytes."""
    held = list(batches)
    seen = Counter(digest for packed in held for digest in _digests(packed))
    if len(seen) == seen.total():
        return SharingFacts()
    return find_sharing(
        RecordDigest(record.sha256, record.key, split, labels[record.label_id])
        for packed in held
        for split, record in _unpack(packed)
        if seen[record.sha256] > 1
    )


def _pack(records: Sequence[KeyDigest], split: str) -> bytes:
    digests, label_ids, keys = zip(*records, strict=True)
    text = zlib.compress("\n".join((split, *keys)).encode(), 1)
    return b"".join((_COUNT.pack(len(records)), *digests, array("i", label_ids).tobytes(), text))


def _digests(packed: bytes) -> Iterator[bytes]:
    (count,) = _COUNT.unpack_from(packed)
    for start in range(_COUNT.size, _COUNT.size + count * _DIGEST_BYTES, _DIGEST_BYTES):
        yield packed[start : start + _DIGEST_BYTES]


def _unpack(packed: bytes) -> Iterator[tuple[str, KeyDigest]]:
    (count,) = _COUNT.unpack_from(packed)
    label_ids: array[int] = array("i")
    start = _COUNT.size + count * _DIGEST_BYTES
    end = start + count * label_ids.itemsize
    label_ids.frombytes(packed[start:end])
    split, *keys = zlib.decompress(packed[end:]).decode().split("\n")
    for record in map(KeyDigest, _digests(packed), label_ids, keys):
        yield split, record
