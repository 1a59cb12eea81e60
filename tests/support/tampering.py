"""Seeds defects in a version: each helper damages one thing and keeps the rest consistent."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from imagemill.manifest import MANIFEST, Manifest
from imagemill.records.example import decode_features, encode_features
from imagemill.records.shard_index import IndexEntry, ShardIndex, ShardIndexBuilder
from imagemill.records.sharding import key_hash
from imagemill.records.tfrecord import FRAMING_BYTES, frame, read_records
from imagemill.version.files import entry_of
from tests.support.tensorflow_oracle import leave_out
from tests.support.versions import BuiltVersion

Features = dict[str, list[Any]]


def manifest_of(version: BuiltVersion) -> Manifest:
    return Manifest.model_validate_json((version.folder / MANIFEST).read_bytes())


def edit_manifest(version: BuiltVersion, edit: Callable[[Any], None]) -> None:
    """Changes the manifest as plain JSON."""
    leave_out(version.folder)
    path = version.folder / MANIFEST
    content = json.loads(path.read_bytes())
    edit(content)
    path.write_text(json.dumps(content))


def flip_bit(version: BuiltVersion, name: str, position: int) -> None:
    path = version.folder / name
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def reseal(version: BuiltVersion, *names: str) -> None:
    """Makes the manifest state the present size and checksum of objects, so that the damage is not seen by those."""

    def edit(content: Any) -> None:
        entries = [*content["shards"], *(shard["index"] for shard in content["shards"]), *content["files"]]
        for entry in entries:
            if entry["name"] in names:
                sealed = entry_of(entry["name"], (version.folder / entry["name"]).read_bytes())
                entry.update(sealed.model_dump())

    edit_manifest(version, edit)


def replace_object(version: BuiltVersion, name: str, data: bytes) -> None:
    (version.folder / name).write_bytes(data)
    reseal(version, name)


def shard(version: BuiltVersion, number: int = 0) -> str:
    """Returns a shard's name; the first two are of the split `test` and `train` in the order of the manifest."""
    return manifest_of(version).shards[number].name


def index_of(version: BuiltVersion, name: str) -> str:
    return next(entry.index.name for entry in manifest_of(version).shards if entry.name == name)


def offsets(version: BuiltVersion, name: str) -> list[int]:
    return [offset for offset, _ in read_records(BytesIO((version.folder / name).read_bytes()))]


def edit_records(version: BuiltVersion, name: str, edit: Callable[[list[Features]], None]) -> None:
    """Changes the records of a shard; frames, offsets, lengths and checksums follow, the index's other columns stay."""
    data = (version.folder / name).read_bytes()
    features: list[Features] = [dict(decode_features(payload)) for _, payload in read_records(BytesIO(data))]
    edit(features)
    frames = [frame(encode_features(record)) for record in features]
    (version.folder / name).write_bytes(b"".join(frames))

    def follow(rows: list[IndexEntry]) -> None:
        offset = 0
        for number, framed in enumerate(frames):
            rows[number] = rows[number]._replace(offset=offset, length=len(framed))
            offset += len(framed)

    edit_index(version, name, follow)
    reseal(version, name)


def edit_index(
    version: BuiltVersion,
    name: str,
    edit: Callable[[list[IndexEntry]], None],
    *,
    hashed: Callable[[str], int] = key_hash,
) -> None:
    """Changes the rows of a shard's index; its hashes follow."""
    index = index_of(version, name)
    rows = list(ShardIndex((version.folder / index).read_bytes(), where=index))
    edit(rows)
    builder = ShardIndexBuilder()
    for row in rows:
        builder.add(row, hashed=hashed(row.key))
    replace_object(version, index, builder.to_bytes())


def payload_position(version: BuiltVersion, name: str, record: int) -> int:
    """Returns a position in the middle of a record's payload."""
    starts = [*offsets(version, name), (version.folder / name).stat().st_size]
    return (starts[record] + starts[record + 1] - FRAMING_BYTES) // 2 + FRAMING_BYTES // 2
