"""The byte stream of one shard: buffered, compressed if asked for, counted and checksummed on its way."""

from __future__ import annotations

import struct
import zlib

import google_crc32c

from imagemill.storage.store import ObjectWriter

BUFFER_BYTES = 1 << 20

# RFC 1952: no name, no time, no flags, and "unknown" as operating system, so that equal shards are equal bytes.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GZIP_LEVEL = 6


class ShardStream:
    """Writes a shard's records.

    Attributes:
        offset: Bytes of records so far, before compression: where the next one begins.
        bytes_written: Bytes handed on; all of them after `finish`.
        crc32c: Checksum of those.

    Args:
        target: What takes the bytes.
        compression: "" or "gzip".
    """

    def __init__(self, target: ObjectWriter, *, compression: str = "") -> None:
        self.offset = self.bytes_written = self.crc32c = 0
        self._target = target
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._deflater = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS) if compression else None
        self._plain_crc32 = 0
        if self._deflater:
            self._hand_on(_GZIP_HEADER)

    def write(self, framed: bytes) -> None:
        """Appends one framed record."""
        if len(framed) >= BUFFER_BYTES:
            self._flush()  # what waits goes first, so that joining it with a large record does not copy that
        self._waiting.append(framed)
        self._waiting_bytes += len(framed)
        self.offset += len(framed)
        if self._waiting_bytes >= BUFFER_BYTES:
            self._flush()

    def finish(self) -> None:
        """Hands on what waits; nothing may be written afterwards."""
        self._flush()
        if self._deflater:
            trailer = struct.pack("<II", self._plain_crc32, self.offset & 0xFFFFFFFF)
            self._hand_on(self._deflater.flush() + trailer)

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._deflater:
            self._plain_crc32 = zlib.crc32(data, self._plain_crc32)
            data = self._deflater.compress(data)
        if data:
            self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        self._target.write(data)
        self.bytes_written += len(data)
        self.crc32c = google_crc32c.extend(self.crc32c, data)
