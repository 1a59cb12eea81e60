"""What makes a record of an image, and what writes a shard of records. No Beam: both are plain functions.

docs/records.md has an example.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Self

import google_crc32c

from imagemill.accounting import CONTENT_MODULUS
from imagemill.images import UPRIGHT, ImageFacts, RefusedImage, probe, verify_decode
from imagemill.index import format_row
from imagemill.manifest import FileEntry, ShardEntry
from imagemill.plan import ConversionSettings
from imagemill.records.digest import row_digest
from imagemill.records.example import encode_image_example
from imagemill.records.shard_index import IndexEntry, ShardIndex, ShardIndexBuilder
from imagemill.records.shard_stream import ShardStream
from imagemill.records.sharding import index_name, key_hash, shard_name
from imagemill.records.tfrecord import frame
from imagemill.records.window import DEFAULT_WINDOW, Outcome, ReadWindow, read_ahead
from imagemill.rows import Reason, Rejected, Row
from imagemill.storage.store import ObjectTooLarge, Store
from imagemill.version.facts import Extent, ImageStatistics


class Reference(NamedTuple):
    """An image and its class, before anybody has looked at the image.

    Attributes:
        row: The index row; its filename is the record's key.
        label_id: Class id.
        label_text: Class name.
        hashed: `key_hash` of the key, where it is known already.
    """

    row: Row
    label_id: int
    label_text: str
    hashed: int | None = None


class Record(NamedTuple):
    """One image as it stands in a shard.

    Attributes:
        example: Serialized tf.train.Example.
        facts: What the image's header says.
        sha256: Digest of the image.
    """

    example: bytes
    facts: ImageFacts
    sha256: bytes


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """The objects that a shard becomes.

    Attributes:
        split: Split of all its records.
        data: Name of the TFRecord file.
        index: Name of its index.
    """

    split: str
    data: str
    index: str

    @classmethod
    def named(cls, *, dataset: str, split: str, shard: int, shards: int, compression: str = "") -> Self:
        """Returns the usual names."""
        return cls(
            split=split,
            data=shard_name(dataset=dataset, split=split, shard=shard, shards=shards, compression=compression),
            index=index_name(dataset=dataset, split=split, shard=shard, shards=shards),
        )


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What writing a shard came to.

    Attributes:
        entry: The shard in the manifest's words.
        rejects: Rows that did not become records, in record order.
        content: Sum of the digests of all rows, modulo 2**128.
        images: Measures of the images that became records.
        index: The index as it was written: keys, labels and digests of all records.
    """

    entry: ShardEntry
    rejects: tuple[Rejected, ...]
    content: int
    images: ImageStatistics
    index: ShardIndex


def record_order(reference: Reference) -> tuple[int, str]:
    """Returns what the records of a shard are sorted by: the hash of the key, then the key."""
    key = reference.row.filename
    return key_hash(key) if reference.hashed is None else reference.hashed, key


def make_record(reference: Reference, data: bytes, *, settings: ConversionSettings) -> Record:
    """Returns the record of one image; its bytes are stored as they are.

    Raises:
        RefusedImage: The bytes are no image that the settings allow and TensorFlow decodes.
    """
    facts = probe(data, formats=settings.formats, max_pixels=settings.max_image_pixels)
    if settings.verification == "decode":
        verify_decode(data, facts)
    digest = sha256(data).digest()
    example = encode_image_example(
        data,
        facts,
        filename=reference.row.filename,
        sha256=digest.hex(),
        label=reference.label_id,
        label_text=reference.label_text,
    )
    return Record(example, facts, digest)


def write_shard(
    references: Iterable[Reference],
    files: ShardFiles,
    *,
    images: Store,
    output: Store,
    settings: ConversionSettings,
    window: ReadWindow = DEFAULT_WINDOW,
) -> ShardReport:
    """Writes one shard and its index; writing it again writes the same bytes.

    Memory is bounded by the window and the index, whatever the images. The shard appears whole or not at all, and
    before its index. What is wrong with a row or its image is in the report; any other fault is raised.

    Args:
        references: The shard's rows, sorted by `record_order`.
        files: What the shard's objects are called.
        images: Root of the images.
        output: Folder that the shard is written to.
        settings: What decides the bytes.
        window: How far to read ahead.

    Raises:
        ValueError: The references are out of order, or two have one key.
    """
    shard = _Shard(files, settings)
    with output.writer(files.data) as target:
        stream = ShardStream(target, compression=settings.compression)
        outcomes = read_ahead(
            references, key=_filename, store=images, window=window, max_bytes=settings.max_image_bytes
        )
        with closing(outcomes):
            for reference, outcome in outcomes:
                shard.take(reference, outcome, stream)
                del outcome  # a large one would stay while the next is read
        stream.finish()
    index = shard.index.to_bytes()
    output.write(files.index, index)
    return shard.report(index, bytes_written=stream.bytes_written, crc32c=stream.crc32c)


