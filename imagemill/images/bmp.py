"""BMP, as TensorFlow's decode_bmp reads it: 8, 24 or 32 bits, without compression, and not a byte too many."""

from __future__ import annotations

from struct import Struct

from imagemill.images.facts import ImageFacts, truncated, undecodable

SIGNATURE = b"BM"
_HEADER = Struct("<10xI4xiixxH")


def parse(data: bytes) -> ImageFacts:
    """Returns what a BMP's header says.

    Raises:
        RefusedImage: TensorFlow would not decode it.
    """
    if len(data) < 32:
        raise truncated(f"{len(data)} bytes do not hold a BMP header")
    pixels_at, width, signed_height, bits = _HEADER.unpack_from(data)
    height = abs(signed_height)  # negative: the rows run from the top
    if bits not in (8, 24, 32):
        raise undecodable(f"a BMP of {bits} bits a pixel; TensorFlow decodes 8, 24 and 32")
    if width <= 0 or not height:
        raise undecodable(f"a BMP of {width} x {height} pixels")
    row_bytes = (width * bits // 8 + 3) // 4 * 4
    expected = pixels_at + row_bytes * height
    if len(data) < expected:
        raise truncated(f"{len(data)} bytes, the header announces {expected}")
    if len(data) > expected:
        raise undecodable(f"{len(data)} bytes, {len(data) - expected} more than the header announces")
    return ImageFacts("bmp", height, width, bits // 8)
