"""Rejects on their way to `rejects.jsonl`, which is in the order of the rows' hashes, however many workers write it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import google_crc32c

from imagemill.conversion.batches import Batch, Batches, size_of
from imagemill.conversion.resolution import rejected_hash
from imagemill.manifest import FileEntry
from imagemill.records.sharding import shard_of
from imagemill.rows import Rejected
from imagemill.storage.store import Store
from imagemill.version.files import REJECTS, reject_line

HELD_BYTES = 64 << 20
"""Lines that one worker holds at once, beyond a single range of them."""

_HASH_DIGITS = 16


@dataclass(slots=True)
class RejectLines:
    """Rejects as lines of `rejects.jsonl`, by the range of hashes they are sorted in; until they are, each line begins
    with its own hash.
    """

    ranges: int
    _lines: defaultdict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rejected: Rejected) -> None:
        hashed = rejected_hash(rejected)
        self._lines[shard_of(hashed, self.ranges)].append(b"%016x" % hashed + reject_line(rejected))

    def put(self, batches: Batches) -> dict[int, Batch]:
        """Returns the lines as batches, by number of the range."""
        return {number: batches.put(b"".join(lines)) for number, lines in self._lines.items()}


def sort_reject_lines(batches: Iterable[bytes]) -> bytes:
    """Returns the lines of one range in their order in the file."""
    return b"".join(line[_HASH_DIGITS:] for line in sorted(b"".join(batches).splitlines(keepends=True)))


def write_rejects(ranges: Iterable[tuple[int, Batch]], *, batches: Batches, version: Store) -> FileEntry:
    """Writes `rejects.jsonl` from its sorted ranges.

    Args:
        ranges: Lines by number of the range, in any order; read several times, so that never more than a part of
            them is held.
        batches: Where they are.
        version: Where the file goes.
    """
    sizes = sorted((number, size_of(lines)) for number, lines in ranges)
    total_bytes, crc32c = 0, 0
    with version.writer(REJECTS) as file:
        for window in _windows(sizes):
            for _, batch in sorted((number, lines) for number, lines in ranges if number in window):
                lines = batches.get(batch)
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
