"""Whether an image's pixels decode: the expensive half of the check, for `verification: decode`."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator

from imagemill.images import png
from imagemill.images.facts import ImageFacts, undecodable

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Column and row where each interlaced pass starts, and its steps (PNG, section 8.2)."""


def verify_decode(data: bytes, facts: ImageFacts) -> None:
    """Decodes every pixel of an image that `probe` has passed, and keeps none.

    A PNG is inflated and its rows are checked as libpng does: Pillow passes some that TensorFlow refuses. The other
    formats go through Pillow's decoders.

    Raises:
        RefusedImage: The pixels do not decode.
    """
    if facts.format == "png":
        _verify_png(data)
    else:
        _verify_with_pillow(data, facts)


def _verify_png(data: bytes) -> None:
    passes = list(_passes(png.read_header(data)))
    wanted = sum(rows * row_bytes for rows, row_bytes in passes)
    inflater = zlib.decompressobj()
    try:
        pixels = inflater.decompress(_image_data(data), wanted)
        while not inflater.eof and (inflater.decompress(inflater.unconsumed_tail, 1 << 20) or inflater.eof):
            pass  # more pixels than the header announces: libpng drops them, but reads the stream to its end
    except zlib.error as error:
        raise undecodable(f"the pixels do not inflate: {error}") from error
    if len(pixels) < wanted or not inflater.eof:
        raise undecodable(f"{len(pixels)} of {wanted} bytes of pixels, stream ended: {inflater.eof}")
    start = 0
    for rows, row_bytes in passes:
        filters = pixels[start : start + rows * row_bytes : row_bytes]
        if (largest := max(filters)) > 4:
            raise undecodable(f"a row with the unknown filter {largest}")
        start += rows * row_bytes


def _passes(header: png.PngHeader) -> Iterator[tuple[int, int]]:
    """Yields rows and bytes in a row, filter byte included, of each pass that has pixels."""
    bits = header.depth * png.SAMPLES[header.colour]
    for left, top, across, down in _ADAM7 if header.interlace else ((0, 0, 1, 1),):
        columns = -(-(header.width - left) // across)
        rows = -(-(header.height - top) // down)
        if columns > 0 and rows > 0:
            yield rows, 1 + -(-columns * bits // 8)


def _image_data(data: bytes) -> bytes:
    parts, position = [], len(png.SIGNATURE)
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            parts.append(data[position + 8 : position + 8 + size])
        elif kind == b"IEND":
            break
        position += 12 + size
    return b"".join(parts)


def _verify_with_pillow(data: bytes, facts: ImageFacts) -> None:
    # Pillow costs 0.1 s to import, and the default check does without it.
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow merely doubts, `probe` has judged
            with Image.open(io.BytesIO(data)) as image:
                for frame in range(facts.frames):
                    image.seek(frame)
                    image.load()
    except (OSError, ValueError, SyntaxError, IndexError, struct.error, Image.DecompressionBombError) as error:
        raise undecodable(f"{type(error).__name__}: {error}") from error
