"""An object of a store as a file that is read from start to end."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from imagemill.errors import UnusableData
from imagemill.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WINDOW_BYTES = 4 << 20
"""Bytes of one range request; also what one open object holds in memory."""


class _Ranges(io.RawIOBase):
    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key, self._offset = store, key, 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        if self._ended:
            return 0
        data = self._store.read_range(self._key, self._offset, len(view))
        view[: len(data)] = data
        self._offset += len(data)
        self._ended = len(data) < len(view)  # a store gives less only at the end, and asking again costs a request
        return len(data)


@contextmanager
def open_object(store: Store, key: str, *, compression: str = "") -> Iterator[BinaryIO]:
    """Opens an object for one pass, in flat memory; `gzip` content is decompressed on the way.

    Raises:
        UnusableData: While it is read: it is cut short or damaged, and does not decompress.
    """
    with io.BufferedReader(_Ranges(store, key), WINDOW_BYTES) as plain:
        if compression == "gzip":
            with _decompressing(f"{store.uri.rstrip('/')}/{key}"), gzip.GzipFile(fileobj=plain) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield plain


@contextmanager
def _decompressing(where: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnusableData(f"{where}: does not decompress: {error}") from error


def compression_of(name: str) -> str:
    """Returns the compression that an object's name states: "" or "gzip"."""
    return "gzip" if name.endswith(".gz") else ""
