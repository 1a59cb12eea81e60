"""What is known of a whole version: sizes, formats, and images that several records share.

Facts of parts add up to the facts of the whole, so that no worker ever sees the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

FACTS = "facts.json"

MAX_EXAMPLES = 20
"""Groups of identical images that are spelled out; the counts cover all."""

MAX_RECORDS_PER_EXAMPLE = 5

Key = TypeVar("Key", str, int)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Extent(_Frozen):
    """Smallest, largest and sum of one measure; all zero where nothing was measured."""

    min: int = 0
    max: int = 0
    sum: int = 0

    @classmethod
    def of(cls, values: Iterable[int]) -> Self:
        measured = list(values)
        return cls(min=min(measured), max=max(measured), sum=sum(measured)) if measured else cls()


class ImageStatistics(_Frozen):
    """Measures of the images that became records."""

    records: int = 0
    bytes: Extent = Extent()
    height: Extent = Extent()
    width: Extent = Extent()
    formats: dict[str, int] = Field(default_factory=dict, description="records by image format")
    channels: dict[int, int] = Field(default_factory=dict, description="records by number of channels")
    orientations: dict[int, int] = Field(
        default_factory=dict, description="records by EXIF orientation, of those that are not upright (JPEG only)"
    )


class SharedRecord(_Frozen):
    """One of the records that hold the same bytes."""

    key: str
    split: str
    label: str


class Shared(_Frozen):
    """One image that several records hold: its digest and some of the records."""

    sha256: str
    records: list[SharedRecord]


class Sharing(_Frozen):
    """Groups of records that hold the same bytes."""

    groups: int = 0
    records: int = Field(0, description="records in all those groups")
    examples: list[Shared] = Field(default_factory=list, description="by digest, the first few")


class SharingFacts(_Frozen):
    """The same bytes under several keys, with several labels, in several splits."""

    identical: Sharing = Sharing()
    label_conflicts: Sharing = Sharing()
    split_leaks: Sharing = Sharing()


class Facts(_Frozen):
    """The aggregates of a version, as `facts.json` has them."""

    labels: dict[str, dict[str, int]] = Field(description="records by split, then label")
    images: ImageStatistics
    sharing: SharingFacts


class RecordDigest(NamedTuple):
    """What the search for identical images needs of a record; sorts by digest, then key."""

    sha256: bytes
    key: str
    split: str
    label: str


def add_statistics(parts: Iterable[ImageStatistics]) -> ImageStatistics:
    """Returns the statistics of all parts together."""
    measured = [part for part in parts if part.records]
    return ImageStatistics(
        records=sum(part.records for part in measured),
        bytes=_add_extents([part.bytes for part in measured]),
        height=_add_extents([part.height for part in measured]),
        width=_add_extents([part.width for part in measured]),
        formats=_add_counts(part.formats for part in measured),
        channels=_add_counts(part.channels for part in measured),
        orientations=_add_counts(part.orientations for part in measured),
    )


def find_sharing(records: Iterable[RecordDigest]) -> SharingFacts:
    """Returns which records hold the same bytes. All records of one digest must be among these."""
    groups = [list(group) for _, group in groupby(sorted(records), key=lambda record: record.sha256)]
    shared = [group for group in groups if len(group) > 1]
    return SharingFacts(
        identical=_sharing(shared),
        label_conflicts=_sharing(group for group in shared if len({record.label for record in group}) > 1),
        split_leaks=_sharing(group for group in shared if len({record.split for record in group}) > 1),
    )


def add_sharing(parts: Iterable[SharingFacts]) -> SharingFacts:
    """Returns the facts of parts that have no digest in common, together."""
    every = list(parts)
    return SharingFacts(
        identical=_add_sharing([part.identical for part in every]),
        label_conflicts=_add_sharing([part.label_conflicts for part in every]),
        split_leaks=_add_sharing([part.split_leaks for part in every]),
    )


def _sharing(groups: Iterable[list[RecordDigest]]) -> Sharing:
    count, records, examples = 0, 0, list[Shared]()
    for group in groups:
        count += 1
        records += len(group)
        if len(examples) < MAX_EXAMPLES:
            examples.append(Shared(sha256=group[0].sha256.hex(), records=list(_some(group))))
    return Sharing(groups=count, records=records, examples=examples)


def _some(group: list[RecordDigest]) -> Iterator[SharedRecord]:
    """Picks records that show the difference: the first of each split and label, then the rest in order."""
    first = {(record.split, record.label): record for record in reversed(group)}
    chosen = sorted(first.values())[:MAX_RECORDS_PER_EXAMPLE]
    rest = [record for record in group if record not in chosen]
    for record in sorted([*chosen, *rest[: MAX_RECORDS_PER_EXAMPLE - len(chosen)]]):
        yield SharedRecord(key=record.key, split=record.split, label=record.label)


def _add_sharing(parts: list[Sharing]) -> Sharing:
    examples = sorted((example for part in parts for example in part.examples), key=lambda example: example.sha256)
    return Sharing(
        groups=sum(part.groups for part in parts),
        records=sum(part.records for part in parts),
        examples=examples[:MAX_EXAMPLES],
    )


def _add_extents(parts: list[Extent]) -> Extent:
    if not parts:
        return Extent()
    return Extent(
        min=min(part.min for part in parts), max=max(part.max for part in parts), sum=sum(part.sum for part in parts)
    )


def _add_counts(parts: Iterable[dict[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))
