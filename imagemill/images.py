"""What an image's bytes say about it, without decoding its pixels."""

from __future__ import annotations

from typing import NamedTuple


class ImageFacts(NamedTuple):
    """What the header of an image says.

    Attributes:
        format: "png", "jpeg", "gif", "webp" or "bmp".
        height: Pixels.
        width: Pixels.
        channels: Of the decoded image, as TensorFlow's `decode_image` gives it.
    """

    format: str
    height: int
    width: int
    channels: int
