"""Small pictures of sampled images, for the report's page: some of every label, bounded in bytes."""

from __future__ import annotations

import base64
import io
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imagemill.records.example import MalformedExample, decode_features
from imagemill.records.sharding import key_hash
from imagemill.records.tfrecord import read_records

SIDE = 72
"""Pixels of a thumbnail's longer side, at most; smaller images are kept as they are."""

PER_LABEL = 8
LABELS_SHOWN = 60
"""Labels that get pictures, in the order of their ids."""

MAX_BYTES = 2_000_000
"""Bytes of all thumbnails together, as they stand in the page."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One picture; `source` is a `data:` URI."""

    key: str
    width: int
    height: int
    source: str

    @property
    def shown_width(self) -> int:
        return self.width * self._zoom

    @property
    def shown_height(self) -> int:
        return self.height * self._zoom

    @property
    def _zoom(self) -> int:
        """How many pixels of the page a pixel takes: small images are shown larger, not smeared."""
        return max(1, SIDE // max(self.width, self.height))


class _Candidate(NamedTuple):
    """A record of the sample file that may be shown; sorts by hash, so that the choice is the same every time."""

    hashed: int
    key: str
    offset: int


@dataclass(slots=True)
class Gallery:
    """Collects thumbnails by label while a version is validated."""

    by_label: dict[str, list[Thumbnail]] = field(default_factory=dict)

    def collect(self, sample: Path, labels: list[str]) -> None:
        """Takes pictures from the sample, a TFRecord file: each label's first before any label's second."""
        candidates = _candidates(sample)
        chosen = [
            [(label, candidate) for candidate in sorted(candidates[label])[:PER_LABEL]]
            for label in labels
            if candidates[label]
        ]
        left = MAX_BYTES
        with sample.open("rb") as file:
            for row in zip_longest(*chosen[:LABELS_SHOWN]):
                for label, candidate in filter(None, row):
                    thumbnail = _thumbnail(file, candidate)
                    if thumbnail is None or len(thumbnail.source) > left:
                        continue
                    left -= len(thumbnail.source)
                    self.by_label.setdefault(label, []).append(thumbnail)


def _candidates(sample: Path) -> dict[str, list[_Candidate]]:
    found: dict[str, list[_Candidate]] = defaultdict(list)
    with sample.open("rb") as file:
        for offset, payload in read_records(file, where=str(sample)):
            for label, key in _names(payload):
                found[label].append(_Candidate(key_hash(key), key, offset))
    return found


def _names(payload: bytes) -> Iterator[tuple[str, str]]:
    try:
        features = decode_features(payload)
        label, key = features["image/class/text"][0], features["image/filename"][0]
    except (MalformedExample, KeyError, IndexError):
        return  # a finding of `sample_decodes`
    if isinstance(label, bytes) and isinstance(key, bytes):
        yield label.decode(errors="replace"), key.decode(errors="replace")


def _thumbnail(file: BinaryIO, candidate: _Candidate) -> Thumbnail | None:
    file.seek(candidate.offset)
    _, payload = next(read_records(file, where=candidate.key))
    try:
        encoded = decode_features(payload)["image/encoded"][0]
    except (MalformedExample, KeyError, IndexError):
        return None
    return _picture(candidate.key, encoded) if isinstance(encoded, bytes) else None


def _picture(key: str, encoded: bytes) -> Thumbnail | None:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(encoded)) as image:
            warnings.simplefilter("ignore")  # what Pillow merely doubts is shown all the same
            image.draft("RGB", (SIDE * 2, SIDE * 2))
            small = image.convert("RGBA" if "transparency" in image.info or "A" in image.mode else "RGB")
            small.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=75)
    # What Pillow raises for broken images, beyond OSError.
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError):
        return None
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(key, small.width, small.height, source)
