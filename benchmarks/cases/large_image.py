"""One image of 200 MB beside a thousand small ones: below the spec's limit, and above it."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

from benchmarks.cases.case import Measured, Ratio
from benchmarks.cases.conversion import ONE_WORKER
from benchmarks.contest import compete, measure
from benchmarks.workshop import Workshop

SMALL = 1_000
LARGE_BYTES = 200 << 20
COPIES = 3.1
"""The image, its record and the frame around that hold it at once; a little more is the allocator's."""


def run(workshop: Workshop) -> Measured:
    rows, size = workshop.scaled(SMALL), workshop.scaled(LARGE_BYTES)
    small = workshop.tree(rows)
    both = workshop.folder / "inputs" / f"{rows}-and-{size}"
    if not both.exists():
        _add_large(small, both, size)
    alone, taken, refused = "small images alone", "and a large one, taken", "and a large one, refused"
    formats = ["png", "bmp"]
    for planner in (
        workshop.planner(alone, small, formats=formats),
        workshop.planner(taken, both, formats=formats, max_image_bytes=size * 2),
        workshop.planner(refused, both, formats=formats, max_image_bytes=size // 2),
    ):
        measure(planner)
    results = compete([workshop.job(name, *ONE_WORKER) for name in (alone, taken, refused)], repeats=workshop.repeats)
    base, with_large, without = (result.median("peak_bytes") for result in results)
    return Measured(
        title=f"One image of {size >> 20} MiB beside {rows:,} small ones",
        about="A BMP. Above the limit it is a reject `too_large`, decided before its bytes are read.",
        results=results,
        ratios=[
            Ratio("memory that the large image adds, in its own size", (with_large - base) / size, COPIES),
            Ratio("peak memory where it is refused, of the small ones' alone", without / base, 1.05),
        ],
    )


def _add_large(small: Path, both: Path, size: int) -> None:
    shutil.copytree(small, both, copy_function=os.link)
    index = both / "index.csv"
    rows = index.read_text()
    index.unlink()
    index.write_text(rows + "large.bmp,class_0\n")
    width = 4096
    height = size // (3 * width) or 1
    header = struct.pack("<2sIHHI", b"BM", 54 + 3 * width * height, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    row = os.urandom(3 * width)
    with (both / "images" / "large.bmp").open("wb") as file:
        file.write(header)
        for _ in range(height):
            file.write(row)
