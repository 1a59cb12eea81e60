"""WebP: its RIFF container (https://developers.google.com/speed/webp/docs/riff_container).

Animations are refused: TensorFlow 2.21's decoder corrupts its memory on them and takes the process down.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from imagemill.images.facts import ImageFacts, truncated, undecodable

_SIZE = Struct("<I")
_CHUNK = Struct("<4sI")
_ALPHA, _ANIMATION = 0x10, 0x02


class _Size(NamedTuple):
    width: int
    height: int


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def parse(data: bytes) -> ImageFacts:
    """Returns what a WebP's header says.

    Raises:
        RefusedImage: It is animated, cut short, or its parts contradict each other.
    """
    if len(data) < 20:
        raise truncated(f"{len(data)} bytes do not hold a WebP header")
    end = 8 + _SIZE.unpack_from(data, 4)[0]
    if end > len(data):
        raise truncated(f"the container ends at byte {end}, the file at byte {len(data)}")
    canvas: _Size | None = None
    alpha = False
    for kind, body in _chunks(data, end):
        if kind == b"VP8X":
            if body[0] & _ANIMATION:
                raise undecodable("an animated WebP: TensorFlow's decoder crashes on it")
            alpha = bool(body[0] & _ALPHA)
            canvas = _Size(_uint24(body, 4) + 1, _uint24(body, 7) + 1)
        elif kind == b"ALPH":
            alpha = True
        elif kind in (b"VP8 ", b"VP8L"):
            size, own_alpha = _lossy(body) if kind == b"VP8 " else _lossless(body)
            if canvas is not None and canvas != size:
                raise undecodable(f"the image is {size}, its canvas {canvas}")
            has_alpha = alpha if kind == b"VP8 " else own_alpha
            return ImageFacts("webp", size.height, size.width, 4 if has_alpha else 3)
    raise undecodable("a WebP without an image")


def _chunks(data: bytes, end: int) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= end:
        kind, size = _CHUNK.unpack_from(data, position)
        if position + 8 + size > end:
            raise undecodable(f"the chunk at byte {position} is longer than its container")
        yield kind, data[position + 8 : position + 18]
        position += 8 + size + (size & 1)


def _lossy(body: bytes) -> tuple[_Size, bool]:
    if len(body) < 10 or body[0] & 1 or body[3:6] != b"\x9d\x01\x2a":
        raise undecodable("the lossy image does not begin with a key frame")
    size = _Size(int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF)
    if not (size.width and size.height):
        raise undecodable(f"a WebP of {size.width} x {size.height} pixels")
    return size, False


def _lossless(body: bytes) -> tuple[_Size, bool]:
    if len(body) < 5 or body[0] != 0x2F or body[4] >> 5:
        raise undecodable("the lossless image does not begin with its signature")
    bits = int.from_bytes(body[1:5], "little")
    return _Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), bool(bits >> 28 & 1)


def _uint24(body: bytes, position: int) -> int:
    if len(body) < position + 3:
        raise undecodable(f"a WebP header of {len(body)} bytes")
    return int.from_bytes(body[position : position + 3], "little")
