"""What planning must know of all rows before any of them can be placed, learned in one pass over the index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappush, heapreplace

from imagemill.conversion.resolution import rejected_hash
from imagemill.errors import CallerError
from imagemill.index import parse_row
from imagemill.records.sharding import key_hash
from imagemill.rows import Rejected, Row

_CELL_END = "\x1f"
"""Sorts before every character of a name, so that sorted rows are sorted by their names, as listings are."""

_REJECTED = b"\0"
"""Begins what is kept of a row that cannot be read; no name begins so."""


def parse_item(item: bytes) -> Row | str:
    """Returns the row of what `Survey.read` yields; the line of one that cannot be read."""
    if item.startswith(_REJECTED):
        return item[1:].decode(errors="surrogateescape")
    return Row(*item.decode().split(_CELL_END))


class Survey:
    """A pass over the rows.

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
                yield _CELL_END.join(row).encode()
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
