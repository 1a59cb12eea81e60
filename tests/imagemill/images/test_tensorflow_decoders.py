"""TensorFlow is the judge: what it decodes passes, what it does not is refused. One file: its import takes long."""

import pytest

from imagemill.images import RefusedImage, probe, verify_decode
from tests.support.pictures import ANIMATED_WEBP, MISSED, cases

tf = pytest.importorskip("tensorflow")

# Two refusals are ours: a decompression bomb of small frames, which TensorFlow would decode into 300 MB, and animated
# WebP, which corrupts TensorFlow's memory and so cannot even be asked about here.
OURS = {"gif bomb of frames", ANIMATED_WEBP}
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
        verify_decode(data, probe(data, formats=("png", "jpeg", "gif", "webp", "bmp"), max_pixels=100_000_000))
    except RefusedImage:
        return
    assert decoded_shape(data) is not None
