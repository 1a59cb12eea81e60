"""TFRecord framing, as TensorFlow defines it.

A record is its length (uint64), the masked CRC of those eight bytes (uint32), the payload, and the payload's masked
CRC (uint32), all little-endian; see tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import BinaryIO

import google_crc32c

from imagemill.errors import UnusableData

HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAMING_BYTES = HEADER_BYTES + FOOTER_BYTES
"""What framing adds to a payload."""

_crc32c: Callable[[bytes], int] = google_crc32c.value
_MASK_DELTA = 0xA282EAD8
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<QI")
_READ_BYTES = 1 << 20


class CorruptRecord(UnusableData):
    """A record whose framing does not hold.

    Attributes:
        offset: Byte offset of the record in its (uncompressed) file.
    """

    def __init__(self, problem: str, *, where: str, offset: int) -> None:
        super().__init__(f"{where}: byte offset {offset}: {problem}")
        self.problem, self.where, self.offset = problem, where, offset

    def __reduce__(self) -> tuple[object, ...]:
        return _corrupt_record, (self.problem, self.where, self.offset)


def _corrupt_record(problem: str, where: str, offset: int) -> CorruptRecord:
    return CorruptRecord(problem, where=where, offset=offset)


def masked_crc(data: bytes) -> int:
    """Returns the Castagnoli CRC as TFRecord stores it: rotated by 15 bits and offset, so that CRCs may nest."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """Returns one record, framed."""
    return b"".join((_frame_header(len(payload)), payload, _CRC.pack(masked_crc(payload))))


@lru_cache(16_384)
def _frame_header(size: int) -> bytes:
    length = _LENGTH.pack(size)
    return length + _CRC.pack(masked_crc(length))


def unframe(record: bytes, *, where: str, offset: int) -> bytes:
    """Returns the payload of exactly one framed record.

    Args:
        record: The record, framing included.
        where: What it was read from, for the message.
        offset: Where it starts there.

    Raises:
        CorruptRecord: A checksum does not hold, or the length is another.
    """
    length = _payload_length(record[:HEADER_BYTES], where=where, offset=offset)
    if length != len(record) - FRAMING_BYTES:
        problem = f"the record is {length + FRAMING_BYTES} bytes long, {len(record)} were expected"
        raise CorruptRecord(problem, where=where, offset=offset)
    payload = record[HEADER_BYTES:-FOOTER_BYTES]
    _check_payload(payload, record[-FOOTER_BYTES:], where=where, offset=offset)
    return payload


def read_records(file: BinaryIO, *, where: str = "") -> Iterator[tuple[int, bytes]]:
    """Yields every record's byte offset and payload, one record in memory at a time.

    Args:
        file: A binary file at its start; short reads are fine.
        where: Its name, for messages.

    Raises:
        CorruptRecord: A checksum does not hold, or the file ends within a record.
    """
    offset = 0
    while header := _read(file, HEADER_BYTES):
        length = _payload_length(header, where=where, offset=offset)
        payload = _read(file, length)
        footer = _read(file, FOOTER_BYTES)
        if len(payload) < length or len(footer) < FOOTER_BYTES:
            missing = length + FOOTER_BYTES - len(payload) - len(footer)
            problem = f"the file ends {missing} bytes before the record does"
            raise CorruptRecord(problem, where=where, offset=offset)
        _check_payload(payload, footer, where=where, offset=offset)
        yield offset, payload
        offset += length + FRAMING_BYTES


def _payload_length(header: bytes, *, where: str, offset: int) -> int:
    if len(header) < HEADER_BYTES:
        problem = f"the file ends within a record header ({len(header)} of {HEADER_BYTES} bytes)"
        raise CorruptRecord(problem, where=where, offset=offset)
    length, crc = _HEADER.unpack(header)
    if crc != masked_crc(header[:8]):
        raise CorruptRecord("the checksum of the record's length does not hold", where=where, offset=offset)
    return int(length)


def _check_payload(payload: bytes, footer: bytes, *, where: str, offset: int) -> None:
    if _CRC.unpack(footer)[0] != masked_crc(payload):
        raise CorruptRecord("the checksum of the record's data does not hold", where=where, offset=offset)


def _read(file: BinaryIO, size: int) -> bytes:
    """Reads `size` bytes, fewer only at the file's end; never asks for more at once than a file can be trusted with."""
    data = file.read(min(size, _READ_BYTES))
    if len(data) == size or not data:
        return data
    parts, missing = [data], size - len(data)
    while missing and (data := file.read(min(missing, _READ_BYTES))):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)
