"""Pillow writes and reads the orientation too: it is the oracle."""

import io
import struct

import pytest
from PIL import Image

from imagemill.images import probe
from imagemill.images.exif import SIGNATURE, read_orientation

ORIENTATION = 0x0112


def jpeg(**tags):
    exif = Image.Exif()
    exif.update({0x010F: "a camera", 0x0131: "software"} | tags.get("tags", {}))
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def segment(order, *entries, offset=8):
    body = b"".join(struct.pack(order + "HHIHH", *entry, 0) for entry in entries)
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return SIGNATURE + magic + struct.pack(order + "IH", offset, len(entries)) + body


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_pillow_writes(orientation):
    data = jpeg(tags={ORIENTATION: orientation})
    facts = probe(data, formats=("jpeg",), max_pixels=1000)
    assert facts.orientation == orientation
    assert (facts.height, facts.width) == (8, 16), "the stored pixels are left alone"
    assert Image.open(io.BytesIO(data)).getexif()[ORIENTATION] == orientation


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders(order):
    assert read_orientation(segment(order, (0x010F, 2, 1, 0), (ORIENTATION, 3, 1, 8))) == 8


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"http://ns.adobe.com/xap/1.0/\0<x/>", id="other application data"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 6)).replace(b"Exif", b"Fixe"), id="another signature"),
        pytest.param(segment("<", (0x010F, 2, 1, 0)), id="no such entry"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 0)), id="0"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 9)), id="9"),
        pytest.param(segment("<", (ORIENTATION, 4, 1, 6)), id="of another type"),
        pytest.param(segment("<", (ORIENTATION, 3, 2, 6)), id="two of them"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 6), offset=1 << 31), id="far away"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 6))[:-8], id="cut short"),
        pytest.param(segment("<", (ORIENTATION, 3, 1, 6)).replace(b"II*", b"IM*"), id="no byte order"),
    ],
)
def test_nonsense_is_upright(data):
    assert read_orientation(data) == 1


def test_no_exif_is_upright():
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8)).save(buffer, "JPEG")
    assert probe(buffer.getvalue(), formats=("jpeg",), max_pixels=1000).orientation == 1
