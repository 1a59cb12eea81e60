"""Counts what the rows of an index will come to, from a listing of the images, before any image is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from imagemill.accounting import Tally
from imagemill.conversion.resolution import PlacedRow, Placement, index_row
from imagemill.conversion.survey import parse_item
from imagemill.errors import CallerError, UnusableData
from imagemill.index import parse_row
from imagemill.records.digest import row_digest
from imagemill.records.sharding import shard_of
from imagemill.rows import Rejected
from imagemill.storage import ObjectInfo, is_local, open_store


class Images:
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
class SplitCount:
    """What one split comes to.

    Attributes:
        rows: Its rows.
        images: The images among them.
        bytes: Bytes of those that will be read.
        occupied: Shards that one of those belongs to, where somebody said how many shards there are to be.
    """

    rows: int = 0
    images: int = 0
    bytes: int = 0
    occupied: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Census:
    """Counts what the sorted rows will come to, by the rules the job follows.

    Attributes:
        shards: How many shards a split is to have, where somebody said so.
    """

    placement: Placement
    images: Images
    max_image_bytes: int
    shards: Mapping[str, int]
    rows: int = 0
    tally: Tally = field(default_factory=Tally)
    splits: dict[str, SplitCount] = field(default_factory=dict)
    missing: str = ""
    refused: Rejected | None = None

    def count(self, items: Iterable[bytes]) -> None:
        same: list[PlacedRow] = []
        for item in items:
            parsed = parse_item(item)
            if isinstance(parsed, str):
                self._count_rejected(parsed)
                continue
            row = self.placement.place(parsed)
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
        split = self.placement.split_name(row.split_number)
        counted = self.splits.setdefault(split, SplitCount())
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
            if readable and split in self.shards:
                counted.occupied.add(shard_of(row.hashed, self.shards[split]))
        self.tally.add_content(row_digest(index_row(row), size=size, crc32c=crc32c))

    def _refuse(self, rejected: Rejected) -> None:
        self.tally.add_reject(rejected)
        self.refused = self.refused or rejected
