"""What waits on disk rather than in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from imagemill.storage.faults import os_fault

_MEMORY_BYTES = 1 << 20


class TemporarySpool(tempfile.SpooledTemporaryFile[bytes]):
    """Bytes in memory and, beyond `max_size`, in a temporary file without a name, which vanishes with the process.

    Raises:
        CallerError: The folder for temporary files is full, or cannot be written to; or too many files are open.
        TemporaryFault: Its disk does not answer.
    """

    def write(self, data: Any, /) -> int:
        with temporary_faults():
            return super().write(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with temporary_faults():  # writes what is buffered
            return super().seek(offset, whence)

    def close(self) -> None:
        with temporary_faults():  # likewise
            super().close()

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def temporary_faults() -> Iterator[None]:
    """Turns what the operating system says of a temporary file into one of the three families."""
    try:
        yield
    except OSError as error:
        raise os_fault(error, f"the folder for temporary files, {_folder()} (TMPDIR)", "use") from error


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "which is none that can be written to"


class NameSpool:
    """Keeps names in the order they were added; beyond a mebibyte, in a temporary file."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._file = TemporarySpool(max_size=_MEMORY_BYTES)
        self.add(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def add(self, names: Iterable[str]) -> None:
        """Appends names, whatever characters they have: in a bucket, NUL and line breaks too."""
        self._file.write(b"".join(json.dumps(name).encode() + b"\n" for name in names))

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        return map(json.loads, self._file)
