"""EXIF: the orientation that a camera noted (JEITA CP-3451, section 4.6.4), and nothing else of it."""

from __future__ import annotations

import struct

SIGNATURE = b"Exif\0\0"
UPRIGHT = 1

_ORIENTATION, _SHORT = 0x0112, 3
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def read_orientation(segment: bytes) -> int:
    """Returns the orientation in a JPEG's application segment, 1 to 8; `UPRIGHT` where it says none or nonsense."""
    order = _BYTE_ORDERS.get(segment[6:10])
    if order is None or not segment.startswith(SIGNATURE):
        return UPRIGHT
    tiff = segment[6:]
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for position in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, position)
            if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:  # it ends within what it announces
        pass
    return UPRIGHT
