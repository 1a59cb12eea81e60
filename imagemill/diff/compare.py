"""Compares two versions by their shard indexes: no image is read, and memory does not grow with the versions.

Shards hold ranges of key hashes, whatever their number. So both versions are walked through the same windows of hashes;
a window's rows of all splits are joined by key, counted and forgotten. What has no mate there, or one with other bytes,
waits on disk and is joined by image afterwards: it may have been renamed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np

from imagemill.diff.matching import match_images, match_keys
from imagemill.diff.model import VersionDiff
from imagemill.diff.spill import MAX_PARTS, Spill
from imagemill.diff.tally import PAIR, Names, Tally, paired
from imagemill.diff.windows import ROW, Rows, SplitShards
from imagemill.errors import UnusableData
from imagemill.manifest import MANIFEST, Manifest, parse_manifest
from imagemill.records.sharding import HASH_SPACE
from imagemill.storage import MissingObject, Store, open_store

WINDOW_RECORDS = 50_000
"""Records of one version that a window holds, about; a shard's whole index is held besides."""


def diff_versions(base_uri: str, version_uri: str) -> VersionDiff:
    """Returns what changed from one version to another.

    Raises:
        CallerError: One of them was written by a newer imagemill.
        UnusableData: One has no readable manifest, or an index that is gone or damaged.
    """
    base, version = _Side(base_uri), _Side(version_uri)
    names = Names(
        splits=sorted({*base.manifest_splits, *version.manifest_splits}),
        labels=list(dict.fromkeys([*version.manifest.labels, *base.manifest.labels])),
    )
    base.open(names)
    version.open(names)
    tally = Tally(names, keys_before=base.keys, keys_after=version.keys)
    with ExitStack() as files:
        comparison = _Comparison(base, version, tally, files)
        comparison.by_key()
        comparison.by_image()
    return tally.result(
        dataset=version.manifest.dataset,
        base=base.name,
        version=version.name,
        base_manifest_sha256=base.manifest_sha256,
        manifest_sha256=version.manifest_sha256,
    )


class _Side:
    """One of the two versions."""

    def __init__(self, uri: str) -> None:
        self._store = open_store(uri)
        self.name = self._store.uri.rstrip("/").rpartition("/")[2]
        self.manifest, self.manifest_sha256 = _read_manifest(self._store)
        self.manifest_splits = {entry.split for entry in self.manifest.shards}

    def open(self, names: Names) -> None:
        """Takes the numbers that rows will have."""
        by_split = defaultdict(list)
        for entry in self.manifest.shards:
            by_split[names.splits.index(entry.split)].append(entry)
        self._splits = {split: SplitShards(self._store, entries) for split, entries in sorted(by_split.items())}
        self._number_of = partial(names.label_number, self.manifest.labels)

    def rows(self, first: int, last: int) -> Rows:
        parts = [
            part
            for split, shards in self._splits.items()
            for part in shards.rows(first, last, split=split, number_of=self._number_of)
        ]
        return np.concatenate([np.empty(0, ROW), *parts])

    def keys(self, rows: Rows) -> list[str]:
        splits, shards, positions = (rows[name].tolist() for name in ("split", "shard", "position"))
        places = list(zip(splits, shards, strict=True))
        key_at = {(split, shard): self._splits[split].index(shard).key for split, shard in set(places)}
        return [key_at[place](position) for place, position in zip(places, positions, strict=True)]


class _Comparison:
    """One walk through both versions."""

    def __init__(self, base: _Side, version: _Side, tally: Tally, files: ExitStack) -> None:
        self._base, self._version, self._tally = base, version, tally
        self._windows = list(_windows(base.manifest, version.manifest))
        parts = min(len(self._windows), MAX_PARTS)
        self._removed, self._added = Spill(ROW, parts, files), Spill(ROW, parts, files)
        self._overwritten, self._changed = Spill(ROW, parts, files), Spill(PAIR, parts, files)

    def by_key(self) -> None:
        """Counts what is under its key as it was; the rest waits."""
        for first, last in self._windows:
            before, after = self._base.rows(first, last), self._version.rows(first, last)
            self._tally.count(before, after)
            for match in match_keys(before, after, self._base.keys, self._version.keys):
                pairs = paired(before[match.before], after[match.after])
                self._tally.same_key(pairs)
                same = (pairs["was"]["digest"] == pairs["now"]["digest"]).all(axis=1)
                self._tally.same_image(pairs[same])
                changed = pairs[~same]
                self._overwritten.add(changed["was"], changed["was"]["digest"])
                self._changed.add(changed, changed["now"]["digest"])
                removed, added = before[match.removed], after[match.added]
                self._removed.add(removed, removed["digest"])
                self._added.add(added, added["digest"])

    def by_image(self) -> None:
        """Counts what waited: a row that is gone may be one that is new, and overwritten rows may have changed places.

        Rows of the two kinds are not paired with each other, so that all records of the base are found in the version
        or removed, and all records of the version are found in the base or added.
        """
        for removed, added in zip(self._removed.parts(), self._added.parts(), strict=True):
            match = match_images(removed, added)
            self._tally.renamed(paired(removed[match.before], added[match.after]), new_keys=True)
            self._tally.removed(removed[match.removed])
            self._tally.added(added[match.added])
        for overwritten, changed in zip(self._overwritten.parts(), self._changed.parts(), strict=True):
            match = match_images(overwritten, changed["now"])
            self._tally.renamed(paired(overwritten[match.before], changed["now"][match.after]), new_keys=False)
            self._tally.changed(changed[match.added])


def _read_manifest(store: Store) -> tuple[Manifest, str]:
    where = f"{store.uri.rstrip('/')}/{MANIFEST}"
    try:
        data = store.read(MANIFEST)
    except MissingObject as error:
        raise UnusableData(f"{where} is not there: it is no version, or its conversion did not finish") from error
    return parse_manifest(data, where=where), hashlib.sha256(data).hexdigest()


def _windows(*manifests: Manifest) -> Iterator[tuple[int, int]]:
    """Yields the first and last hash of each window."""
    wanted = max(-(-manifest.records // WINDOW_RECORDS) for manifest in manifests)
    count = max([1, wanted, *(_most_shards(manifest) for manifest in manifests)])
    for number in range(count):
        # The smallest hash whose `shard_of` is `number`, so that windows and shards have their borders in common.
        yield -(-number * HASH_SPACE // count), -(-(number + 1) * HASH_SPACE // count) - 1


def _most_shards(manifest: Manifest) -> int:
    by_split: dict[str, int] = defaultdict(int)
    for entry in manifest.shards:
        by_split[entry.split] += 1
    return max(by_split.values(), default=0)
