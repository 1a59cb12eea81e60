"""JPEG: the walk over its markers that libjpeg makes, without decoding a scan (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from struct import Struct

from imagemill.images.exif import UPRIGHT, read_orientation
from imagemill.images.facts import ImageFacts, RefusedImage, truncated, undecodable
from imagemill.rows import Reason

SIGNATURE = b"\xff\xd8\xff"
MAX_SIDE = 65_500
"""libjpeg's own limit (JPEG_MAX_DIMENSION)."""

# What ends entropy-coded data and what stands between segments look the same to libjpeg: it skips to the next marker,
# over stuffed zeros, fill bytes, restart markers and TEM.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _DQT, _APP1 = 0xD8, 0xD9, 0xDA, 0xDB, 0xE1
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Baseline, extended and progressive, by Huffman or arithmetic coding: what libjpeg-turbo decodes."""
_SKIPPED = {0xC4, 0xCC, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""DHT, DAC, DNL, DRI, COM and APPn: nothing in them decides whether the header is sound."""
_DECODED = {_SOS, _DQT, *_FRAMES, *_SKIPPED}
_SIZE = Struct(">H")
_FRAME = Struct(">BHHB")


class _Walk:
    """What the markers seen so far have said."""

    def __init__(self) -> None:
        self.frame: ImageFacts | None = None
        self.wanted_tables: set[int] = set()
        self.tables: set[int] = set()
        self.scans = 0
        self.orientation = UPRIGHT

    def see(self, marker: int, segment: bytes) -> None:
        if marker == _SOS:
            if self.frame is None:
                raise undecodable("a scan before the frame header")
            if not self.wanted_tables <= self.tables:
                raise undecodable(f"quantization tables {sorted(self.wanted_tables - self.tables)} are not defined")
            self.scans += 1
        elif marker == _DQT:
            self._see_tables(segment)
        elif marker in _FRAMES:
            if self.frame is not None:
                raise undecodable("two frame headers")
            self.frame = self._see_frame(segment)
        elif marker == _APP1 and self.orientation == UPRIGHT:
            self.orientation = read_orientation(segment)

    def _see_tables(self, segment: bytes) -> None:
        position = 0
        while position < len(segment):
            precision, table = segment[position] >> 4, segment[position] & 15
            self.tables.add(table)
            position += 129 if precision else 65

    def _see_frame(self, segment: bytes) -> ImageFacts:
        if len(segment) < _FRAME.size:
            raise undecodable(f"a frame header of {len(segment)} bytes")
        precision, height, width, components = _FRAME.unpack_from(segment)
        if precision != 8 or components not in (1, 3, 4) or len(segment) != _FRAME.size + 3 * components:
            raise undecodable(f"{precision} bits, {components} components: TensorFlow decodes 8 bits of 1, 3 or 4")
        if not (height and width):
            raise undecodable(f"a JPEG of {width} x {height} pixels")
        if max(height, width) > MAX_SIDE:
            raise RefusedImage(Reason.TOO_LARGE, f"{width} x {height} pixels; libjpeg's limit is {MAX_SIDE}")
        self.wanted_tables = set(segment[8::3])
        return ImageFacts("jpeg", height, width, 1 if components == 1 else 3)


def parse(data: bytes) -> ImageFacts:
    """Returns what a JPEG's frame header says, after walking its markers to the end of the image.

    Raises:
        RefusedImage: libjpeg would not decode it.
    """
    walk, position, end = _Walk(), 2, len(data)
    while found := _MARKER.search(data, position):
        marker = found[1][0]
        position = found.end()
        if marker == _EOI:
            if walk.frame is None or not walk.scans:
                raise undecodable("the image ends before its first scan")
            return walk.frame._replace(orientation=walk.orientation) if walk.orientation != UPRIGHT else walk.frame
        if marker == _SOI:
            raise undecodable(f"a second image begins at byte {position - 2}, before the first has ended")
        if marker not in _DECODED:
            raise undecodable(f"marker FF{marker:02X} at byte {position - 2}: not a JPEG that libjpeg decodes")
        if position + 2 > end:
            break
        # A segment's length counts its own two bytes; libjpeg forgives a smaller one, and so do TensorFlow and we.
        following = position + _SIZE.unpack_from(data, position)[0]
        if following > end:
            break
        walk.see(marker, data[position + 2 : following])
        position = following
    raise truncated(f"the file ends at byte {end}, without the marker EOI")
