import pickle
from contextlib import suppress

import pytest

from imagemill.images import ImageFacts, RefusedImage, probe, verify_decode
from imagemill.rows import Reason
from tests.support.pictures import END, MISSED, cases, encode, gif, gif_frame, header, noise, pixels, png

FORMATS = ("png", "jpeg", "gif", "webp", "bmp")
ALL = [pytest.param(data, fate, id=name) for name, data, fate in cases()]
PASSING = [pytest.param(data, id=name) for name, data, fate in cases() if isinstance(fate, tuple)]
MISSING = [pytest.param(data, id=name) for name, data, fate in cases() if fate == MISSED]


def look(data, **limits):
    return probe(data, **({"formats": FORMATS, "max_pixels": 100_000_000} | limits))


@pytest.mark.parametrize(("data", "fate"), ALL)
def test_every_picture_meets_its_fate(data, fate):
    if isinstance(fate, Reason):
        with pytest.raises(RefusedImage) as caught:
            look(data)
        assert caught.value.reason == fate, caught.value.detail
    elif fate == MISSED:
        look(data)
    else:
        assert look(data) == ImageFacts(*fate)


@pytest.mark.parametrize("data", MISSING)
def test_what_the_header_check_misses_decoding_finds(data):
    with pytest.raises(RefusedImage) as caught:
        verify_decode(data, look(data))
    assert caught.value.reason == Reason.UNDECODABLE


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "bmp", "webp"])
def test_no_prefix_of_a_picture_passes_or_crashes(name):
    mode = "P" if name == "gif" else "RGB"
    data = encode(noise(mode), name.upper())
    end = len(data) - 1 if name == "gif" else len(data)  # TensorFlow decodes a GIF without its trailer
    for length in range(end):
        with pytest.raises(RefusedImage):
            look(data[:length])


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "bmp", "webp"])
def test_a_flipped_bit_anywhere_never_crashes_the_check(name):
    """`test_tensorflow_decoders` asks TensorFlow whether the verdicts are right."""
    data = encode(noise("P" if name == "gif" else "RGB"), name.upper())
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with suppress(RefusedImage):
            look(bytes(changed))


def test_a_format_that_the_spec_does_not_allow_is_named():
    with pytest.raises(RefusedImage, match="format_not_allowed: gif; the spec allows png, jpeg"):
        look(encode(noise("P"), "GIF"), formats=("png", "jpeg"))


def test_the_pixel_limit_is_inclusive_and_counts_all_frames():
    two_frames = gif(gif_frame(10, 10), gif_frame(10, 10))
    assert look(two_frames, max_pixels=200).frames == 2
    with pytest.raises(RefusedImage, match="too_large: 10 x 10 pixels in 2 frames; the limit is 199"):
        look(two_frames, max_pixels=199)


def test_tensorflow_s_own_limit_holds_whatever_the_spec_says():
    with pytest.raises(RefusedImage, match="too_large: 30000 x 20000 pixels; the limit is 536870911"):
        look(png(header(30_000, 20_000), pixels(), END), max_pixels=1 << 40)


def test_a_refusal_crosses_processes():
    refused = pickle.loads(pickle.dumps(RefusedImage(Reason.TRUNCATED, "cut")))
    assert (refused.reason, refused.detail, str(refused)) == (Reason.TRUNCATED, "cut", "truncated: cut")
