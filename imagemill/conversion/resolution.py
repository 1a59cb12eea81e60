"""What one index row is: its label, its split, and what several rows of one key come to.

Planning and the conversion job both decide by these rules, so that they cannot decide differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from imagemill.index import format_row
from imagemill.labels import LabelMap
from imagemill.plan import ConversionSettings
from imagemill.records.sharding import key_hash, split_of
from imagemill.rows import UNASSIGNED, Reason, Rejected, Row

UNKNOWN = -1
"""Label id or split number of a row that has none."""


class PlacedRow(NamedTuple):
    """A good row with what follows from it alone. Sorting puts the rows of one key together, in a fixed order."""

    hashed: int
    filename: str
    label: str
    split: str
    group: str
    label_id: int
    split_number: int


class Resolved(NamedTuple):
    """What the rows of one key come to.

    Attributes:
        chosen: The row whose image is to become a record, or None.
        rejects: Rows set aside.
        duplicates: Rows identical to the chosen or rejected one.
    """

    chosen: PlacedRow | None
    rejects: tuple[Rejected, ...]
    duplicates: Sequence[PlacedRow]


class Placement:
    """Places rows by a plan's labels, splits and sample."""

    def __init__(self, *, labels: Sequence[str], settings: ConversionSettings, sample_below: int | None = None) -> None:
        self.labels = LabelMap(labels)
        self.splits = settings.splits
        self._fractions = settings.split_fractions
        self._numbers = {name: number for number, name in enumerate(self.splits)}
        self._sample_below = sample_below
        shares = [name for name, fraction in self._fractions.items() if fraction > 0]
        self._only = self._numbers[shares[0]] if len(shares) == 1 else None

    def place(self, row: Row) -> PlacedRow | None:
        """Returns the placed row, or None where it is outside the sample."""
        filename, label, split, group = row
        hashed = key_hash(filename)
        if self._sample_below is not None and hashed >= self._sample_below:
            return None
        label_id = self.labels.resolve(label)
        number = self._split_number(row) if split or self._only is None else self._only
        return PlacedRow(hashed, filename, label, split, group, UNKNOWN if label_id is None else label_id, number)

    @property
    def sampled(self) -> bool:
        """Tells whether only a part of the rows is placed."""
        return self._sample_below is not None

    def samples(self, rejected: Rejected) -> bool:
        """Tells whether a row that cannot be read as one is in the sample."""
        return self._sample_below is None or rejected_hash(rejected) < self._sample_below

    def split_name(self, number: int) -> str:
        """Returns the split a row is counted under."""
        return UNASSIGNED if number == UNKNOWN else self.splits[number]

    def label_name(self, label_id: int) -> str:
        """Returns the label a row is counted under."""
        return UNASSIGNED if label_id == UNKNOWN else self.labels.names[label_id]

    def resolve(self, rows: Sequence[PlacedRow]) -> Resolved:
        """Decides what the rows of one key, in sorted order, come to.

        Identical rows are one row and its duplicates. Rows that differ in class, split or group are all rejected:
        nobody knows which is right.
        """
        first, *others = rows
        if others and any(_identity(row) != _identity(first) for row in others):
            detail = f"{len(rows)} rows that differ name {first.filename!r}"
            return Resolved(None, tuple(self.reject(row, Reason.DUPLICATE_KEY, detail) for row in rows), ())
        if first.label_id == UNKNOWN:
            detail = f"label {first.label!r} is not one of the {len(self.labels.names)} known"
            return Resolved(None, (self.reject(first, Reason.UNKNOWN_LABEL, detail),), others)
        if first.split_number == UNKNOWN:
            return Resolved(None, (self.reject(first, Reason.UNKNOWN_SPLIT, self._split_fault(first)),), others)
        return Resolved(first, (), others)

    def reject(self, row: PlacedRow, reason: Reason, detail: str) -> Rejected:
        """Returns the reject of a row, counted where the row was."""
        return Rejected(
            key=row.filename,
            row=format_row(index_row(row)),
            reason=reason,
            detail=detail,
            split=self.split_name(row.split_number),
            label=self.label_name(row.label_id),
        )

    def _split_number(self, row: Row) -> int:
        if row.split:
            return self._numbers.get(row.split, UNKNOWN)
        if not self._fractions:
            return UNKNOWN
        return self._numbers[split_of(key=row.filename, group=row.group, fractions=self._fractions)]

    def _split_fault(self, row: PlacedRow) -> str:
        known = ", ".join(self.splits)
        if row.split:
            return f"split {row.split!r} is not one of: {known}"
        return f"the row names no split (one of: {known}) and the spec gives no fractions"


def index_row(row: PlacedRow) -> Row:
    """Returns the row as the index has it."""
    return Row(row.filename, row.label, row.split, row.group)


def rejected_hash(rejected: Rejected) -> int:
    """Returns what stands for the key hash of a row that may have no key: the hash of its text."""
    return key_hash(rejected.row.encode(errors="surrogateescape").decode("latin-1"))


def _identity(row: PlacedRow) -> tuple[int, str, str, str]:
    # An id and its name are the same label; unknown labels are the same where they are written the same.
    return row.label_id, row.label if row.label_id == UNKNOWN else "", row.split, row.group
