"""Plain values that cross stage boundaries: index rows and the rows set aside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

UNASSIGNED = "(unassigned)"
"""Split or label under which a row is counted that never got one. No spec can name a split or label so."""


class Reason(StrEnum):
    """Why a row did not become a record."""

    BAD_ROW = "bad_row"
    UNSAFE_NAME = "unsafe_name"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_LABEL = "unknown_label"
    UNKNOWN_SPLIT = "unknown_split"
    MISSING = "missing"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_AN_IMAGE = "not_an_image"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"


class Row(NamedTuple):
    """One good index row.

    Attributes:
        filename: Image name relative to the images root; also the record's key.
        label: Label as written, a name or a decimal id.
        split: Split the index asks for, or "" where the spec's fractions decide.
        group: What must stay in one split, or "".
    """

    filename: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One input row that did not become a record.

    Attributes:
        key: The row's filename, or "" where the row has none.
        row: The row as index text, without the line end; rejects can be replayed as an index.
        reason: Why.
        detail: What was seen, for a person.
        split: Split it is counted under (`UNASSIGNED` where it never got one).
        label: Label it is counted under (`UNASSIGNED` where it never got one).
    """

    key: str
    row: str
    reason: Reason
    detail: str
    split: str = UNASSIGNED
    label: str = UNASSIGNED
