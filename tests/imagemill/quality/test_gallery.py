"""Thumbnails of the sample: some of every label, bounded, and no crash on what does not decode."""

import base64
import io
import random

import pytest
from PIL import Image

from imagemill.quality import gallery as galleries
from imagemill.quality.gallery import PER_LABEL, SIDE, Gallery
from imagemill.records.example import encode_features
from imagemill.records.tfrecord import frame


def sample(path, records):
    path.write_bytes(
        b"".join(
            frame(encode_features({"image/class/text": label, "image/filename": key, "image/encoded": data}))
            for key, label, data in records
        )
    )
    return path


def encoded(size, mode="RGB", image_format="PNG"):
    noise = random.Random(str(size)).randbytes(size[0] * size[1] * len(mode))
    buffer = io.BytesIO()
    Image.frombytes(mode, size, noise).save(buffer, image_format)
    return buffer.getvalue()


def opened(thumbnail):
    prefix, _, data = thumbnail.source.partition(",")
    assert prefix == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "shown"), [((300, 150), (72, 36)), ((10, 8), (70, 56)), ((72, 72), (72, 72)), ((1000, 1), (72, 1))]
)
@pytest.mark.parametrize(("mode", "image_format"), [("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG")])
def test_a_thumbnail_has_the_shape_of_its_image(tmp_path, size, shown, mode, image_format):
    gallery = Gallery()
    gallery.collect(sample(tmp_path / "s", [("a.png", "cat", encoded(size, mode, image_format))]), ["cat"])
    (thumbnail,) = gallery.by_label["cat"]
    assert thumbnail.key == "a.png"
    assert (thumbnail.shown_width, thumbnail.shown_height) == shown
    with opened(thumbnail) as image:
        assert image.size == (thumbnail.width, thumbnail.height)
        assert max(image.size) <= SIDE


def test_every_label_gets_its_first_before_any_gets_its_second(tmp_path, monkeypatch):
    picture = encoded((60, 60))
    labels = [f"label {n}" for n in range(5)]
    path = sample(tmp_path / "s", [(f"{n}.png", labels[n % 5], picture) for n in range(100)])
    whole, bounded = Gallery(), Gallery()
    whole.collect(path, labels)
    assert {label: len(found) for label, found in whole.by_label.items()} == dict.fromkeys(labels, PER_LABEL)
    one = len(whole.by_label[labels[0]][0].source)
    monkeypatch.setattr(galleries, "MAX_BYTES", one * 7)
    bounded.collect(path, labels)
    assert [len(found) for found in bounded.by_label.values()] == [2, 2, 1, 1, 1]


def test_what_does_not_decode_is_left_out(tmp_path):
    path = sample(tmp_path / "s", [("a.png", "cat", b"no image"), ("b.png", "cat", encoded((9, 9)))])
    with path.open("ab") as file:
        file.write(frame(b"\xff\xff no example"))
        file.write(frame(encode_features({"image/class/text": "cat"})))
    gallery = Gallery()
    gallery.collect(path, ["cat"])
    assert [thumbnail.key for thumbnail in gallery.by_label["cat"]] == ["b.png"]
