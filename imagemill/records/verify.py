"""Whether a shard is whole and its index leads to its records. No Beam, and no manifest: a plain function."""

from __future__ import annotations

from hashlib import sha256

import google_crc32c

from imagemill.errors import UnusableData
from imagemill.records.reader import parse_record
from imagemill.records.shard_index import IndexEntry, ShardIndex
from imagemill.records.sharding import index_beside, key_hash
from imagemill.records.tfrecord import FRAMING_BYTES, read_records
from imagemill.storage import open_store, split
from imagemill.storage.object_file import compression_of, open_object


def verify_shard(uri: str) -> int:
    """Reads a shard to its end and holds each record against the index beside it; returns how many there are.

    Held are the checksums of every frame, the digests of every image, and key, label, place and order of every record.
    One record is in memory at a time.

    Raises:
        MissingObject: There is no such shard, or no index beside it.
        UnusableData: A record is damaged, or the index says something else; the message has name and byte offset.
    """
    folder, name = split(uri)
    store = open_store(folder)
    index = ShardIndex(store.read(index_beside(name)), where=index_beside(name))
    count = 0
    with open_object(store, name, compression=compression_of(name)) as file:
        for offset, payload in read_records(file, where=uri):
            if count == len(index) or index[count] != _entry(offset, payload, where=uri):
                raise UnusableData(f"{uri}: byte offset {offset}: the index does not know the record as it is")
            if index.hashes[count] != key_hash(index.key(count)):
                raise UnusableData(f"{uri}: byte offset {offset}: the index has another hash than its key")
            count += 1
    if count < len(index):
        raise UnusableData(f"{uri}: it ends after {count} of {len(index)} records")
    if any(index.hashes[place] > index.hashes[place + 1] for place in range(count - 1)):
        raise UnusableData(f"{uri}: its records are not in the order of their keys' hashes")
    return count


def _entry(offset: int, payload: bytes, *, where: str) -> IndexEntry:
    """Returns what an index must say of a record."""
    record = parse_record(payload, where=f"{where}: byte offset {offset}")
    digest = sha256(record.encoded).digest()
    if record.sha256 != digest.hex():
        raise UnusableData(f"{where}: byte offset {offset}: the image of {record.key!r} has another digest")
    return IndexEntry(
        record.key,
        record.label,
        offset,
        len(payload) + FRAMING_BYTES,
        google_crc32c.value(record.encoded),
        digest,
    )
