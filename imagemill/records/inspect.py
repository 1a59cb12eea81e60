"""Shows what a TFRecord shard holds, record by record, to a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from imagemill.errors import CallerError
from imagemill.records.example import MalformedExample, decode_features
from imagemill.records.tfrecord import CorruptRecord, read_records
from imagemill.storage import key_fault, open_store, split
from imagemill.storage.object_file import open_object


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
    """Yields the first `count` records of a shard, or the first that has this key.

    Raises:
        MissingObject: There is no such shard.
        UnusableData: A record is corrupt; the message has its byte offset. Those before it are yielded first.
        CallerError: No record has the key.
    """
    folder, name = split(uri)
    with open_object(open_store(folder), name, compression="gzip" if name.endswith(".gz") else "") as file:
        records = (_inspect(offset, payload, where=uri) for offset, payload in read_records(file, where=uri))
        if key is None:
            yield from islice(records, count)
            return
        found = next((record for record in records if record.features.get("image/filename") == key), None)
    if found is None:
        raise CallerError(f"{uri} has no record of {key!r}; the version's other shards may")
    yield found


def save_image(record: InspectedRecord, folder: Path) -> Path:
    """Saves a record's image under its filename, below `folder` and nowhere else.

    Raises:
        CallerError: The record has no image, or its filename would leave the folder.
    """
    filename = str(record.features.get("image/filename", ""))
    if not record.image or not filename or key_fault(filename):
        raise CallerError(f"the record at byte {record.offset} has no image that can be saved (filename {filename!r})")
    target = folder / filename
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(record.image)
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
