"""TensorFlow is the judge: what it decodes passes, what it does not is refused. One file: its import takes long."""

import re

import pytest

from imagemill.images import RefusedImage, probe, verify_decode
from tests.support.pictures import ANIMATED_WEBP, MISSED, cases, encode, gradient, noise

tf = pytest.importorskip("tensorflow")

# Two refusals are ours: a decompression bomb of small frames, which TensorFlow would decode into 300 MB, and animated
# WebP, which corrupts TensorFlow's memory and so cannot even be asked about here.
OURS = {"gif bomb of frames", ANIMATED_WEBP}
FORMATS = ("png", "jpeg", "gif", "webp", "bmp")
ALL = [pytest.param(data, fate, id=name) for name, data, fate in cases() if name not in OURS]


def decoded_shape(data):
    try:
        return tuple(tf.io.decode_image(data).shape)
    except tf.errors.InvalidArgumentError:
        return None


@pytest.mark.parametrize(("data", "fate"), ALL)
def test_tensorflow_agrees(data, fate):
    shape = decoded_shape(data)
    if not isinstance(fate, tuple):
        assert shape is None
        return
    image_format, height, width, channels, frames = fate[:5]
    assert shape == ((frames,) if image_format in ("gif", "webp") else ()) + (height, width, channels)


@pytest.mark.parametrize(("data", "fate"), ALL)
def test_decode_verification_passes_nothing_that_tensorflow_refuses(data, fate):
    if fate != MISSED and not isinstance(fate, tuple):
        return
    try:
        verify_decode(data, probe(data, formats=FORMATS, max_pixels=100_000_000))
    except RefusedImage:
        return
    assert decoded_shape(data) is not None


def passes(data):
    try:
        return probe(data, formats=FORMATS, max_pixels=100_000_000)
    except RefusedImage:
        return None


def decodes(data, facts):
    try:
        verify_decode(data, facts)
    except RefusedImage:
        return False
    return True


def flipped(data, bits=range(8)):
    for position in range(len(data)):
        for bit in bits:
            changed = bytearray(data)
            changed[position] ^= 1 << (bit + position) % 8
            yield bytes(changed)


JPEGS = {
    "baseline": encode(gradient().resize((20, 18)), "JPEG", optimize=True),
    "progressive": encode(gradient().resize((20, 18)), "JPEG", progressive=True),
    "grey": encode(gradient("L").resize((20, 18)), "JPEG"),
    "restarting": encode(gradient().resize((20, 18)), "JPEG", restart_marker_blocks=1),
}
# A marker that stands for nothing, where a restart marker should: libjpeg seeks the next one, and docs/images.md says
# that such a picture is refused here.
SKIPPED_AT_A_RESTART = re.compile(rb"\xff[\x02-\xbf]")


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in JPEGS.items()])
def test_a_flipped_bit_anywhere_in_a_jpeg_is_judged_as_tensorflow_does(data):
    restarts = b"\xff\xdd" in data
    for changed in flipped(data):
        shape, facts = decoded_shape(changed), passes(changed)
        if facts is None and restarts and SKIPPED_AT_A_RESTART.search(changed):
            continue
        assert shape == (facts and (facts.height, facts.width, facts.channels))


@pytest.mark.parametrize("name", ["png", "gif", "bmp", "webp"])
def test_what_passes_with_a_flipped_bit_tensorflow_decodes_or_the_decode_check_refuses(name):
    data = encode(noise("P" if name == "gif" else "RGB"), name.upper())
    for changed in flipped(data, bits=(0,)):
        facts = passes(changed)
        if facts is not None and decodes(changed, facts):
            assert decoded_shape(changed) is not None
