"""PNG: every rule of libpng that can be checked without inflating the pixels (https://www.w3.org/TR/png-3/).

Checksums of ancillary chunks are not among them: libpng, and so TensorFlow, drops such a chunk and decodes the image.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from imagemill.images.facts import ImageFacts, RefusedImage, truncated, undecodable
from imagemill.rows import Reason

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3
MAX_SIDE = 1_000_000
"""libpng's own limit (PNG_USER_WIDTH_MAX)."""

SAMPLES = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHUNK = Struct(">I4s")
_CRC = Struct(">I")
_HEADER = Struct(">IIBBBBB")
_HEADER_START = b"\x00\x00\x00\x0dIHDR"
_FIRST_CHUNK = 33
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_crc32 = zlib.crc32


class PngHeader(NamedTuple):
    """The fields of IHDR, in its order."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filter: int
    interlace: int


def parse(data: bytes) -> ImageFacts:
    """Returns what a PNG's header says, after checking the structure up to its end.

    Raises:
        RefusedImage: libpng would not decode it.
    """
    header = read_header(data)
    if _is_plain(data) and header.colour != PALETTE:
        return _facts(header, SAMPLES[header.colour])
    palette = transparent = idat_bytes = 0
    last = b"IHDR"
    for kind, size, sound in _chunks(data):
        if kind == b"IDAT":
            if idat_bytes and last != b"IDAT":
                raise undecodable("other chunks stand between the chunks IDAT")
            if header.colour == PALETTE and not palette:
                raise undecodable("a palette image without a palette before its pixels")
            idat_bytes += size
        elif kind == b"PLTE":
            palette = _palette_entries(header, size, palette)
        elif kind == b"tRNS":
            transparent = size if sound and palette and not idat_bytes else 0
        last = kind
    if not idat_bytes:
        raise truncated("no pixels: the chunks IDAT are missing or empty")
    channels = 3 + (0 < transparent <= palette) if header.colour == PALETTE else SAMPLES[header.colour]
    return _facts(header, channels)


def _facts(header: PngHeader, channels: int) -> ImageFacts:
    return ImageFacts("png", header.height, header.width, channels)


def _is_plain(data: bytes) -> bool:
    """Tells whether all that follows the header is one sound IDAT and IEND, as in most small images: the short way."""
    if len(data) < _FIRST_CHUNK + 8:
        return False
    size, kind = _CHUNK.unpack_from(data, _FIRST_CHUNK)
    end = _FIRST_CHUNK + 8 + size
    return (
        kind == b"IDAT"
        and size > 0
        and data[end + 4 : end + 16] == _END
        and _crc32(memoryview(data)[_FIRST_CHUNK + 4 : end]) == _CRC.unpack_from(data, end)[0]
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, bool]]:
    """Yields name, size and soundness of the chunks between IHDR and IEND; only ancillary ones may be unsound."""
    position, end = _FIRST_CHUNK, len(data)
    view = memoryview(data)
    while position + 12 <= end:
        size, kind = _CHUNK.unpack_from(data, position)
        following = position + 12 + size
        if following > end:
            raise truncated(f"the chunk {_name(kind)} ends at byte {following}, the file at byte {end}")
        sound = _crc32(view[position + 4 : following - 4]) == _CRC.unpack_from(data, following - 4)[0]
        if not (sound or kind[0] & 0x20):
            raise undecodable(f"the checksum of the chunk {_name(kind)} at byte {position} does not hold")
        if kind == b"IEND":
            return
        if kind not in (b"IDAT", b"PLTE") and not (kind.isalpha() and kind[0] & 0x20):
            raise undecodable(f"the chunk {_name(kind)} at byte {position} is unknown or misplaced")
        yield kind, size, sound
        position = following
    raise truncated(f"the file ends at byte {end}, without the chunk IEND")


def read_header(data: bytes) -> PngHeader:
    """Returns IHDR, checked."""
    if len(data) < _FIRST_CHUNK:
        raise truncated(f"{len(data)} bytes do not hold a PNG header")
    return _parse_header(data[len(SIGNATURE) : _FIRST_CHUNK])


@lru_cache(1024)
def _parse_header(chunk: bytes) -> PngHeader:
    """Reads the chunk IHDR; the images of a dataset have few different ones."""
    if not chunk.startswith(_HEADER_START) or _crc32(chunk[4:21]) != _CRC.unpack_from(chunk, 21)[0]:
        raise undecodable("the PNG does not begin with a sound IHDR")
    header = PngHeader._make(_HEADER.unpack_from(chunk, 8))
    if (
        header.depth not in _DEPTHS.get(header.colour, ())
        or header.compression
        or header.filter
        or header.interlace > 1
    ):
        raise undecodable(f"no such PNG: colour type {header.colour}, bit depth {header.depth}, {header[4:]}")
    if not (header.width and header.height):
        raise undecodable(f"a PNG of {header.width} x {header.height} pixels")
    if header.width > MAX_SIDE or header.height > MAX_SIDE:
        raise RefusedImage(Reason.TOO_LARGE, f"{header.width} x {header.height} pixels; libpng's limit is {MAX_SIDE}")
    return header


def _palette_entries(header: PngHeader, size: int, known: int) -> int:
    if header.colour != PALETTE:
        return 0
    if known or size % 3 or not size:
        raise undecodable("two palettes" if known else f"a palette of {size} bytes")
    return min(size // 3, 1 << header.depth)


def _name(kind: bytes) -> str:
    return ascii(kind.decode("latin-1"))
