"""What the rest of imagemill asks of a place that holds objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from imagemill.errors import CallerError, TemporaryFault

ABSENT = ""
"""Generation of an object that does not exist: `write(..., if_generation=ABSENT)` only creates."""


class MissingObject(CallerError):
    """A named object is not there."""


class LostUpload(TemporaryFault):
    """What was written so far is gone, or not what was meant: no object appeared, and its writer may begin anew."""


class PreconditionFailed(CallerError):
    """A conditional write found another generation: somebody else wrote first."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing says of one object.

    Attributes:
        key: Name relative to the store's root; "/" separates folders.
        size: Bytes.
        crc32c: Castagnoli checksum of the content, None where the listing was not asked for it.
        generation: Opaque token that changes with every write, for conditional writes; None in listings.
    """

    key: str
    size: int
    crc32c: int | None = None
    generation: str | None = None


class ObjectWriter(Protocol):
    """Takes an object's bytes in order."""

    def write(self, data: bytes, /) -> object: ...


class Store(Protocol):
    """Objects under one root. Implementations are thread-safe; `open_store` makes one from a URI.

    Attributes:
        uri: The root.
        parallel_reads: Reads at once that pay, at most: 1 where nothing waits for a network, and threads only cost.
    """

    uri: str
    parallel_reads: int

    @property
    def parallel_now(self) -> int:
        """Returns how many of them the store answers just now; more would wait for their turn."""
        ...

    def require_root(self) -> None:
        """Proves that the root (the folder, the bucket) is there and within reach; a writer needs no such proof.

        Raises:
            CallerError: It is not.
        """
        ...

    def require_target(self) -> None:
        """Proves, as far as can be seen, that objects can be put below the root, which need not hold any yet.

        Raises:
            CallerError: A file or an object has the root's name, or there is no such bucket.
        """
        ...

    def require_within(self, key: str) -> None:
        """Proves that an object written to `key` would be below the root, where `list` finds it.

        Raises:
            CallerError: On the way is a symbolic link to a folder.
        """
        ...

    def read(self, key: str, *, max_bytes: int | None = None, at_rest: bool = False) -> bytes:
        """Returns the whole object as it was at one moment: never half old, half new.

        Args:
            key: Name relative to the root.
            max_bytes: The largest object to accept.
            at_rest: The object may be a file that somebody else is still writing in place: make sure that nobody is.

        Raises:
            MissingObject: There is none.
            ObjectTooLarge: It has more than `max_bytes`; decided before its bytes are read.
        """
        ...

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`; fewer where the object ends earlier."""
        ...

    def stat(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """Returns what is known of one object, with its generation, or None."""
        ...

    def list(self, prefix: str = "", *, checksums: bool = False) -> Iterator[ObjectInfo]:
        """Yields the objects whose key starts with `prefix`, sorted by the key's UTF-8 bytes, in flat memory."""
        ...

    def write(self, key: str, data: bytes, *, if_generation: str | None = None, durable: bool = True) -> ObjectInfo:
        """Stores an object whole or not at all.

        Args:
            key: Name relative to the root.
            data: The content.
            if_generation: Store only where the object has this generation (`ABSENT`: where there is none).
            durable: Return only when a power cut cannot undo it. Without it a local disk takes small objects faster.

        Returns:
            Size, generation and the checksum of what is stored, as the store itself found it.

        Raises:
            PreconditionFailed: `if_generation` is given and is not the object's generation.
        """
        ...

    def writer(self, key: str) -> AbstractContextManager[ObjectWriter]:
        """Streams an object that appears whole when the block ends well, and not at all when it raises."""
        ...

    def copy_in(self, source: str, key: str) -> ObjectInfo:
        """Copies the object at the full URI `source` to `key`, on the server where both are in one service.

        Returns:
            What is stored now, with its checksum.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes an object; one that is already gone is fine."""
        ...


class ObjectTooLarge(CallerError):
    """An object has more bytes than the reader accepts.

    Attributes:
        size: The object's size in bytes.
    """

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size
