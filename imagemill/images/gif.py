"""GIF: the block structure (https://www.w3.org/Graphics/GIF/spec-gif89a.txt), as far as TensorFlow needs it.

TensorFlow decodes the frames before a defect and drops the rest: the first frame has to be whole, the trailer need not.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from imagemill.images.facts import ImageFacts, truncated, undecodable

SIGNATURES = (b"GIF87a", b"GIF89a")

_SCREEN = Struct("<HHBBB")
_IMAGE = Struct("<HHHHB")
_EXTENSION, _SEPARATOR = 0x21, 0x2C


class _Frame(NamedTuple):
    width: int
    height: int
    following: int


def parse(data: bytes) -> ImageFacts:
    """Returns what a GIF's frames say: their largest height and width, and how many are whole.

    Raises:
        RefusedImage: Its first frame is not whole, or a frame has no colours.
    """
    flags = _SCREEN.unpack_from(data, 6)[2] if len(data) >= 13 else 0
    position = 13 + _table_bytes(flags)
    if len(data) <= position:
        raise truncated(f"{len(data)} bytes do not hold a GIF header")
    height = width = frames = 0
    try:
        while position < len(data):
            kind = data[position]
            if kind == _EXTENSION:
                position = _skip_blocks(data, position + 2)
            elif kind == _SEPARATOR:
                frame = _read_frame(data, position, has_colours=bool(flags & 0x80))
                height, width, frames = max(height, frame.height), max(width, frame.width), frames + 1
                position = frame.following
            else:
                break
    except IndexError:
        if not frames:
            raise truncated(f"the file ends at byte {len(data)}, within its first frame") from None
    if not frames:
        raise undecodable("a GIF without a frame")
    return ImageFacts("gif", height, width, 3, frames)


def _read_frame(data: bytes, position: int, *, has_colours: bool) -> _Frame:
    if position + 11 > len(data):
        raise IndexError
    _, _, width, height, flags = _IMAGE.unpack_from(data, position + 1)
    if not (width and height):
        raise undecodable(f"a GIF frame of {width} x {height} pixels")
    if not (has_colours or flags & 0x80):
        raise undecodable("a GIF frame without a colour table")
    return _Frame(width, height, _skip_blocks(data, position + 11 + _table_bytes(flags)))


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int) -> int:
    """Returns where the sub-blocks at `position` have ended; an IndexError says that they do not."""
    while size := data[position]:
        position += 1 + size
    return position + 1
