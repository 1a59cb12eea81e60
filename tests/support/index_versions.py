"""Writes versions of which only the indexes and the manifest are real: all that a diff reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from imagemill.manifest import MANIFEST, Account, FileEntry, Manifest, ShardEntry
from imagemill.records.shard_index import IndexEntry, ShardIndexBuilder
from imagemill.records.sharding import index_name, key_hash, shard_name, shard_of
from imagemill.version.files import entry_of


class IndexedImage(NamedTuple):
    """One record, as a diff sees it; images are equal where their numbers are."""

    key: str
    split: str
    label: str
    image: int


def write_indexes(
    folder: Path,
    images: Iterable[IndexedImage],
    *,
    labels: list[str],
    shards: Mapping[str, int],
    hashed: Callable[[str], int] = key_hash,
) -> Path:
    """Writes a version of these images and returns its folder."""
    parts: dict[tuple[str, int], list[tuple[int, IndexedImage]]] = defaultdict(list)
    for image in images:
        value = hashed(image.key)
        parts[image.split, shard_of(value, shards[image.split])].append((value, image))
    folder.mkdir(parents=True)
    numbers = {name: number for number, name in enumerate(labels)}
    entries = [
        _write_shard(folder, split, shard, count, sorted(parts[split, shard]), numbers)
        for split, count in shards.items()
        for shard in range(count)
    ]
    counts = Counter({(entry.split, labels[label]): n for entry in entries for label, n in entry.labels.items()})
    accounts = [
        Account(split=split, label=label, rows=n, records=n, rejected=0, duplicates=0)
        for (split, label), n in sorted(counts.items())
    ]
    manifest = Manifest(
        dataset="toys",
        fingerprint="ab" * 32,
        labels=labels,
        accounts=accounts,
        reject_reasons={},
        shards=entries,
        files=[],
    )
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return folder


def _write_shard(
    folder: Path,
    split: str,
    shard: int,
    shards: int,
    images: list[tuple[int, IndexedImage]],
    numbers: Mapping[str, int],
) -> ShardEntry:
    builder, counts = ShardIndexBuilder(), Counter[int]()
    for offset, (value, image) in enumerate(images):
        label = numbers[image.label]
        counts[label] += 1
        digest = image.image.to_bytes(32, "big")
        builder.add(IndexEntry(image.key, label, offset * 100, 100, 0, digest), hashed=value)
    name = index_name(dataset="toys", split=split, shard=shard, shards=shards)
    data = builder.to_bytes()
    (folder / name).write_bytes(data)
    return ShardEntry(
        **FileEntry(
            name=shard_name(dataset="toys", split=split, shard=shard, shards=shards), bytes=0, crc32c="00000000"
        ).model_dump(),
        split=split,
        records=len(images),
        labels=dict(counts),
        index=entry_of(name, data),
    )
