"""Fetches the sampled records and their staged images, and has a reader read the records back."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from imagemill.errors import UnusableData
from imagemill.quality.evidence import Faults, IndexedRecord, ReadBack, Sampled, ShardFacts, WholeShard
from imagemill.quality.readers import LocalShard, Reader, Readings
from imagemill.records.tfrecord import CorruptRecord, unframe
from imagemill.storage import is_local, key_fault
from imagemill.storage.object_file import compression_of, open_object
from imagemill.storage.store import MissingObject, Store

SAMPLE_FILE = "sample.tfrecord"
"""Name of the local file that the sampled records are gathered in."""

WHOLE_SHARD_BYTES = 256 << 20
"""Shards above this are not handed to TensorFlow whole; the sample of their records is."""

_COPY_BYTES = 1 << 20
_GAP_BYTES = 256 << 10  # a distant store sends as much in the time that another request takes to be answered
_SPAN_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class SampleFindings:
    """What came of the sample."""

    sampled: list[Sampled]
    whole: list[WholeShard]
    reader: str
    crash: str


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A sampled record whose frame is in the sample file, at `place`; None where the frame is damaged."""

    row: IndexedRecord
    place: int | None
    staged_sha256: str | None


class _SampleFile:
    """Frames of the sample, copied as they are; filled by many threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._count, self._lock = file, 0, threading.Lock()

    def add(self, frame: bytes) -> int:
        """Appends a frame and returns its place."""
        with self._lock:
            self._file.write(frame)
            self._count += 1
            return self._count - 1


def read_sample(
    shards: Sequence[ShardFacts],
    *,
    version: Store,
    images: Store | None,
    reader: Reader,
    folder: Path,
    advance: Callable[[], None],
) -> SampleFindings:
    """Reads the drawn records of all shards back.

    Args:
        shards: The shards with their drawn records; framing faults met on the way are added to them.
        version: The version folder.
        images: Root of the staged images, None to compare with nothing.
        reader: Who reads.
        folder: A local folder for the sample and copies of whole shards.
        advance: Called for every record fetched.
    """
    path = folder / SAMPLE_FILE
    with path.open("wb") as file:
        fetched = _fetch_all(shards, version, images, _SampleFile(file), advance)
    chosen = list(_whole_shards(shards))
    readings = reader.read(path, [_as_local(version, facts.entry.name, folder) for facts in chosen])
    whole = [
        WholeShard(facts.entry.name, facts.entry.records, *reading)
        for facts, reading in zip(chosen, readings.whole, strict=False)
    ]
    return SampleFindings(list(_pair(fetched, readings)), whole, readings.reader, readings.crash)


def _fetch_all(
    shards: Sequence[ShardFacts],
    version: Store,
    images: Store | None,
    target: _SampleFile,
    advance: Callable[[], None],
) -> list[_Fetched]:
    workers = max(version.parallel_reads, images.parallel_reads if images else 1)
    by_name = {facts.entry.name: facts for facts in shards}
    plain = [row for facts in shards for row in facts.drawn if not compression_of(row.shard)]
    fetched: list[_Fetched] = []

    def fetch(framed: tuple[IndexedRecord, bytes]) -> tuple[_Fetched, CorruptRecord | None]:
        return _fetch(*framed, images, target)

    def keep(outcome: tuple[_Fetched, CorruptRecord | None]) -> None:
        result, error = outcome
        if error is not None:
            _add_framing(by_name[result.row.shard].framing, error, result.row)
        fetched.append(result)
        advance()

    with ThreadPoolExecutor(workers, thread_name_prefix="sample") as pool:
        # As many spans at once as there are threads: they bound the memory, not the sample.
        spans = _spans(plain)
        while some := list(islice(spans, workers)):
            frames = [framed for span in pool.map(lambda span: _read_span(version, span), some) for framed in span]
            for outcome in pool.map(fetch, frames):
                keep(outcome)
    for facts in shards:
        if compression_of(facts.entry.name) and facts.drawn:
            try:
                for row, frame in _frames_in_order(version, facts.drawn):
                    keep(_fetch(row, frame, images, target))
            except UnusableData as error:  # it does not decompress
                facts.framing.add(facts.entry.name, str(error))
    return fetched


def _spans(rows: Sequence[IndexedRecord]) -> Iterator[list[IndexedRecord]]:
    """Yields rows that stand close enough together in a shard to be read by one request."""
    span: list[IndexedRecord] = []
    for row in sorted(rows, key=lambda row: (row.shard, row.offset)):
        if span and not _belongs(row, span):
            yield span
            span = []
        span.append(row)
    if span:
        yield span


def _belongs(row: IndexedRecord, span: Sequence[IndexedRecord]) -> bool:
    first, last = span[0], span[-1]
    end = row.offset + row.length
    near = row.offset - (last.offset + last.length) <= _GAP_BYTES
    return row.shard == first.shard and near and end - first.offset <= _SPAN_BYTES


def _read_span(version: Store, span: Sequence[IndexedRecord]) -> list[tuple[IndexedRecord, bytes]]:
    start = span[0].offset
    data = version.read_range(span[0].shard, start, max(row.offset + row.length for row in span) - start)
    return [(row, data[row.offset - start : row.offset - start + row.length]) for row in span]


def _add_framing(faults: Faults, error: CorruptRecord, row: IndexedRecord) -> None:
    faults.add(row.shard, error.problem, offset=row.offset, key=row.key)


def _fetch(
    row: IndexedRecord, frame: bytes, images: Store | None, target: _SampleFile
) -> tuple[_Fetched, CorruptRecord | None]:
    try:
        unframe(frame, where=row.shard, offset=row.offset)
    except CorruptRecord as error:
        return _Fetched(row, None, None), error
    return _Fetched(row, target.add(frame), _staged_sha256(images, row.key) if images else None), None


def _staged_sha256(images: Store, key: str) -> str:
    if key_fault(key):
        return ""
    try:
        return hashlib.sha256(images.read(key)).hexdigest()
    except MissingObject:
        return ""


def _frames_in_order(version: Store, rows: Iterable[IndexedRecord]) -> Iterator[tuple[IndexedRecord, bytes]]:
    """Yields frames of a compressed shard, which is read from its start to the last of them."""
    by_offset = sorted(rows, key=lambda row: row.offset)
    with open_object(version, by_offset[0].shard, compression="gzip") as file:
        for row in by_offset:
            file.seek(row.offset)
            yield row, file.read(row.length)


def _whole_shards(shards: Sequence[ShardFacts]) -> Iterator[ShardFacts]:
    """Yields the smallest sound shard of every split that is not too large to be read whole."""
    by_split: dict[str, list[ShardFacts]] = defaultdict(list)
    for facts in shards:
        if not facts.framing and facts.entry.records:
            by_split[facts.entry.split].append(facts)
    for split in sorted(by_split):
        smallest = min(by_split[split], key=lambda facts: (facts.entry.bytes, facts.entry.name))
        if smallest.entry.bytes <= WHOLE_SHARD_BYTES:
            yield smallest


def _as_local(version: Store, name: str, folder: Path) -> LocalShard:
    if is_local(version.uri):
        return LocalShard(Path(version.uri) / name, compression_of(name))
    path = folder / name
    with open_object(version, name) as source, path.open("wb") as target:
        while data := source.read(_COPY_BYTES):
            target.write(data)
    return LocalShard(path, compression_of(name))


def _pair(fetched: Sequence[_Fetched], readings: Readings) -> Iterator[Sampled]:
    for one in fetched:
        found: ReadBack | None = None
        if one.place is not None:
            if one.place < len(readings.records):
                found = readings.records[one.place]
            elif not readings.crash:
                raise UnusableData(
                    f"{readings.reader} gave {len(readings.records)} records back, more were handed over; "
                    f"the record at byte {one.row.offset} of {one.row.shard} is missing"
                )
        yield Sampled(one.row, found, one.staged_sha256)
