"""Recognise an image by its content and read its header."""

from __future__ import annotations

from collections.abc import Callable, Collection

from imagemill.images import bmp, gif, jpeg, png, webp
from imagemill.images.facts import ImageFacts, RefusedImage
from imagemill.rows import Reason

DECODED_BYTES_LIMIT = 1 << 29
"""TensorFlow refuses to decode an image to this many bytes or more (decode_image_op.cc)."""

_PARSERS: dict[str, Callable[[bytes], ImageFacts]] = {
    "png": png.parse,
    "jpeg": jpeg.parse,
    "gif": gif.parse,
    "webp": webp.parse,
    "bmp": bmp.parse,
}


def image_format(data: bytes) -> str | None:
    """Returns the format that the first bytes announce, or None."""
    if data[:8] == png.SIGNATURE:
        return "png"
    if data[:3] == jpeg.SIGNATURE:
        return "jpeg"
    if data[:6] in gif.SIGNATURES:
        return "gif"
    if webp.is_webp(data):
        return "webp"
    return "bmp" if data[:2] == bmp.SIGNATURE else None


def probe(data: bytes, *, formats: Collection[str], max_pixels: int) -> ImageFacts:
    """Returns what an image's header says, after checking its structure.

    Args:
        data: The whole file.
        formats: Formats allowed.
        max_pixels: More than these, over all frames, are refused before anything is decoded.

    Raises:
        RefusedImage: It is no image, of another format, cut short, too large, or not decodable by TensorFlow.
    """
    found = image_format(data)
    if found is None:
        if not data:
            raise RefusedImage(Reason.EMPTY, "no bytes")
        raise RefusedImage(Reason.NOT_AN_IMAGE, f"begins with {data[:16]!r}")
    if found not in formats:
        allowed = ", ".join(formats)
        raise RefusedImage(Reason.FORMAT_NOT_ALLOWED, f"{found}; the spec allows {allowed}")
    facts = _PARSERS[found](data)
    pixels = facts.height * facts.width * facts.frames
    if pixels > max_pixels or pixels * facts.channels >= DECODED_BYTES_LIMIT:
        frames = "" if facts.frames == 1 else f" in {facts.frames} frames"
        limit = min(max_pixels, (DECODED_BYTES_LIMIT - 1) // facts.channels)
        raise RefusedImage(Reason.TOO_LARGE, f"{facts.width} x {facts.height} pixels{frames}; the limit is {limit}")
    return facts
