"""The steps of a conversion between the index and the shards, on packed batches of rows; a runner moves the batches.

Rows of one key meet in one bucket, a range of key hashes; shards are ranges of key hashes too, so that batches in the
order of their buckets are in the order of a shard's records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import google_crc32c

from imagemill.conversion.accounting import Tally
from imagemill.conversion.blocks import Block, read_lines
from imagemill.conversion.digest_batches import KeyDigest, pack_digests
from imagemill.conversion.resolution import UNKNOWN, PlacedRow, Placement, index_row, rejected_hash
from imagemill.conversion.row_batches import first_hash, pack_rows, unpack_rows
from imagemill.errors import UnusableData
from imagemill.index import parse_row
from imagemill.manifest import FileEntry, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.records.digest import row_digest
from imagemill.records.shard_writer import Reference, ShardFiles, write_shard
from imagemill.records.sharding import shard_of
from imagemill.rows import Rejected
from imagemill.storage import open_store, split
from imagemill.storage.store import Store
from imagemill.version.facts import ImageStatistics
from imagemill.version.files import REJECTS, reject_line

ROWS_PER_BUCKET = 100_000
"""Rows that one worker holds at once, about 50 MB of them."""

HELD_BYTES = 64 << 20
"""Reject lines that one worker holds at once, beyond a single range of them."""

Batches = dict[int, bytes]
"""Packed rows, lines or digests by the number of the bucket or shard they go to."""


@dataclass(slots=True)
class RejectLines:
    """Rejects as lines of `rejects.jsonl`, by the range of hashes they are sorted in.

    The file is in the order of the hashes, whatever the number of ranges; until it is, each line begins with its own.
    """

    ranges: int
    _lines: defaultdict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rejected: Rejected) -> None:
        hashed = rejected_hash(rejected)
        self._lines[shard_of(hashed, self.ranges)].append(b"%016x" % hashed + reject_line(rejected))

    def batches(self) -> Batches:
        return {number: b"".join(lines) for number, lines in self._lines.items()}


class Step(NamedTuple):
    """What one step makes of one batch.

    Attributes:
        rows: Packed rows by bucket or shard number.
        rejects: Lines of `rejects.jsonl` by range.
        tally: What was counted on the way.
    """

    rows: Batches
    rejects: Batches
    tally: Tally


class WrittenShard(NamedTuple):
    """What writing one shard came to.

    Attributes:
        entry: The shard in the manifest's words.
        images: Measures of its images.
        digests: Packed digests of its images, by range.
        rejects: Lines of `rejects.jsonl` by range.
        tally: What was counted on the way.
    """

    entry: ShardEntry
    images: ImageStatistics
    digests: Batches
    rejects: Batches
    tally: Tally


class ShardPlace(NamedTuple):
    """Shard `shard` of the `shards` of a split."""

    split: str
    shard: int
    shards: int


class Layout:
    """How a plan's rows spread over buckets, ranges and shards. Shards of all splits are numbered in one row."""

    def __init__(self, plan: ConversionPlan) -> None:
        self.buckets = max(1, -(-plan.rows // ROWS_PER_BUCKET))
        self._plan = plan
        self.shards = [
            ShardPlace(split.name, shard, split.shards) for split in plan.splits for shard in range(split.shards)
        ]
        numbers = {name: number for number, name in enumerate(plan.settings.splits)}
        self._first: dict[int, tuple[int, int]] = {}
        for number, place in enumerate(self.shards):
            self._first.setdefault(numbers[place.split], (number, place.shards))

    def bucket(self, hashed: int) -> int:
        return shard_of(hashed, self.buckets)

    def shard(self, row: PlacedRow) -> int:
        """Returns the number of the shard a row's record belongs to.

        Raises:
            UnusableData: The plan knows of no row in the row's split: the index has changed since.
        """
        if row.split_number not in self._first:
            raise UnusableData(
                f"{self._plan.index} changed between planning and conversion: {row.filename!r} is in a split that was "
                "empty; run the refresh again"
            )
        first, shards = self._first[row.split_number]
        return first + shard_of(row.hashed, shards)


class Conversion:
    """The steps over one plan, with what they share. Each is a plain call on packed batches.

    Args:
        plan: The conversion.
        version_uri: Folder of the version.
    """

    def __init__(self, plan: ConversionPlan, version_uri: str) -> None:
        self._plan = plan
        self._layout = Layout(plan)
        self._placement = Placement(labels=plan.labels, settings=plan.settings, sample_below=plan.sample_below)
        folder, self._index_name = split(plan.index)
        self._index, self._images, self._version = open_store(folder), open_store(plan.images), open_store(version_uri)

    def read(self, block: Block) -> Step:
        """Reads one block of the index; see `read_rows`."""
        lines = read_lines(self._index, self._index_name, block)
        return read_rows(lines, placement=self._placement, layout=self._layout)

    def resolve(self, batches: Iterable[bytes]) -> Step:
        """Resolves one bucket; see `resolve_rows`."""
        return resolve_rows(batches, placement=self._placement, layout=self._layout)

    def write(self, number: int, batches: Iterable[bytes]) -> WrittenShard:
        """Writes one shard; see `write_references`."""
        return write_references(
            batches,
            self._layout.shards[number],
            plan=self._plan,
            layout=self._layout,
            images=self._images,
            version=self._version,
        )


def read_rows(lines: Iterable[str], *, placement: Placement, layout: Layout) -> Step:
    """Reads index lines into packed rows by bucket; counts every row of the sample."""
    rows: defaultdict[int, list[PlacedRow]] = defaultdict(list)
    rejects, tally = RejectLines(layout.buckets), Tally()
    for line in lines:
        parsed = parse_row(line)
        if isinstance(parsed, Rejected):
            if placement.samples(parsed):
                tally.rows[parsed.split, parsed.label] += 1
                tally.add_content(row_digest(parsed))
                tally.add_reject(parsed)
                rejects.add(parsed)
        elif placed := placement.place(parsed):
            rows[layout.bucket(placed.hashed)].append(placed)
    for placed in chain.from_iterable(rows.values()):
        tally.rows[placement.split_name(placed.split_number), placement.label_name(placed.label_id)] += 1
    return Step({bucket: pack_rows(placed) for bucket, placed in rows.items()}, rejects.batches(), tally)


def resolve_rows(batches: Iterable[bytes], *, placement: Placement, layout: Layout) -> Step:
    """Decides what the rows of one bucket come to: packed references by shard, in record order, or rejects."""
    references: defaultdict[int, list[PlacedRow]] = defaultdict(list)
    rejects, tally = RejectLines(layout.buckets), Tally()
    for rows in _by_key(sorted(chain.from_iterable(map(unpack_rows, batches)))):
        if len(rows) == 1 and rows[0].label_id != UNKNOWN and rows[0].split_number != UNKNOWN:
            references[layout.shard(rows[0])].append(rows[0])
            continue
        resolved = placement.resolve(rows)
        for rejected in resolved.rejects:
            tally.add_reject(rejected)
            rejects.add(rejected)
        for row in resolved.duplicates:
            tally.duplicates[placement.split_name(row.split_number), placement.label_name(row.label_id)] += 1
        for row in rows:
            if row is not resolved.chosen:
                tally.add_content(row_digest(index_row(row)))
        if resolved.chosen:
            references[layout.shard(resolved.chosen)].append(resolved.chosen)
    return Step({shard: pack_rows(placed) for shard, placed in references.items()}, rejects.batches(), tally)


def write_references(
    batches: Iterable[bytes], place: ShardPlace, *, plan: ConversionPlan, layout: Layout, images: Store, version: Store
) -> WrittenShard:
    """Writes the shard of one shard's packed references.

    Args:
        batches: The references, in any order of batches.
        place: Which shard it is.
        plan: The conversion.
        layout: How its rows spread.
        images: Root of the images.
        version: Folder of the version.
    """
    files = ShardFiles.named(
        dataset=plan.dataset,
        split=place.split,
        shard=place.shard,
        shards=place.shards,
        compression=plan.settings.compression,
    )
    report = write_shard(
        _references(batches, plan.labels), files, images=images, output=version, settings=plan.settings
    )
    rejects, tally = RejectLines(layout.buckets), Tally(content=report.content)
    for rejected in report.rejects:
        tally.add_reject(rejected)
        rejects.add(rejected)
    for label_id, records in report.entry.labels.items():
        tally.records[place.split, plan.labels[label_id]] += records
    index = report.index
    digests = (KeyDigest(index.sha256(at), index.labels[at], index.key(at)) for at in range(len(index)))
    return WrittenShard(
        entry=report.entry,
        images=report.images,
        digests=pack_digests(digests, split=place.split, ranges=layout.buckets),
        rejects=rejects.batches(),
        tally=tally,
    )


def _references(batches: Iterable[bytes], labels: Sequence[str]) -> Iterator[Reference]:
    """Yields one shard's references in record order, unpacking one batch at a time."""
    for batch in sorted(filter(None, batches), key=first_hash):
        for row in unpack_rows(batch):
            yield Reference(index_row(row), row.label_id, labels[row.label_id], row.hashed)


def sort_reject_lines(batches: Iterable[bytes]) -> bytes:
    """Returns the lines of one range in their order in the file."""
    return b"".join(line[16:] for line in sorted(b"".join(batches).splitlines(keepends=True)))


def _by_key(rows: Iterable[PlacedRow]) -> Iterator[list[PlacedRow]]:
    same: list[PlacedRow] = []
    for row in rows:
        if same and same[0].filename != row.filename:
            yield same
            same = []
        same.append(row)
    if same:
        yield same


def write_rejects(ranges: Iterable[tuple[int, bytes]], *, version: Store) -> FileEntry:
    """Writes `rejects.jsonl` from its sorted ranges.

    Args:
        ranges: Lines by number of the range, in any order; read several times, so that never more than a part of
            them is held.
        version: Where the file goes.
    """
    sizes = sorted((number, len(lines)) for number, lines in ranges)
    total_bytes, crc32c = 0, 0
    with version.writer(REJECTS) as file:
        for window in _windows(sizes):
            for _, lines in sorted((number, lines) for number, lines in ranges if number in window):
                file.write(lines)
                total_bytes += len(lines)
                crc32c = google_crc32c.extend(crc32c, lines)
    return FileEntry(name=REJECTS, bytes=total_bytes, crc32c=f"{crc32c:08x}")


def _windows(sizes: Iterable[tuple[int, int]]) -> Iterator[frozenset[int]]:
    """Yields numbers in order, as many together as are held at once."""
    window, window_bytes = list[int](), 0
    for number, size in sizes:
        if window and window_bytes + size > HELD_BYTES:
            yield frozenset(window)
            window, window_bytes = [], 0
        window.append(number)
        window_bytes += size
    yield frozenset(window)
