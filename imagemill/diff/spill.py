"""Rows that wait on disk for others of the same image, which may be anywhere in the other version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagemill.storage.spool import TemporarySpool

MAX_PARTS = 64
"""Each part is an open file, and a comparison spills four kinds of rows: 256 files where a process may often have 1,024
and has threads with connections besides."""

_MEMORY_BYTES = 1 << 17
"""A part that is larger is on disk."""


class Spill:
    """Rows by range of their image's digest: equal images meet in one part, and parts are about equally large.

    Args:
        dtype: What the rows are.
        parts: Ranges, `MAX_PARTS` at most.
        files: Closes the files.
    """

    def __init__(self, dtype: np.dtype[Any], parts: int, files: ExitStack) -> None:
        self._dtype, self._count = dtype, parts
        self._files: dict[int, IO[bytes]] = {}
        self._stack = files

    def add(self, rows: NDArray[Any], digests: NDArray[np.uint64]) -> None:
        """Takes rows; `digests` are the digests of their images."""
        if not len(rows):
            return
        half = np.uint64(32)
        part_of = (digests[:, -1] >> half) * np.uint64(self._count) >> half
        order = np.argsort(part_of, kind="stable")
        parts, begins = np.unique(part_of[order], return_index=True)
        for part, chosen in zip(parts.tolist(), np.split(order, begins[1:]), strict=True):
            self._file(part).write(rows[chosen].tobytes())

    def parts(self) -> Iterator[NDArray[Any]]:
        """Yields the rows of each part, also of those that have none."""
        for part in range(self._count):
            file = self._files.pop(part, None)
            if file is None:
                yield np.empty(0, self._dtype)
            else:
                file.seek(0)
                yield np.frombuffer(file.read(), self._dtype)
                file.close()

    def _file(self, part: int) -> IO[bytes]:
        if part not in self._files:
            file = TemporarySpool(_MEMORY_BYTES)
            self._files[part] = self._stack.enter_context(file)
        return self._files[part]
