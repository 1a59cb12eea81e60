"""Cuts real pictures into a CIFAR-10-layout archive: `python -m benchmarks.real_cifar PICTURES ARCHIVE [--images N]`.

CIFAR's own archive cannot be fetched everywhere; pictures can be found anywhere (an icon theme, a photo folder).
Every image is another 32x32 crop at a position drawn from a fixed seed; the class is the number of
the picture's folder, modulo ten.
"""

from __future__ import annotations

import argparse
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
CLASSES = [f"folder_{number}" for number in range(10)]


def load_pictures(root: Path) -> list[tuple[int, np.ndarray]]:
    """Returns (class, height x width x 3 uint8) of every picture at least one crop wide."""
    pictures = []
    folders: dict[str, int] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg"} or path.is_symlink():
            continue
        with Image.open(path) as image:
            if min(image.size) < SIDE:
                continue
            rgba = image.convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
        number = folders.setdefault(path.parent.name, len(folders))
        pictures.append((number % len(CLASSES), np.asarray(flat)))
    return pictures


class Crops:
    """Random crops, no two of them alike: a dataset whose splits share images is one that validation refuses."""

    def __init__(self, pictures: list[tuple[int, np.ndarray]]) -> None:
        self._pictures = pictures
        self._generator = np.random.default_rng(0)
        self._seen: set[bytes] = set()

    def draw(self) -> tuple[int, np.ndarray]:
        """Returns (class, 3072 uint8: the red, the green, the blue plane)."""
        while True:
            label, picture = self._pictures[self._generator.integers(len(self._pictures))]
            top, left = (self._generator.integers(limit - SIDE + 1) for limit in picture.shape[:2])
            crop = picture[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1).ravel()
            if (data := crop.tobytes()) not in self._seen:
                self._seen.add(data)
                return label, crop


def batch(crops: Crops, images: int, name: str) -> bytes:
    """Returns one pickled CIFAR-10 batch."""
    labels, rows = zip(*(crops.draw() for _ in range(images)), strict=True)
    filenames = [f"crop_{name}_{row:05d}.png".encode() for row in range(images)]
    content = {b"batch_label": name.encode(), b"labels": list(labels), b"data": np.stack(rows), b"filenames": filenames}
    return pickle.dumps(content, 2)


def write_archive(pictures: list[tuple[int, np.ndarray]], archive: Path, images: int) -> None:
    """Writes five train batches and a test batch, in CIFAR-10's proportions."""
    crops = Crops(pictures)
    meta = {b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3 * SIDE * SIDE}
    members = {"batches.meta": pickle.dumps(meta, 2)}
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        members[name] = batch(crops, images // 6, name)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, payload in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(payload)
            tar.addfile(info, io.BytesIO(payload))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--images", type=int, default=60_000)
    options = parser.parse_args()
    pictures = load_pictures(options.pictures)
    if not pictures:
        parser.error(f"{options.pictures} holds no picture of at least {SIDE}x{SIDE} pixels")
    write_archive(pictures, options.archive, options.images)
    print(f"{options.archive}: {options.images} crops of {len(pictures)} pictures")


if __name__ == "__main__":
    main()
