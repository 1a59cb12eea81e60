"""Where the input rows went, counted where it happens and added up at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from imagemill.manifest import Account
from imagemill.rows import Reason, Rejected

CONTENT_MODULUS = 1 << 128
"""Row digests are summed modulo this, so that neither order nor workers matter."""

Cell = tuple[str, str]
"""A split and a label."""


@dataclass(slots=True)
class Tally:
    """Counts of one part of a conversion, by split and label.

    Attributes:
        content: Sum of the digests of the rows that ended here, modulo `CONTENT_MODULUS`.
    """

    content: int = 0
    rows: Counter[Cell] = field(default_factory=Counter)
    records: Counter[Cell] = field(default_factory=Counter)
    rejected: Counter[Cell] = field(default_factory=Counter)
    duplicates: Counter[Cell] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)

    def add_content(self, digest: int) -> None:
        self.content = (self.content + digest) % CONTENT_MODULUS

    def add_reject(self, rejected: Rejected) -> None:
        self.rejected[rejected.split, rejected.label] += 1
        self.reasons[rejected.reason] += 1

    def accounts(self) -> list[Account]:
        """Returns one account for each split and label that anything was counted under, sorted."""
        cells = {*self.rows, *self.records, *self.rejected, *self.duplicates}
        return [
            Account(
                split=split,
                label=label,
                rows=self.rows[split, label],
                records=self.records[split, label],
                rejected=self.rejected[split, label],
                duplicates=self.duplicates[split, label],
            )
            for split, label in sorted(cells)
        ]


def add_tallies(parts: Iterable[Tally]) -> Tally:
    """Returns the counts of all parts together."""
    total = Tally()
    for part in parts:
        total.add_content(part.content)
        for name in ("rows", "records", "rejected", "duplicates", "reasons"):
            getattr(total, name).update(getattr(part, name))
    return total
