"""Shows what a TFRecord shard holds, record by record, to a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from imagemill.errors import CallerError
from imagemill.records.example import MalformedExample, decode_features
from imagemill.records.shard_index import IndexEntry, ShardIndex
from imagemill.records.sharding import index_beside
from imagemill.records.tfrecord import CorruptRecord, read_records, unframe
from imagemill.storage import MissingObject, Store, key_fault, open_store, split
from imagemill.storage.faults import os_fault
from imagemill.storage.object_file import compression_of, open_object


@dataclass(frozen=True, slots=True)
class InspectedRecord:
    """One record.

    Attributes:
        offset: Byte offset of its frame in the (uncompressed) shard.
        features: Feature values by name; the image itself is replaced by its size in bytes.
        image: The encoded image, empty where the record has none.
    """

    offset: int
    features: dict[str, Any]
    image: bytes

    def as_dict(self) -> dict[str, Any]:
        """Returns what `--json` shows."""
        return {"offset": self.offset, **self.features}

    def __str__(self) -> str:
        lines = [f"record at byte {self.offset}"]
        width = max(map(len, self.features), default=0)
        return "\n".join([*lines, *(f"  {name:<{width}}  {value}" for name, value in self.features.items())])


def inspect_shard(uri: str, *, count: int, key: str | None = None) -> Iterator[InspectedRecord]:
    """Yields the first `count` records of a shard, or the one that has this key.

    Raises:
        MissingObject: There is no such shard.
        UnusableData: A record is corrupt; the message has its byte offset. Those before it are yielded first.
        CallerError: No record has the key.
    """
    folder, name = split(uri)
    store = open_store(folder)
    if key is None:
        yield from islice(_all(store, name, where=uri), count)
        return
    index = None if compression_of(name) else _index(store, name)
    if index is None:
        records = _all(store, name, where=uri)
        found = next((record for record in records if record.features.get("image/filename") == key), None)
    else:
        position = index.find(key)
        found = None if position is None else _at(index[position], store, name, where=uri)
    if found is None:
        raise CallerError(f"{uri} has no record of {key!r}; the version's other shards may")
    yield found


def _all(store: Store, name: str, *, where: str) -> Iterator[InspectedRecord]:
    with open_object(store, name, compression=compression_of(name)) as file:
        for offset, payload in read_records(file, where=where):
            yield _inspect(offset, payload, where=where)


def _index(store: Store, name: str) -> ShardIndex | None:
    index = index_beside(name)
    try:
        return ShardIndex(store.read(index), where=index) if index != name else None
    except MissingObject:  # a shard alone, copied from its version or of another maker
        return None


def _at(entry: IndexEntry, store: Store, name: str, *, where: str) -> InspectedRecord:
    record = store.read_range(name, entry.offset, entry.length)
    return _inspect(entry.offset, unframe(record, where=where, offset=entry.offset), where=where)


def save_image(record: InspectedRecord, folder: Path) -> Path:
    """Saves a record's image under its filename, below `folder` and nowhere else.

    Raises:
        CallerError: The record has no image, its filename would leave the folder, or the file cannot be written.
    """
    filename = str(record.features.get("image/filename", ""))
    if not record.image or not filename or key_fault(filename):
        raise CallerError(f"the record at byte {record.offset} has no image that can be saved (filename {filename!r})")
    target = folder / filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(record.image)
    except OSError as error:
        raise os_fault(error, str(target), "write") from error
    return target


def _inspect(offset: int, payload: bytes, *, where: str) -> InspectedRecord:
    try:
        decoded = decode_features(payload)
    except MalformedExample as error:
        raise CorruptRecord(str(error), where=where, offset=offset) from error
    image = next((value for value in decoded.get("image/encoded", []) if isinstance(value, bytes)), b"")
    features = {name: _readable(values) for name, values in decoded.items()}
    return InspectedRecord(offset, features | ({"image/encoded": f"{len(image)} bytes"} if image else {}), image)


def _readable(values: list[bytes] | list[int] | list[float]) -> Any:
    shown = [value.decode(errors="backslashreplace") if isinstance(value, bytes) else value for value in values]
    return shown[0] if len(shown) == 1 else shown
