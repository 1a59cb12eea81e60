"""TensorFlow's own reader, on every shard that the tests wrote.

Session-wide, by `tests/conftest.py`: whoever wrote a shard, TensorFlow must find the records that its index lists.
Shards that a test damaged are left out: their manifest disowns them, or the test says so with `leave_out`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from imagemill.manifest import MANIFEST
from imagemill.records.shard_index import ShardIndex
from imagemill.records.sharding import index_beside
from imagemill.records.tfrecord import FRAMING_BYTES
from imagemill.storage.object_file import compression_of

LEFT_OUT: set[Path] = set()
"""Folders of shards that are wrong on purpose."""


class Record(NamedTuple):
    """One record, as its index has it or as TensorFlow found it."""

    key: str
    label: int
    sha256: str
    length: int


def leave_out(folder: Path) -> None:
    """Says that a folder holds shards that are wrong on purpose."""
    LEFT_OUT.add(folder)


def read_shards_under(folder: Path, *, without: Collection[Path] = LEFT_OUT) -> int:
    """Has TensorFlow read every shard under a folder; returns how many there are.

    Args:
        folder: Where to look.
        without: Folders whose shards are passed over.

    Raises:
        AssertionError: It finds other records in one than its index lists.
        tensorflow.errors.DataLossError: It cannot read one.
    """
    shards: dict[str, list[Path]] = {"": [], "gzip": []}
    for shard in _shards(folder, without):
        shards[compression_of(shard.name)].append(shard)
    for compression, alike in shards.items():
        if alike:
            _compare(alike, compression)
    return sum(map(len, shards.values()))


def _shards(folder: Path, without: Collection[Path]) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        shards = [name for name in names if ".tfrecord-" in name and index_beside(name) in names]
        if shards and Path(place) not in without:
            owned = _owned(Path(place)) if MANIFEST in names else shards
            yield from (Path(place, name) for name in shards if name in owned)


def _owned(version: Path) -> set[str]:
    """Returns the shards that are, with their indexes, what the version's manifest says."""
    try:
        shards = json.loads((version / MANIFEST).read_bytes())["shards"]
    except (ValueError, LookupError):  # damaged by a test
        return set()
    return {shard["name"] for shard in shards if _intact(version, shard) and _intact(version, shard["index"])}


def _intact(version: Path, entry: dict[str, Any]) -> bool:
    path = version / entry["name"]
    return path.is_file() and f"{google_crc32c.value(path.read_bytes()):08x}" == entry["crc32c"]


def _compare(shards: list[Path], compression: str) -> None:
    # One dataset for all: making one takes as long as reading some hundred records.
    found, where = _read_all(shards, compression), ""
    try:
        for shard in shards:
            for expected in _listed(shard):
                where = f"{shard}: {expected.key}"
                assert next(found, None) == expected
            where = f"{shard}: after its last record"
        assert next(found, None) is None
    except Exception as error:
        error.add_note(where)
        raise


def _listed(shard: Path) -> Iterator[Record]:
    index = ShardIndex((shard.parent / index_beside(shard.name)).read_bytes(), where=str(shard))
    for position, entry in enumerate(index):
        yield Record(entry.key, entry.label, index.sha256(position).hex(), entry.length)


def _read_all(shards: Iterable[Path], compression: str) -> Iterator[Record]:
    import tensorflow as tf

    names = [str(shard) for shard in shards]
    for payload in tf.data.TFRecordDataset(names, compression_type=compression.upper()).as_numpy_iterator():
        features = tf.train.Example.FromString(payload).features.feature
        encoded = hashlib.sha256(features["image/encoded"].bytes_list.value[0]).hexdigest()
        stated = features["image/key/sha256"].bytes_list.value[0].decode()
        yield Record(
            key=features["image/filename"].bytes_list.value[0].decode(),
            label=features["image/class/label"].int64_list.value[0],
            sha256=encoded if encoded == stated else f"{encoded}, which the record calls {stated}",
            length=len(payload) + FRAMING_BYTES,
        )
