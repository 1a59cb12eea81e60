"""Finds which row of one version is which row of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagemill.diff.windows import Rows

Keys = Callable[[Rows], list[str]]
"""Tells the keys of rows."""


class Match(NamedTuple):
    """Positions of rows: pairs, and rows that only one side has."""

    before: Sequence[int] | NDArray[np.intp]
    after: Sequence[int] | NDArray[np.intp]
    removed: Sequence[int] | NDArray[np.intp]
    added: Sequence[int] | NDArray[np.intp]


def match_keys(before: Rows, after: Rows, keys_before: Keys, keys_after: Keys) -> Iterator[Match]:
    """Yields the pairs of one key, and the rows whose key the other side does not have."""
    clashing = np.union1d(_repeated(before["hash"]), _repeated(after["hash"]))
    single_before, single_after = ~np.isin(before["hash"], clashing), ~np.isin(after["hash"], clashing)
    _, at_before, at_after = np.intersect1d(
        before["hash"][single_before], after["hash"][single_after], assume_unique=True, return_indices=True
    )
    left, right = np.flatnonzero(single_before)[at_before], np.flatnonzero(single_after)[at_after]
    # One hash may stand for two keys: rare by chance, but nothing that counts should hang on chance.
    pairs = zip(keys_before(before[left]), keys_after(after[right]), strict=True)
    same = np.fromiter((one == two for one, two in pairs), bool, len(left))
    single_before[left], single_after[right] = False, False
    yield Match(left[same], right[same], np.flatnonzero(single_before), np.flatnonzero(single_after))
    rest_before = [*np.flatnonzero(np.isin(before["hash"], clashing)).tolist(), *left[~same].tolist()]
    rest_after = [*np.flatnonzero(np.isin(after["hash"], clashing)).tolist(), *right[~same].tolist()]
    if rest_before or rest_after:
        yield _match_few(rest_before, rest_after, keys_before(before[rest_before]), keys_after(after[rest_after]))


def match_images(before: Rows, after: Rows) -> Match:
    """Returns the pairs of one image, and the rows whose image the other side does not have.

    Of images that a version has several times, those with the same label are paired first: as few as possible have
    another label.
    """
    alone_before, alone_after = np.ones(len(before), bool), np.ones(len(after), bool)
    lefts, rights = [], []
    for what in (("digest", "label"), ("digest",)):
        rest_before, rest_after = np.flatnonzero(alone_before), np.flatnonzero(alone_after)
        one, two = _mates(_columns(before[rest_before], what), _columns(after[rest_after], what))
        lefts.append(rest_before[one])
        rights.append(rest_after[two])
        alone_before[lefts[-1]], alone_after[rights[-1]] = False, False
    return Match(
        np.concatenate(lefts), np.concatenate(rights), np.flatnonzero(alone_before), np.flatnonzero(alone_after)
    )


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    found, counts = np.unique(hashes, return_counts=True)
    return found[counts > 1]


def _match_few(left: list[int], right: list[int], keys_left: list[str], keys_right: list[str]) -> Match:
    """Matches rows whose hash does not tell their key; a key that a damaged version has twice is paired in order."""
    waiting = defaultdict(list)
    for row, key in zip(left, keys_left, strict=True):
        waiting[key].append(row)
    pairs, added = [], []
    for row, key in zip(right, keys_right, strict=True):
        rows = waiting[key]
        if rows:
            pairs.append((rows.pop(0), row))
        else:
            added.append(row)
    removed = [row for rows in waiting.values() for row in rows]
    return Match([one for one, _ in pairs], [two for _, two in pairs], removed, added)


def _columns(rows: Rows, names: Sequence[str]) -> NDArray[np.uint64]:
    return np.column_stack([rows[name].astype(np.uint64) for name in names])


def _mates(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns positions of equal rows of two tables; the n-th of a value on one side is paired with its n-th there."""
    both = np.concatenate([left, right])
    order = np.lexsort(both.T)  # stable: of each value, the left ones come first
    placed, of_left = both[order], order < len(left)
    begins = np.ones(len(both), bool)
    begins[1:] = (placed[1:] != placed[:-1]).any(axis=1)
    value = np.cumsum(begins)
    begins[1:] |= of_left[1:] != of_left[:-1]
    numbers = np.arange(len(both))
    rank = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    _, one, two = np.intersect1d(
        value[of_left] * len(both) + rank[of_left],
        value[~of_left] * len(both) + rank[~of_left],
        assume_unique=True,
        return_indices=True,
    )
    return order[of_left][one], order[~of_left][two] - len(left)
