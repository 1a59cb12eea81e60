"""The steps of a conversion between the index and the shards, on packed batches; a runner moves the batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from imagemill.accounting import Tally
from imagemill.conversion.batches import Batch, Batches, Carried
from imagemill.conversion.blocks import Block, read_lines
from imagemill.conversion.digest_batches import KeyDigest, find_shared_images, pack_digests
from imagemill.conversion.layout import Layout, ShardPlace
from imagemill.conversion.reject_lines import RejectLines, sort_reject_lines
from imagemill.conversion.resolution import UNKNOWN, PlacedRow, Placement, index_row
from imagemill.conversion.row_batches import first_hash, pack_rows, unpack_rows
from imagemill.index import parse_row
from imagemill.manifest import ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.records.digest import row_digest
from imagemill.records.shard_writer import Reference, ShardFiles, write_shard
from imagemill.rows import Rejected
from imagemill.storage import open_store, split
from imagemill.storage.store import Store
from imagemill.version.facts import ImageStatistics, SharingFacts

CARRIED = Carried()


class Step(NamedTuple):
    """What one step makes of one batch.

    Attributes:
        rows: Packed rows by bucket or shard number.
        rejects: Lines of `rejects.jsonl` by range.
        tally: What was counted on the way.
    """

    rows: dict[int, Batch]
    rejects: dict[int, Batch]
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
    digests: dict[int, Batch]
    rejects: dict[int, Batch]
    tally: Tally


class Conversion:
    """The steps over one plan, with what they share. Each is a plain call on packed batches.

    Args:
        plan: The conversion.
        version_uri: Folder of the version.
        batches: Where batches wait between the steps.
    """

    def __init__(self, plan: ConversionPlan, version_uri: str, batches: Batches = CARRIED) -> None:
        self._plan, self._batches = plan, batches
        self._layout = Layout(plan)
        self._placement = Placement(labels=plan.labels, settings=plan.settings, sample_below=plan.sample_below)
        folder, self._index_name = split(plan.index)
        self._index, self._images, self._version = open_store(folder), open_store(plan.images), open_store(version_uri)

    def read(self, block: Block) -> Step:
        """Reads one block of the index; see `read_rows`."""
        lines = read_lines(self._index, self._index_name, block)
        return read_rows(lines, placement=self._placement, layout=self._layout, batches=self._batches)

    def resolve(self, rows: Iterable[Batch]) -> Step:
        """Resolves one bucket; see `resolve_rows`."""
        return resolve_rows(rows, placement=self._placement, layout=self._layout, batches=self._batches)

    def write(self, number: int, references: Iterable[Batch]) -> WrittenShard:
        """Writes one shard; see `write_references`."""
        return write_references(
            references,
            self._layout.shards[number],
            plan=self._plan,
            layout=self._layout,
            images=self._images,
            version=self._version,
            batches=self._batches,
        )

    def compare(self, digests: Iterable[Batch]) -> SharingFacts:
        """Finds identical images in one range of digests."""
        return find_shared_images(map(self._batches.get, digests), labels=self._plan.labels)

    def sort_rejects(self, number: int, lines: Iterable[Batch]) -> tuple[int, Batch]:
        """Sorts the lines of one range of rejects."""
        return number, self._batches.put(sort_reject_lines(map(self._batches.get, lines)))


def read_rows(lines: Iterable[str], *, placement: Placement, layout: Layout, batches: Batches = CARRIED) -> Step:
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
    counted = Counter((placed.split_number, placed.label_id) for placed in chain.from_iterable(rows.values()))
    for (split_number, label_id), count in counted.items():
        tally.rows[placement.split_name(split_number), placement.label_name(label_id)] += count
    return Step(_put_rows(rows, batches), rejects.put(batches), tally)


def resolve_rows(rows: Iterable[Batch], *, placement: Placement, layout: Layout, batches: Batches = CARRIED) -> Step:
    """Decides what the rows of one bucket come to: packed references by shard, in record order, or rejects."""
    references: defaultdict[int, list[PlacedRow]] = defaultdict(list)
    rejects, tally = RejectLines(layout.buckets), Tally()
    for same in _by_key(sorted(chain.from_iterable(unpack_rows(batches.get(batch)) for batch in rows))):
        if len(same) == 1 and same[0].label_id != UNKNOWN and same[0].split_number != UNKNOWN:
            references[layout.shard(same[0])].append(same[0])
            continue
        resolved = placement.resolve(same)
        for rejected in resolved.rejects:
            tally.add_reject(rejected)
            rejects.add(rejected)
        for row in resolved.duplicates:
            tally.duplicates[placement.split_name(row.split_number), placement.label_name(row.label_id)] += 1
        for row in same:
            if row is not resolved.chosen:
                tally.add_content(row_digest(index_row(row)))
        if resolved.chosen:
            references[layout.shard(resolved.chosen)].append(resolved.chosen)
    return Step(_put_rows(references, batches), rejects.put(batches), tally)


def write_references(
    references: Iterable[Batch],
    place: ShardPlace,
    *,
    plan: ConversionPlan,
    layout: Layout,
    images: Store,
    version: Store,
    batches: Batches = CARRIED,
) -> WrittenShard:
    """Writes the shard of one shard's packed references.

    Args:
        references: In any order of batches.
        place: Which shard it is.
        plan: The conversion.
        layout: How its rows spread.
        images: Root of the images.
        version: Folder of the version.
        batches: Where batches wait.
    """
    files = ShardFiles.named(
        dataset=plan.dataset,
        split=place.split,
        shard=place.shard,
        shards=place.shards,
        compression=plan.settings.compression,
    )
    packed = sorted(filter(None, map(batches.get, references)), key=first_hash)
    report = write_shard(_unpack(packed, plan.labels), files, images=images, output=version, settings=plan.settings)
    rejects, tally = RejectLines(layout.buckets), Tally(content=report.content)
    for rejected in report.rejects:
        tally.add_reject(rejected)
        rejects.add(rejected)
    for label_id, records in report.entry.labels.items():
        tally.records[place.split, plan.labels[label_id]] += records
    index = report.index
    digests = (KeyDigest(index.sha256(at), index.labels[at], index.key(at)) for at in range(len(index)))
    by_range = pack_digests(digests, split=place.split, ranges=layout.buckets)
    return WrittenShard(
        entry=report.entry,
        images=report.images,
        digests={number: batches.put(batch) for number, batch in by_range.items()},
        rejects=rejects.put(batches),
        tally=tally,
    )


def _put_rows(rows: dict[int, list[PlacedRow]], batches: Batches) -> dict[int, Batch]:
    return {number: batches.put(pack_rows(placed)) for number, placed in rows.items()}


def _unpack(references: Iterable[bytes], labels: Sequence[str]) -> Iterator[Reference]:
    """Yields one shard's references in record order, unpacking one batch at a time."""
    for batch in references:
        for row in unpack_rows(batch):
            yield Reference(index_row(row), row.label_id, labels[row.label_id], row.hashed)


def _by_key(rows: Iterable[PlacedRow]) -> Iterator[list[PlacedRow]]:
    same: list[PlacedRow] = []
    for row in rows:
        if same and same[0].filename != row.filename:
            yield same
            same = []
        same.append(row)
    if same:
        yield same
