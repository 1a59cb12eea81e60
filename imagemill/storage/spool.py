"""Names that wait on disk rather than in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Self

_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16


class NameSpool:
    """Keeps file names in the order they were added; beyond a mebibyte, in a temporary file."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - `close` closes it
        self.add(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def add(self, names: Iterable[str]) -> None:
        """Appends names; no file name holds a NUL, so that it can end each."""
        self._file.write(b"".join(os.fsencode(name) + b"\0" for name in names))

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        rest = b""
        while chunk := self._file.read(_CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from map(os.fsdecode, whole)
