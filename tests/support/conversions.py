"""Inputs good and hostile, and the way from them to a version through the job's own command line."""

import hashlib
import io
import random
from pathlib import Path

from PIL import Image

from imagemill.conversion.planning import plan_conversion, write_plan
from imagemill.manifest import MANIFEST, parse_manifest
from imagemill.plan import PLAN, ConversionSettings
from imagemill.spec import Shards
from imagemill.storage import open_store
from imagemill.storage.uri import RESERVED

SETTINGS = ConversionSettings(
    split_fractions={"train": 0.75, "test": 0.25}, split_names=("extra",), max_image_bytes=20_000
)


def picture(seed, *, format="png", size=(8, 6), mode="RGB"):
    rng = random.Random(seed)
    image = Image.frombytes(mode, size, rng.randbytes(size[0] * size[1] * len(mode)))
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


class Inputs:
    """A folder with an index and images.

    Attributes:
        rows: Lines of the index, as bytes.
        good: Bytes of the image of every row that must become a record, by key.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[bytes] = []
        self.good: dict[str, bytes] = {}

    def add(self, name: str, data: bytes, rest: str = "cat") -> None:
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.rows.append(f"{name},{rest}".encode())

    def add_good(self, name: str, data: bytes, rest: str = "cat") -> None:
        self.add(name, data, rest)
        self.good[name] = data

    def write_index(self, *, shuffle: int | None = None, line_end: bytes = b"\n", header: bool = True) -> None:
        rows = list(self.rows)
        if shuffle is not None:
            random.Random(shuffle).shuffle(rows)
        lines = [b"filename,label,split,group", *rows] if header else rows
        (self.root / "index.csv").write_bytes(line_end.join(lines) + line_end)

    def plan(self, version: Path, *, settings=SETTINGS, shards=None, **changes):
        plan = plan_conversion(
            dataset="mixture",
            index_uri=str(self.root / "index.csv"),
            images_uri=str(self.root / "images"),
            settings=settings,
            shards=shards or Shards(count={"train": 3, "test": 2}),
            **{"declared_labels": ("cat", "dog"), **changes},
        )
        return write_plan(plan, version=version.name, version_uri=str(version))


EXPECTED_REJECTS = {
    "bad_row": 3,
    "duplicate_key": 2,
    "empty": 1,
    "format_not_allowed": 1,
    "missing": 1,
    "not_an_image": 1,
    "too_large": 1,
    "truncated": 1,
    "undecodable": 1,
    "unknown_label": 1,
    "unknown_split": 1,
    "unsafe_name": 2,
}
"""Of `mixture`, by reason; it has three duplicates besides."""


def mixture(root: Path) -> Inputs:
    """Returns inputs with every reason for a reject there is, among good rows."""
    inputs = Inputs(root)
    for number in range(60):
        inputs.add_good(f"n/{number}.png", picture(number), ("cat", "dog", "0", "1,extra")[number % 4])
    inputs.add_good("g/ü b#%.jpg", picture(1, format="jpeg"), "dog,,group 1")
    inputs.add_good("twice.png", picture(2), "cat")
    inputs.rows += [b"twice.png,cat", b"twice.png,0"]
    inputs.rows += [b"one column", b"five,cat,a,b,c", b"\xff.png,cat"]
    inputs.rows += [b"../escape.png,cat", b"/etc/passwd,dog"]
    inputs.add("conflict.png", picture(3), "cat")
    inputs.rows += [b"conflict.png,dog"]
    inputs.add("cow.png", picture(4), "cow")
    inputs.add("val.png", picture(5), "dog,val")
    inputs.rows += [b"gone.png,cat", b"gone.png,cat"]
    inputs.add("empty.png", b"")
    inputs.add("large.png", picture(6, size=(100, 100)))
    inputs.add("text.png", b"not an image at all")
    inputs.add("animated.gif", picture(7, format="gif", mode="L"))
    inputs.add("cut.png", picture(8)[:-20])
    twelve_bits = picture(9, format="jpeg").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    inputs.add("deep.jpg", twelve_bits)
    inputs.write_index()
    return inputs


def manifest_of(version: Path):
    return parse_manifest((version / MANIFEST).read_bytes(), where=str(version))


def stray_objects(version: Path):
    """Returns the objects of a version that its manifest does not name."""
    manifest = manifest_of(version)
    shards = {name for shard in manifest.shards for name in (shard.name, shard.index.name)}
    named = {MANIFEST, PLAN, *(file.name for file in manifest.files), *shards}
    return {found.key for found in open_store(str(version)).list()} - named


def digests_of(version: Path):
    """Returns the digest of every object of a version but the plan, which names places."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(version.iterdir())
        if path.name != PLAN and not path.name.startswith(RESERVED)
    }
