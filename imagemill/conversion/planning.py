"""Decides a conversion before any image is opened: one pass over the index, one over the listing of the images.

Memory does not grow with the dataset: rows are sorted on disk and merged with the listing, which is sorted already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from itertools import chain

from imagemill.conversion.accounting import Tally
from imagemill.conversion.blocks import Block, read_lines
from imagemill.conversion.resolution import PlacedRow, Placement, index_row, rejected_hash
from imagemill.errors import CallerError, UnusableData
from imagemill.external_sort import sorted_lines
from imagemill.index import parse_row
from imagemill.labels import assign_labels, parse_labels
from imagemill.manifest import Manifest
from imagemill.plan import PLAN, ConversionPlan, ConversionSettings, SplitPlan, fingerprint_of
from imagemill.records.digest import row_digest
from imagemill.records.sharding import ShardPolicy, key_hash
from imagemill.rows import Rejected, Row
from imagemill.spec import Shards
from imagemill.storage import MissingObject, ObjectInfo, is_local, open_store, split

_CELL_END = "\x1f"
"""Sorts before every character of a name, so that sorted rows are sorted by their names, as listings are."""

_REJECTED = b"\0"
"""Begins what is kept of a row that cannot be read; no name begins so."""


def plan_conversion(
    *,
    dataset: str,
    index_uri: str,
    images_uri: str,
    labels_uri: str | None = None,
    declared_labels: Sequence[str] = (),
    settings: ConversionSettings,
    shards: Shards,
    published: Manifest | None = None,
    limit: int | None = None,
) -> ConversionPlan:
    """Returns the plan for the rows and images as they are now; its version has no name yet.

    Args:
        dataset: Name of the dataset.
        index_uri: The index CSV.
        images_uri: Folder or prefix the filenames are relative to.
        labels_uri: Where the source's `labels.txt` stands, if it has one.
        declared_labels: The spec's class names.
        settings: What else determines the version's bytes.
        shards: What shard counts aim at.
        published: The published version, whose labels and shard counts are carried on.
        limit: Convert only this many rows, those with the smallest key hashes.

    Raises:
        CallerError: There is no index, it has no rows, or none of its images exists.
        UnusableData: No row can become a record.
    """
    folder, name = split(index_uri)
    index = open_store(folder)
    found = index.stat(name)
    if found is None:
        raise MissingObject(f"{index_uri}: there is no such index; prepare and upload the dataset first")
    survey = _Survey(limit)
    ordered = sorted_lines(survey.read(read_lines(index, name, Block(0, found.size))), key=bytes)
    first = next(ordered, None)  # reads the index to its end
    if first is None:
        raise CallerError(f"{index_uri} has no rows; the dataset would be empty")
    source = _read_labels(labels_uri)
    labels = assign_labels(
        published=published.labels if published else (),
        declared=declared_labels,
        source=source,
        seen=survey.labels,
    )
    placement = Placement(labels=labels, settings=settings, sample_below=survey.sample_below)
    census = _Census(placement, _Images(images_uri), settings.max_image_bytes)
    census.count(chain([first], ordered))
    census.require_records(index_uri=index_uri, images_uri=images_uri)
    splits = _split_plans(census, shards, published)
    content_digest = f"{census.tally.content:032x}"
    return ConversionPlan(
        dataset=dataset,
        fingerprint=fingerprint_of(
            dataset=dataset,
            content_digest=content_digest,
            labels=labels,
            splits=splits,
            sample_below=survey.sample_below,
            settings=settings,
        ),
        content_digest=content_digest,
        index=index_uri,
        index_bytes=found.size,
        images=images_uri,
        labels=labels,
        labels_closed=bool(declared_labels or source),
        sample_below=survey.sample_below,
        rows=census.rows,
        splits=splits,
        settings=settings,
    )


def write_plan(plan: ConversionPlan, *, version: str, version_uri: str) -> ConversionPlan:
    """Writes `plan.json` into the version's folder, and returns the plan with its version named."""
    named = plan.model_copy(update={"version": version})
    open_store(version_uri).write(PLAN, named.to_json())
    return named


class _Survey:
    """What must be known of all rows before any of them can be placed.

    Attributes:
        labels: Distinct label cells.
        sample_below: Bound on the key hash that leaves the `limit` smallest; None without a limit or with fewer rows.
    """

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise CallerError(f"a limit of {limit} rows leaves nothing; give at least 1, or none")
        self._limit = limit
        self._smallest: list[int] = []  # a heap of negated hashes: the largest of the smallest comes first
        self._in_sample: set[int] = set()
        self._full = False
        self.labels: set[str] = set()

    def read(self, lines: Iterable[str]) -> Iterator[bytes]:
        """Yields one item for each row; sorted, the rows of one name stand together, in the listing's order."""
        for line in lines:
            row = parse_row(line)
            if isinstance(row, Rejected):
                hashed = rejected_hash(row) if self._limit else 0
                yield _REJECTED + row.row.encode(errors="surrogateescape")
            else:
                self.labels.add(row.label)
                hashed = key_hash(row.filename) if self._limit else 0
                yield _CELL_END.join((row.filename, row.label, row.split, row.group)).encode()
            if self._limit:
                self._sample(hashed, self._limit)

    @property
    def sample_below(self) -> int | None:
        return -self._smallest[0] + 1 if self._full else None

    def _sample(self, hashed: int, limit: int) -> None:
        if hashed in self._in_sample:
            return
        if len(self._smallest) < limit:
            heappush(self._smallest, -hashed)
        elif hashed < -self._smallest[0]:
            self._full = True
            self._in_sample.discard(-heapreplace(self._smallest, -hashed))
        else:
            self._full = True
            return
        self._in_sample.add(hashed)


