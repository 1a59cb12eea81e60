"""Compares two versions by their shard indexes: no image is read, and memory does not grow with the versions.

Shards hold ranges of key hashes, whatever their number. So both versions are walked through the same windows of hashes;
a window's rows of all splits are joined, counted and forgotten.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagemill.diff.model import VersionDiff
from imagemill.diff.tally import Names, Tally
from imagemill.diff.windows import Rows, SplitShards
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
        splits=sorted({*base.splits, *version.splits}),
        labels=list(dict.fromkeys([*version.manifest.labels, *base.manifest.labels])),
    )
    tally = Tally(names)
    for first, last in _windows(base.manifest, version.manifest):
        _join(base.rows(first, last, names), version.rows(first, last, names), tally)
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
        store = open_store(uri)
        self.name = store.uri.rstrip("/").rpartition("/")[2]
        self.manifest, self.manifest_sha256 = _read_manifest(store)
        by_split = defaultdict(list)
        for entry in self.manifest.shards:
            by_split[entry.split].append(entry)
        self.splits = {split: SplitShards(store, split, entries) for split, entries in sorted(by_split.items())}

    def rows(self, first: int, last: int, names: Names) -> Rows:
        number_of = partial(names.label_number, self.manifest.labels)
        parts = [
            part
            for split, shards in self.splits.items()
            for part in shards.rows(first, last, split=names.splits.index(split), number_of=number_of)
        ]
        return Rows.together(parts)


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


class _Match(NamedTuple):
    """Positions of rows: pairs of one key, and rows that only one side has."""

    before: Sequence[int] | NDArray[np.intp]
    after: Sequence[int] | NDArray[np.intp]
    removed: Sequence[int] | NDArray[np.intp]
    added: Sequence[int] | NDArray[np.intp]


def _join(before: Rows, after: Rows, tally: Tally) -> None:
    tally.count(before, after)
    for match in _matches(before, after):
        tally.pairs(before.take(match.before), after.take(match.after))
        tally.removed(before.take(match.removed))
        tally.added(after.take(match.added))


def _matches(before: Rows, after: Rows) -> Iterator[_Match]:
    clashing = np.union1d(_repeated(before.hashes), _repeated(after.hashes))
    single_before, single_after = ~np.isin(before.hashes, clashing), ~np.isin(after.hashes, clashing)
    _, at_before, at_after = np.intersect1d(
        before.hashes[single_before], after.hashes[single_after], assume_unique=True, return_indices=True
    )
    left, right = np.flatnonzero(single_before)[at_before], np.flatnonzero(single_after)[at_after]
    # One hash may stand for two keys: rare by chance, but nothing that counts should hang on chance.
    same = np.fromiter(
        (before.key(one) == after.key(two) for one, two in zip(left.tolist(), right.tolist(), strict=True)),
        bool,
        len(left),
    )
    single_before[left], single_after[right] = False, False
    yield _Match(left[same], right[same], np.flatnonzero(single_before), np.flatnonzero(single_after))
    rest_before = [*np.flatnonzero(np.isin(before.hashes, clashing)).tolist(), *left[~same].tolist()]
    rest_after = [*np.flatnonzero(np.isin(after.hashes, clashing)).tolist(), *right[~same].tolist()]
    if rest_before or rest_after:
        yield _match_by_key(before, after, rest_before, rest_after)


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    found, counts = np.unique(hashes, return_counts=True)
    return found[counts > 1]


def _match_by_key(before: Rows, after: Rows, left: list[int], right: list[int]) -> _Match:
    """Matches rows whose hash does not tell their key; a key that a damaged version has twice is paired in order."""
    waiting = defaultdict(list)
    for row in left:
        waiting[before.key(row)].append(row)
    pairs, added = [], []
    for row in right:
        rows = waiting[after.key(row)]
        if rows:
            pairs.append((rows.pop(0), row))
        else:
            added.append(row)
    removed = [row for rows in waiting.values() for row in rows]
    return _Match([one for one, _ in pairs], [two for _, two in pairs], removed, added)
