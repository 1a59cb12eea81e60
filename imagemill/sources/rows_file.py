"""The rows of a tree on their way to becoming its index: written once, read several times, never all in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imagemill.index import HEADER, iter_lines, parse_row
from imagemill.rows import Row
from imagemill.sources.tree import INDEX, PreparedTree

if TYPE_CHECKING:
    from imagemill.progress import Progress

_CHUNK = 1 << 20
_ADVANCE = 1_000


class RowsFile:
    """Sorted index lines in the tree's unfinished folder.

    Attributes:
        count: Lines written, the header not among them.
    """

    def __init__(self, tree: PreparedTree) -> None:
        self.count = 0
        self._tree = tree
        self._path = tree.partial / "rows"

    def write(self, lines: Iterable[str], progress: Progress) -> None:
        """Writes the lines, which come sorted; undecodable bytes may stand in them as surrogates."""
        with self._path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(f"{HEADER}\n")
            for line in lines:
                file.write(f"{line}\n")
                self.count += 1
                if self.count % _ADVANCE == 0:
                    progress.advance(_ADVANCE)

    def names(self) -> Iterator[str]:
        """Yields the names of the good rows, in order."""
        lines = iter_lines(self._chunks())
        next(lines)
        for line in lines:
            row = parse_row(line)
            if isinstance(row, Row):
                yield row.filename

    def become_index(self) -> None:
        """Makes these rows the tree's index; an equal one stays as it is."""
        self._tree.write_file(INDEX, self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
