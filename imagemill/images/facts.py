"""What a header says of an image, and how an image is refused."""

from __future__ import annotations

from typing import NamedTuple

from imagemill.errors import UnusableData
from imagemill.rows import Reason


class ImageFacts(NamedTuple):
    """What the header of an image says.

    Attributes:
        format: "png", "jpeg", "gif", "webp" or "bmp".
        height: Pixels; of the largest frame, for an animation.
        width: Pixels; likewise.
        channels: Of the decoded image, as TensorFlow's `decode_image` gives it: palettes are 3 (4 with
            transparency), CMYK is 3.
        frames: More than one for an animated GIF.
        orientation: What a JPEG's EXIF says, 1 to 8; 1 is upright, and what all else is taken for. TensorFlow
            decodes the pixels as they are stored, and so height and width are theirs.
    """

    format: str
    height: int
    width: int
    channels: int
    frames: int = 1
    orientation: int = 1


class RefusedImage(UnusableData):
    """Bytes that do not become a record.

    Attributes:
        reason: Why, for counting.
        detail: What was seen, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[object, ...]:
        return RefusedImage, (self.reason, self.detail)


def truncated(detail: str) -> RefusedImage:
    return RefusedImage(Reason.TRUNCATED, detail)


def undecodable(detail: str) -> RefusedImage:
    return RefusedImage(Reason.UNDECODABLE, detail)
