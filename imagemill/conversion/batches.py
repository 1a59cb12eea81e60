"""Where packed batches wait between two steps: with the runner, or in files of this machine.

A runner of one process would hold all batches of the dataset in memory. There they go to files, and the runner moves
where they are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from threading import Lock
from typing import Protocol, Self

from imagemill.storage.faults import os_fault

Place = tuple[int, int, int]
"""Number of the file, offset and length of a batch that waits on disk. A plain tuple: Beam encodes those fast."""

Batch = bytes | Place
"""Packed rows, lines or digests, or where they are."""


class Batches(Protocol):
    """Keeps batches until a later step asks for them."""

    def put(self, data: bytes) -> Batch: ...

    def get(self, batch: Batch) -> bytes: ...


class Carried:
    """Leaves batches to the runner: its workers share no disk."""

    def put(self, data: bytes) -> Batch:
        return data

    def get(self, batch: Batch) -> bytes:
        if isinstance(batch, bytes):
            return batch
        raise RuntimeError(f"the batch at {batch} waits on another machine's disk")


class Spool:
    """Batches in files without a name, one for each process that writes; they vanish with the last of the processes.

    Args:
        descriptors: The open files.
        own: Number of the file that this process writes; no other process writes it.
    """

    def __init__(self, descriptors: Sequence[int], own: int = 0) -> None:
        self.descriptors = tuple(descriptors)
        self._own, self._end = own, 0
        self._lock = Lock()

    @classmethod
    def create(cls, files: int) -> Self:
        """Opens new files in the folder for temporary ones (`TMPDIR`).

        Raises:
            CallerError: There is no such folder, or it takes no files.
        """
        return cls([_open_unnamed() for _ in range(files)])

    def put(self, data: bytes) -> Batch:
        """Writes a batch.

        Raises:
            CallerError: The disk is full.
        """
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self.descriptors[self._own], data[written:], offset + written)
        except OSError as error:
            raise os_fault(error, f"{tempfile.gettempdir()} (TMPDIR)", "write to") from error
        return self._own, offset, len(data)

    def get(self, batch: Batch) -> bytes:
        if isinstance(batch, bytes):
            return batch
        file, offset, length = batch
        data = os.pread(self.descriptors[file], length, offset)
        if len(data) != length:
            raise RuntimeError(f"the batch at {batch} has {len(data)} bytes")
        return data

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def _open_unnamed() -> int:
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise os_fault(error, "the folder for temporary files (TMPDIR)", "open a file in") from error


def size_of(batch: Batch) -> int:
    """Returns the bytes of a batch, wherever it is."""
    return len(batch) if isinstance(batch, bytes) else batch[2]
