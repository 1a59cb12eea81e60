"""The embedded demo: coloured shapes, drawn here with whole numbers only, so that every machine draws the same.

They are packed in CIFAR-10's layout and handed to the `cifar` source: the demo walks the real path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.sources.cifar import SIDE, prepare_cifar
from imagemill.sources.cifar_archive import pickle_batch, pickle_meta, write_archive
from imagemill.sources.tree import PreparedTree, PrepareSummary
from imagemill.spec import CifarSource, ShapesSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from imagemill.progress import Progress

    Plane = NDArray[np.int64]
    Mask = NDArray[np.bool_]

DRAWING_VERSION = 1
"""Version of the pixels; the archive's name carries it."""

_BATCH_IMAGES = 10_000

# Each shape around the origin with radius r, in quarter pixels: x to the right, y downward.
_SHAPES: dict[str, Callable[[Plane, Plane, int], Mask]] = {
    "circle": lambda x, y, r: x * x + y * y <= r * r,
    "square": lambda x, y, r: (abs(x) * 5 <= r * 4) & (abs(y) * 5 <= r * 4),
    "triangle": lambda x, y, r: (y * 4 <= r * 3) & (abs(x) * 2 <= y + r),
    "diamond": lambda x, y, r: abs(x) + abs(y) <= r,
    "plus": lambda x, y, r: (abs(x) <= r) & (abs(y) <= r) & ((abs(x) * 3 <= r) | (abs(y) * 3 <= r)),
    "ring": lambda x, y, r: (x * x + y * y <= r * r) & ((x * x + y * y) * 4 >= r * r),
    "frame": lambda x, y, r: (abs(x) <= r) & (abs(y) <= r) & ((abs(x) * 5 >= r * 3) | (abs(y) * 5 >= r * 3)),
    "saltire": lambda x, y, r: (abs(x) <= r) & (abs(y) <= r) & (abs(abs(x) - abs(y)) * 3 <= r),
    "hourglass": lambda x, y, r: (abs(y) <= r) & (abs(x) <= abs(y)),
    "crescent": lambda x, y, r: (x * x + y * y <= r * r) & ((x * 2 - r) * (x * 2 - r) + y * y * 4 > r * r * 3),
}


def prepare_shapes(source: ShapesSource, tree: PreparedTree, *, downloads: Path, progress: Progress) -> PrepareSummary:
    """Draws the archive unless it is there, and makes the tree of it."""
    drawn = CifarSource(type="cifar", archive=str(draw_archive(source, downloads)))
    return prepare_cifar(drawn, tree, downloads=downloads, progress=progress)


def draw_archive(source: ShapesSource, downloads: Path) -> Path:
    """Returns the archive of a `shapes` source, drawn into `downloads` unless it is there."""
    path = downloads / f"shapes-v{DRAWING_VERSION}-{source.train}-{source.test}-{source.seed}.tar.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path.resolve(), _members(source))
    return path.resolve()


def _members(source: ShapesSource) -> Iterator[tuple[str, bytes]]:
    yield "batches.meta", pickle_meta(label_names=list(_SHAPES), cases_per_batch=min(source.train, _BATCH_IMAGES))
    for number, start in enumerate(range(0, source.train, _BATCH_IMAGES), start=1):
        count = min(_BATCH_IMAGES, source.train - start)
        yield f"data_batch_{number}", _batch(source.seed, "train", start, count)
    for number, start in enumerate(range(0, source.test, _BATCH_IMAGES), start=1):
        count = min(_BATCH_IMAGES, source.test - start)
        # CIFAR-10 has one batch for the test split; more images than that need more names.
        yield "test_batch" if number == 1 else f"test_batch_{number}", _batch(source.seed, "test", start, count)


def _batch(seed: int, split: str, start: int, count: int) -> bytes:
    names = list(_SHAPES)
    labels = [(start + row) % len(names) for row in range(count)]
    filenames = [f"{names[label]}_{split}_{start + row:06d}.png" for row, label in enumerate(labels)]
    pixels = b"".join(_draw(seed, split, start + row, names[label]) for row, label in enumerate(labels))
    return pickle_batch(pixels=pixels, labels=labels, filenames=filenames, title=f"{split} from {start}")


def _draw(seed: int, split: str, number: int, shape: str) -> bytes:
    """Returns one image as three planes: a shape of some colour, place and size on a grainy ground."""
    import numpy as np

    # A hash is random enough, and unlike a generator it never changes between versions of a library.
    grain = hashlib.shake_128(f"{DRAWING_VERSION} {seed} {split} {number}".encode()).digest(16 + SIDE * SIDE)
    chance, noise = grain[:16], np.frombuffer(grain[16:], np.uint8).reshape(SIDE, SIDE)
    radius = 4 * (8 + chance[0] % 6)
    centre_x, centre_y = (4 * SIDE // 2 + value % 17 - 8 for value in chance[1:3])
    y, x = np.indices((SIDE, SIDE), dtype=np.int64) * 4 + 2
    inside = _SHAPES[shape](x - centre_x, y - centre_y, radius)
    planes = []
    for light, dark in zip(chance[3:6], chance[6:9], strict=True):
        plane = np.where(inside, 128 + light % 112, dark % 96).astype(np.int64) + noise % 16
        planes.append(plane.astype(np.uint8).tobytes())
    return b"".join(planes)
