"""Read the members of a `.tar.gz` one after the other, extracting nothing.

`tarfile` follows extended headers, however large they claim to be; here each header is 512 bytes, as tar's first
format has it. What needs more (names beyond 100 characters, sparse files) is passed over.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_MEMBER_BYTES = 256 << 20
"""CIFAR-100's train batch has 155 MB; no honest member has more than this."""

FREE_UNPACKED_BYTES = 1 << 30
"""So much any archive may unpack to: CIFAR's have 190 MB. Beyond it, `MAX_RATIO` counts."""

MAX_RATIO = 10
"""Unpacked bytes to packed ones. Pictures have one and a half; gzip can claim a thousand."""

_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_BLOCK = 512
_CHUNK = 1 << 20


class DamagedArchive(ValueError):
    """It is not a `.tar.gz`, is cut short, fails its checksum, or unpacks to more than is reasonable."""


class Member(NamedTuple):
    """One entry of an archive.

    Attributes:
        name: Its name, to the letter.
        is_file: Whether it is a plain file, not a folder, link or device.
        content: Its bytes; to be read before the next member is asked for.
    """

    name: str
    is_file: bool
    content: MemberContent


class MemberContent:
    """The bytes of one member, read at most once."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream = stream
        self.size = size
        self._left = size

    def read(self) -> bytes:
        """Returns the whole content.

        Raises:
            DamagedArchive: It is larger than `MAX_MEMBER_BYTES`, or cut short.
        """
        if self.size > MAX_MEMBER_BYTES:
            raise DamagedArchive(f"a member claims {self.size} bytes, more than {MAX_MEMBER_BYTES}")
        self._left = 0
        return self._stream.take(self.size)

    def skip(self) -> None:
        """Passes over what was not read, and over the padding behind it."""
        self._stream.skip(self._left + -self.size % _BLOCK)


def read_members(path: Path) -> Iterator[Member]:
    """Yields the members of a `.tar.gz` in their order, and at the end proves the gzip checksum.

    Raises:
        DamagedArchive: See there.
    """
    with gzip.open(path, "rb") as unpacked:
        stream = _Stream(unpacked, limit=max(FREE_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size))
        while True:
            header = stream.take(_BLOCK)
            if not header.strip(b"\0"):
                stream.drain()
                return
            try:
                entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise DamagedArchive(f"it is not a tar archive, or damaged ({error})") from error
            # Links, folders and devices may claim a size, and no bytes follow them all the same.
            followed = entry.isreg() or entry.type in _EXTENSIONS
            content = MemberContent(stream, max(entry.size, 0) if followed else 0)
            yield Member(entry.name, entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE), content)
            content.skip()


class _Stream:
    """Unpacked bytes, counted."""

    def __init__(self, unpacked: gzip.GzipFile, *, limit: int) -> None:
        self._unpacked = unpacked
        self._limit = limit
        self._total = 0

    def take(self, count: int) -> bytes:
        pieces = []
        left = count
        while left:
            piece = self._read(min(left, _CHUNK))
            if not piece:
                raise DamagedArchive(f"it is cut short after {self._total} unpacked bytes")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        while count:
            piece = self._read(min(count, _CHUNK))
            if not piece:
                raise DamagedArchive(f"it is cut short after {self._total} unpacked bytes")
            count -= len(piece)

    def drain(self) -> None:
        while self._read(_CHUNK):
            pass

    def _read(self, count: int) -> bytes:
        try:
            piece = self._unpacked.read(count)
        except EOFError as error:
            raise DamagedArchive("it is cut short") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DamagedArchive(f"it is not a gzip file, or damaged ({error})") from error
        self._total += len(piece)
        if self._total > self._limit:
            raise DamagedArchive(f"it unpacks to more than {self._limit} bytes; no CIFAR archive does")
        return piece
