"""Counts what changed, window by window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagemill.diff.model import EXAMPLES_KEPT, PAIRS_KEPT, Change, Counts, Example, Pair, Stratum, VersionDiff
from imagemill.diff.windows import Rows


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
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._counts: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in Counts.model_fields}
        self._common = self._unchanged = 0
        self._relabelled: Counter[tuple[int, int]] = Counter()
        self._moved: Counter[tuple[int, int]] = Counter()
        self._examples: dict[Change, list[Example]] = {change: [] for change in Change}

    def count(self, before: Rows, after: Rows) -> None:
        """Takes all rows of a window."""
        self._counts["before"].update(_pairs(before.splits, before.labels))
        self._counts["after"].update(_pairs(after.splits, after.labels))

    def removed(self, rows: Rows) -> None:
        self._add(Change.REMOVED, rows)
        self._exemplify(Change.REMOVED, rows, None)

    def added(self, rows: Rows) -> None:
        self._add(Change.ADDED, rows)
        self._exemplify(Change.ADDED, None, rows)

    def pairs(self, before: Rows, after: Rows) -> None:
        """Takes rows of the same keys, in the same order."""
        differs = {
            Change.CHANGED: (before.digests != after.digests).any(axis=1),
            Change.RELABELLED: before.labels != after.labels,
            Change.MOVED: before.splits != after.splits,
        }
        self._common += len(before)
        self._unchanged += int(np.count_nonzero(~np.logical_or.reduce(list(differs.values()))))
        for change, mask in differs.items():
            where = np.flatnonzero(mask)
            if len(where):
                was, now = before.take(where), after.take(where)
                self._add(change, now)
                self._exemplify(change, was, now)
                if change is Change.RELABELLED:
                    self._relabelled.update(_pairs(was.labels, now.labels))
                elif change is Change.MOVED:
                    self._moved.update(_pairs(was.splits, now.splits))

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

    def _add(self, change: Change, rows: Rows) -> None:
        self._counts[change.value].update(_pairs(rows.splits, rows.labels))

    def _exemplify(self, change: Change, before: Rows | None, after: Rows | None) -> None:
        """Keeps the first few: windows come in the order of hashes, so that they are a fair sample."""
        found, rows = self._examples[change], after if before is None else before
        if rows is None:
            return
        for row in range(min(len(rows), EXAMPLES_KEPT - len(found))):
            was = self._names_of(before, row) if before is not None else ("", "")
            now = self._names_of(after, row) if after is not None else ("", "")
            key = rows.key(row)
            found.append(Example(key=key, split_before=was[0], label_before=was[1], split=now[0], label=now[1]))

    def _names_of(self, rows: Rows, row: int) -> tuple[str, str]:
        return self._names.splits[rows.splits[row]], self._names.labels[rows.labels[row]]


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    found, counts = np.unique(np.stack([first, second]), axis=1, return_counts=True)
    return {(int(one), int(two)): int(count) for (one, two), count in zip(found.T, counts, strict=True)}


def _largest(pairs: Counter[tuple[int, int]], names: Sequence[str]) -> tuple[Pair, ...]:
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Pair(before=names[before], after=names[after], records=count) for (before, after), count in ranked[:PAIRS_KEPT]
    )
