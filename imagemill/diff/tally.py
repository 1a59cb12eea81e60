"""Counts what changed, window by window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagemill.diff.matching import Keys
from imagemill.diff.model import EXAMPLES_KEPT, PAIRS_KEPT, Change, Counts, Example, Pair, Stratum, VersionDiff
from imagemill.diff.windows import ROW, Rows

PAIR = np.dtype([("was", ROW), ("now", ROW)])
"""A row of the base and the row of the version that it has become."""

Pairs = NDArray[Any]
"""An array of `PAIR`."""


def paired(was: Rows, now: Rows) -> Pairs:
    """Returns pairs of rows that are in the same order."""
    pairs = np.empty(len(now), PAIR)
    pairs["was"], pairs["now"] = was, now
    return pairs


class Names:
    """Splits and labels of both versions; their positions are their numbers.

    Attributes:
        splits: The splits.
        labels: The labels; an id that a damaged version has no label for is added when it is met.

    Args:
        splits: All of both versions.
        labels: Likewise.
    """

    def __init__(self, splits: Iterable[str], labels: Iterable[str]) -> None:
        self.splits, self.labels = list(splits), list(labels)
        self._numbers = {name: number for number, name in enumerate(self.labels)}

    def label_number(self, names: Sequence[str], label: int) -> int:
        """Returns the number of a version's label id; `names` are that version's labels."""
        name = names[label] if 0 <= label < len(names) else f"(id {label})"
        if name not in self._numbers:
            self._numbers[name] = len(self.labels)
            self.labels.append(name)
        return self._numbers[name]


class Tally:
    """What changed so far.

    Args:
        names: The numbers in rows.
        keys_before: Tells the keys of rows of the base.
        keys_after: Tells the keys of rows of the version.
    """

    def __init__(self, names: Names, *, keys_before: Keys, keys_after: Keys) -> None:
        self._names = names
        self._keys_before, self._keys_after = keys_before, keys_after
        self._counts: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in Counts.model_fields}
        self._common = self._unchanged = 0
        self._relabelled: Counter[tuple[int, int]] = Counter()
        self._moved: Counter[tuple[int, int]] = Counter()
        self._examples: dict[Change, list[Example]] = {change: [] for change in Change}

    def count(self, before: Rows, after: Rows) -> None:
        """Takes all rows of a window."""
        self._counts["before"].update(_strata(before))
        self._counts["after"].update(_strata(after))

    def same_key(self, pairs: Pairs) -> None:
        """Takes all pairs of one key."""
        was, now = pairs["was"], pairs["now"]
        self._common += len(pairs)
        same = (was["split"] == now["split"]) & (was["label"] == now["label"])
        self._unchanged += int(np.count_nonzero(same & (was["digest"] == now["digest"]).all(axis=1)))
        moved = pairs[was["split"] != now["split"]]
        self._moved.update(_counted(moved["was"]["split"], moved["now"]["split"]))
        self._add(Change.MOVED, moved["was"], moved["now"])

    def same_image(self, pairs: Pairs) -> None:
        """Takes pairs of one key whose image is as it was."""
        self._relabel(pairs)

    def renamed(self, pairs: Pairs, *, new_keys: bool) -> None:
        """Takes pairs that are one image under two keys.

        Args:
            pairs: The pairs.
            new_keys: Their keys have not been taken yet: they are gone in the version, or new in it.
        """
        self._common += len(pairs) if new_keys else 0
        self._add(Change.RENAMED, pairs["was"], pairs["now"])
        self._relabel(pairs)

    def changed(self, pairs: Pairs) -> None:
        """Takes pairs of one key whose image is new."""
        self._add(Change.CHANGED, pairs["was"], pairs["now"])
        self._relabel(pairs)

    def removed(self, rows: Rows) -> None:
        self._add(Change.REMOVED, rows, None)

    def added(self, rows: Rows) -> None:
        self._add(Change.ADDED, None, rows)

    def result(self, **about: Any) -> VersionDiff:
        """Returns the diff; `about` names the versions."""
        splits, labels = self._names.splits, self._names.labels
        strata = [
            Stratum.model_validate(
                {name: counts[split, label] for name, counts in self._counts.items()}
                | {"split": splits[split], "label": labels[label]}
            )
            for split, label in sorted({stratum for counts in self._counts.values() for stratum in counts})
        ]
        return VersionDiff(
            **about,
            total=Counts.model_validate({name: counts.total() for name, counts in self._counts.items()}),
            common=self._common,
            unchanged=self._unchanged,
            strata=tuple(strata),
            relabelled=_largest(self._relabelled, labels),
            moved=_largest(self._moved, splits),
            examples={change: tuple(found) for change, found in self._examples.items() if found},
        )

    def _relabel(self, pairs: Pairs) -> None:
        other = pairs[pairs["was"]["label"] != pairs["now"]["label"]]
        self._relabelled.update(_counted(other["was"]["label"], other["now"]["label"]))
        self._add(Change.RELABELLED, other["was"], other["now"])

    def _add(self, change: Change, was: Rows | None, now: Rows | None) -> None:
        """Counts rows, and keeps the first few: they come in the order of hashes, so that they are a fair sample."""
        rows = was if now is None else now
        if rows is None or not len(rows):
            return
        self._counts[change.value].update(_strata(rows))
        found = self._examples[change]
        wanted = min(len(rows), EXAMPLES_KEPT - len(found))
        before = self._tell(was[:wanted], self._keys_before) if was is not None else [_NOWHERE] * wanted
        after = self._tell(now[:wanted], self._keys_after) if now is not None else [_NOWHERE] * wanted
        for one, two in zip(before, after, strict=True):
            found.append(
                Example(
                    key=two.key or one.key,
                    key_before=one.key if two.key and two.key != one.key else "",
                    split_before=one.split,
                    label_before=one.label,
                    split=two.split,
                    label=two.label,
                )
            )

    def _tell(self, rows: Rows, keys: Keys) -> list[_Told]:
        return [
            _Told(key, self._names.splits[split], self._names.labels[label])
            for key, split, label in zip(keys(rows), rows["split"].tolist(), rows["label"].tolist(), strict=True)
        ]


class _Told(NamedTuple):
    """A row as an example tells it."""

    key: str
    split: str
    label: str


_NOWHERE = _Told("", "", "")


def _strata(rows: Rows) -> dict[tuple[int, int], int]:
    return _counted(rows["split"], rows["label"])


def _counted(first: NDArray[np.int32], second: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    found, counts = np.unique(np.stack([first, second]), axis=1, return_counts=True)
    return {(int(one), int(two)): int(count) for (one, two), count in zip(found.T, counts, strict=True)}


def _largest(pairs: Counter[tuple[int, int]], names: Sequence[str]) -> tuple[Pair, ...]:
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Pair(before=names[before], after=names[after], records=count) for (before, after), count in ranked[:PAIRS_KEPT]
    )
