"""JPEG: the walk over its markers that libjpeg makes, without decoding a scan (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from struct import Struct

from imagemill.images.exif import UPRIGHT, read_orientation
from imagemill.images.facts import ImageFacts, RefusedImage, truncated, undecodable
from imagemill.images.jpeg_segments import (
    STANDARD_HUFFMAN,
    Component,
    check_conditioning,
    huffman_tables,
    quantization_tables,
    read_components,
    read_scan,
)
from imagemill.rows import Reason

SIGNATURE = b"\xff\xd8\xff"
MAX_SIDE = 65_500
"""libjpeg's own limit (JPEG_MAX_DIMENSION)."""

# What ends entropy-coded data and what stands between segments look the same to libjpeg: it skips to the next marker,
# over stuffed zeros, fill bytes, restart markers and TEM.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _DHT, _DAC, _DQT, _DRI, _APP1 = 0xD8, 0xD9, 0xDA, 0xC4, 0xCC, 0xDB, 0xDD, 0xE1
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Baseline, extended and progressive, by Huffman or arithmetic coding: what libjpeg-turbo decodes."""
_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
_SKIPPED = {0xDC, 0xFE, *range(0xE0, 0xF0)}
"""DNL, COM and APPn: nothing in them decides whether the header is sound, not even a length too small."""
_DECODED = {_SOS, _DHT, _DAC, _DQT, _DRI, *_FRAMES, *_SKIPPED}
_SIZE = Struct(">H")
_FRAME = Struct(">BHHB")


class _Walk:
    """What the markers seen so far have said."""

    def __init__(self) -> None:
        self.frame: ImageFacts | None = None
        self.components: tuple[Component, ...] = ()
        self.progressive = self.arithmetic = False
        self.tables: set[int] = set()
        self.huffman: dict[int, bool] = {}
        self.scans = 0
        self.complete = False  # there was a scan that leaves nothing to another
        self.orientation = UPRIGHT

    def see(self, marker: int, segment: bytes) -> None:
        if marker == _SOS:
            self._see_scan(segment)
        elif marker == _DHT:
            self.huffman.update(huffman_tables(segment))
        elif marker == _DQT:
            self.tables |= quantization_tables(segment)
        elif marker in _FRAMES:
            if self.frame is not None:
                raise undecodable("two frame headers")
            self.progressive, self.arithmetic = marker in _PROGRESSIVE, marker in _ARITHMETIC
            self.frame = self._see_frame(segment)
        elif marker == _APP1 and self.orientation == UPRIGHT:
            self.orientation = read_orientation(segment)
        elif marker == _DAC:
            check_conditioning(segment)
        elif marker == _DRI and len(segment) != 2:
            raise undecodable(f"a restart interval of {len(segment)} bytes")

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
        self.components = read_components(segment[_FRAME.size :])
        return ImageFacts("jpeg", height, width, 1 if components == 1 else 3)

    def _see_scan(self, segment: bytes) -> None:
        if self.frame is None:
            raise undecodable("a scan before the frame header")
        if self.complete:
            raise undecodable("a scan after one of all components")
        scan = read_scan(segment, self.components, progressive=self.progressive, arithmetic=self.arithmetic)
        if missing := scan.quantization - self.tables:
            raise undecodable(f"quantization tables {sorted(missing)} are not defined")
        for table in scan.huffman:
            if not self.huffman.get(table, not self.progressive and table in STANDARD_HUFFMAN):
                raise undecodable(f"Huffman table {table:#04x} is not defined, or is no code")
        self.complete = scan.complete and not self.scans
        self.scans += 1


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
        # A segment's length counts its own two bytes; where libjpeg skips, it forgives a smaller one, and so do we.
        following = position + _SIZE.unpack_from(data, position)[0]
        if following < position + 2 and marker not in _SKIPPED:
            raise undecodable(f"a segment FF{marker:02X} of length {following - position} at byte {position - 2}")
        if following > end:
            break
        walk.see(marker, data[position + 2 : following])
        position = following
    raise truncated(f"the file ends at byte {end}, without the marker EOI")