class _Images:
    """The listing of the images, asked for names in ascending order."""

    def __init__(self, uri: str) -> None:
        self._store = open_store(uri)
        self._listing = self._store.list(checksums=True)
        # A listing does not follow links to folders, a read does; only there is a name worth a second look.
        self._may_hide = is_local(uri)
        self._advance()

    def find(self, filename: str) -> ObjectInfo | None:
        """Returns what a read of the image would find."""
        wanted = filename.encode()
        while self._info is not None and self._name < wanted:
            self._advance()
        found = self._info if self._name == wanted else None
        if found is None:
            return self._store.stat(filename, checksum=True) if self._may_hide else None
        return found if found.crc32c is not None else self._store.stat(filename, checksum=True)

    def _advance(self) -> None:
        self._info = next(self._listing, None)
        self._name = self._info.key.encode(errors="surrogateescape") if self._info else b""


@dataclass(slots=True)
class _SplitCount:
    rows: int = 0
    images: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Census:
    """Counts what the sorted rows will come to, by the rules the job follows."""

    placement: Placement
    images: _Images
    max_image_bytes: int
    rows: int = 0
    tally: Tally = field(default_factory=Tally)
    splits: dict[str, _SplitCount] = field(default_factory=dict)
    missing: str = ""
    refused: Rejected | None = None

    def count(self, items: Iterable[bytes]) -> None:
        same: list[PlacedRow] = []
        for item in items:
            if item.startswith(_REJECTED):
                self._count_rejected(item[1:].decode(errors="surrogateescape"))
                continue
            row = self.placement.place(Row(*item.decode().split(_CELL_END)))
            if row is None:
                continue
            self.rows += 1
            if same and same[0].filename != row.filename:
                self._count_key(same)
                same = []
            same.append(row)
        if same:
            self._count_key(same)

    def require_records(self, *, index_uri: str, images_uri: str) -> None:
        """Raises where nothing can come of the rows."""
        candidates = sum(counted.rows for counted in self.splits.values())
        if not candidates:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.tally.reasons.items()))
            example = f"; for example {self.refused.row!r}: {self.refused.detail}" if self.refused else ""
            raise UnusableData(f"none of the {self.rows} rows of {index_uri} can become a record: {reasons}{example}")
        if not any(counted.images for counted in self.splits.values()):
            raise CallerError(
                f"none of the {candidates} images that {index_uri} names is under {images_uri} "
                f"(the first is {self.missing!r}); check where the images are"
            )

    def _count_rejected(self, line: str) -> None:
        rejected = parse_row(line)
        if isinstance(rejected, Rejected) and self.placement.samples(rejected):
            self.rows += 1
            self.tally.add_content(row_digest(rejected))
            self._refuse(rejected)

    def _count_key(self, rows: list[PlacedRow]) -> None:
        resolved = self.placement.resolve(rows)
        for rejected in resolved.rejects:
            self._refuse(rejected)
        for row in rows:
            if row is not resolved.chosen:
                self.tally.add_content(row_digest(index_row(row)))
        if resolved.chosen:
            self._count_image(resolved.chosen)

    def _count_image(self, row: PlacedRow) -> None:
        info = self.images.find(row.filename)
        counted = self.splits.setdefault(self.placement.split_name(row.split_number), _SplitCount())
        counted.rows += 1
        if info is None:
            self.missing = self.missing or row.filename
            size, crc32c = -1, -1
        else:
            # Too large an image is refused by its size; nobody reads it, so its content decides nothing.
            readable = info.size <= self.max_image_bytes
            size, crc32c = info.size, info.crc32c if readable and info.crc32c is not None else -1
            counted.images += 1
            counted.bytes += info.size if readable else 0
        self.tally.add_content(row_digest(index_row(row), size=size, crc32c=crc32c))

    def _refuse(self, rejected: Rejected) -> None:
        self.tally.add_reject(rejected)
        self.refused = self.refused or rejected


def _read_labels(uri: str | None) -> tuple[str, ...]:
    if uri is None:
        return ()
    folder, name = split(uri)
    try:
        return parse_labels(open_store(folder).read(name), where=uri)
    except MissingObject:
        return ()


def _split_plans(census: _Census, shards: Shards, published: Manifest | None) -> tuple[SplitPlan, ...]:
    policy = ShardPolicy(target_bytes=shards.target_bytes, target_records=shards.target_records)
    previous = Counter(shard.split for shard in published.shards) if published else Counter[str]()
    unknown = sorted(set(shards.count) - set(census.placement.splits))
    if unknown:
        known = ", ".join(census.placement.splits)
        raise CallerError(f"a shard count is given for the split {unknown[0]!r}, which is not one of: {known}")
    return tuple(
        SplitPlan(
            name=name,
            rows=counted.rows,
            bytes=counted.bytes,
            shards=shards.count.get(name)
            or policy.shards_for(total_bytes=counted.bytes, records=counted.images, previous=previous.get(name)),
        )
        for name, counted in sorted(census.splits.items())
    )
