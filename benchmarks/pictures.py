"""Draws a tree of CIFAR-size PNG with an index: `python -m benchmarks.pictures FOLDER --rows N [--distinct N]`.

Smooth colours with a little grain compress as CIFAR's photographs do, to about 2.4 KB. Rows beyond `--distinct` are
hard links: files of their own to whoever reads them, and a million of them are made in a minute.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
CLASSES = 10
FILES_IN_FOLDER = 1_000
GRAIN = 9.0


def draw(distinct: int) -> Iterator[bytes]:
    """Yields PNG files: four random corner colours, blended, with grain."""
    generator = np.random.default_rng(0)
    across = np.linspace(0, 1, SIDE)[None, :, None]
    down = np.linspace(0, 1, SIDE)[:, None, None]
    for _ in range(distinct):
        corners = generator.uniform(0, 255, (4, 1, 1, 3))
        colours = (corners[0] * (1 - across) + corners[1] * across) * (1 - down) + (
            corners[2] * (1 - across) + corners[3] * across
        ) * down
        pixels = np.clip(colours + generator.normal(0, GRAIN, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        yield buffer.getvalue()


def write_tree(folder: Path, *, rows: int, distinct: int) -> None:
    """Writes `images/` and `index.csv`; the folder appears when it is whole."""
    unfinished = folder.with_name(f"{folder.name}.part")
    images = unfinished / "images"
    for number in range(-(-rows // FILES_IN_FOLDER)):
        (images / f"{number:04d}").mkdir(parents=True, exist_ok=True)
    names = [f"{number // FILES_IN_FOLDER:04d}/{number:07d}.png" for number in range(rows)]
    for name, data in zip(names, draw(min(distinct, rows)), strict=False):
        (images / name).write_bytes(data)
    for number in range(distinct, rows):
        os.link(images / names[number % distinct], images / names[number])
    lines = (f"{name},class_{number % CLASSES}\n" for number, name in enumerate(names))
    with (unfinished / "index.csv").open("w") as index:
        index.writelines(lines)
    unfinished.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--distinct", type=int, default=60_000)
    options = parser.parse_args()
    write_tree(options.folder, rows=options.rows, distinct=options.distinct)


if __name__ == "__main__":
    main()