def _filename(reference: Reference) -> str:
    return reference.row.filename


@dataclass(slots=True)
class _Shard:
    """A shard on its way: what the report will say."""

    files: ShardFiles
    settings: ConversionSettings
    index: ShardIndexBuilder = field(default_factory=ShardIndexBuilder)
    content: int = 0
    rejects: list[Rejected] = field(default_factory=list)
    labels: Counter[int] = field(default_factory=Counter)
    facts: Counter[ImageFacts] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    last: tuple[int, str] = (-1, "")

    def take(self, reference: Reference, outcome: Outcome, stream: ShardStream) -> None:
        """Turns one row into a record or a reject."""
        place = record_order(reference)
        if place <= self.last:
            raise ValueError(f"{place[1]!r} does not come after {self.last[1]!r}: sort by `record_order`, keys once")
        self.last = place
        if not isinstance(outcome, bytes):
            self._reject_unread(reference, outcome)
            return
        crc32c = google_crc32c.value(outcome)
        self.content += row_digest(reference.row, size=len(outcome), crc32c=crc32c)
        try:
            record = make_record(reference, outcome, settings=self.settings)
        except RefusedImage as refused:
            self._reject(reference, refused.reason, refused.detail)
            return
        framed, facts, digest = frame(record.example), record.facts, record.sha256
        del record  # of a large image every copy counts
        entry = IndexEntry(place[1], reference.label_id, stream.offset, len(framed), crc32c, digest)
        self.index.add(entry, hashed=place[0])
        stream.write(framed)
        self.labels[reference.label_id] += 1
        self.facts[facts] += 1
        self.sizes[len(outcome)] += 1

    def _reject_unread(self, reference: Reference, outcome: Exception) -> None:
        if isinstance(outcome, ObjectTooLarge):
            self.content += row_digest(reference.row, size=outcome.size)
            detail = f"{outcome.size} bytes; the limit is {self.settings.max_image_bytes}"
            self._reject(reference, Reason.TOO_LARGE, detail)
        else:
            self.content += row_digest(reference.row)
            self._reject(reference, Reason.MISSING, "no such object")

    def _reject(self, reference: Reference, reason: Reason, detail: str) -> None:
        self.rejects.append(
            Rejected(
                key=reference.row.filename,
                row=format_row(reference.row),
                reason=reason,
                detail=detail,
                split=self.files.split,
                label=reference.label_text,
            )
        )

    def report(self, index: bytes, *, bytes_written: int, crc32c: int) -> ShardReport:
        entry = ShardEntry(
            name=self.files.data,
            bytes=bytes_written,
            crc32c=f"{crc32c:08x}",
            split=self.files.split,
            records=self.labels.total(),
            labels=dict(sorted(self.labels.items())),
            index=FileEntry(name=self.files.index, bytes=len(index), crc32c=f"{google_crc32c.value(index):08x}"),
        )
        return ShardReport(
            entry=entry,
            rejects=tuple(self.rejects),
            content=self.content % CONTENT_MODULUS,
            images=_statistics(self.facts, self.sizes),
            index=ShardIndex(index, where=self.files.index),
        )


def _statistics(facts: Counter[ImageFacts], sizes: Counter[int]) -> ImageStatistics:
    formats: Counter[str] = Counter()
    channels: Counter[int] = Counter()
    orientations: Counter[int] = Counter()
    heights: Counter[int] = Counter()
    widths: Counter[int] = Counter()
    for found, records in facts.items():
        formats[found.format] += records
        channels[found.channels] += records
        if found.orientation != UPRIGHT:
            orientations[found.orientation] += records
        heights[found.height] += records
        widths[found.width] += records
    return ImageStatistics(
        records=facts.total(),
        bytes=_extent(sizes),
        height=_extent(heights),
        width=_extent(widths),
        formats=dict(sorted(formats.items())),
        channels=dict(sorted(channels.items())),
        orientations=dict(sorted(orientations.items())),
    )


def _extent(records: Counter[int]) -> Extent:
    if not records:
        return Extent()
    return Extent(min=min(records), max=max(records), sum=sum(value * count for value, count in records.items()))
