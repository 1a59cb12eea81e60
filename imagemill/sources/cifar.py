"""CIFAR-10 and CIFAR-100: archives of pickled batches become PNG files and an index.

Layout as published by their authors (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.errors import CallerError
from imagemill.index import HEADER, format_row
from imagemill.rows import Row
from imagemill.sources.archive import Archive, fetch_archive
from imagemill.sources.png import PngJob, PngWriter, encoder_version, png_writer
from imagemill.sources.tar_stream import DamagedArchive, read_members
from imagemill.sources.tree import INDEX, LABELS, PreparedTree, PrepareSummary
from imagemill.sources.unpickle import ByteArray, UnsafePickle, load

if TYPE_CHECKING:
    from imagemill.progress import Progress
    from imagemill.spec import CifarSource

SIDE = 32
"""Height and width of the images, in pixels."""

ROW_BYTES = 3 * SIDE * SIDE
"""A row of `data`: the red plane, the green, the blue, each row-major."""

_JOB_IMAGES = 500
_SAFE_STEM = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class _Layout:
    folder: str
    meta: str
    names_key: str
    labels_key: str
    train: re.Pattern[str]
    test: re.Pattern[str]

    def split_of(self, member: str) -> str | None:
        if self.train.fullmatch(member):
            return "train"
        return "test" if self.test.fullmatch(member) else None


_CIFAR10 = _Layout(
    "cifar-10-batches-py",
    "batches.meta",
    "label_names",
    "labels",
    re.compile(r"data_batch_\d{1,3}"),
    re.compile(r"test_batch(_\d{1,3})?"),
)
_CIFAR100 = {
    label: _Layout(
        "cifar-100-python", "meta", f"{label}_label_names", f"{label}_labels", re.compile("train"), re.compile("test")
    )
    for label in ("fine", "coarse")
}


@dataclass
class _Batch:
    split: str
    name: str
    pixels: ByteArray
    labels: list[int]
    images: list[str]

    @property
    def unit(self) -> str:
        return f"{self.split}/{self.name}"


@dataclass
class _Contents:
    """What an archive turned out to hold, besides pixels."""

    label_names: list[str] = field(default_factory=list)
    rows: list[tuple[str, int, str]] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    written: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


def prepare_cifar(source: CifarSource, tree: PreparedTree, *, downloads: Path, progress: Progress) -> PrepareSummary:
    """Makes the tree of a CIFAR archive.

    Images are `<split>/<batch>/<row>_<original name>.png`, labels are class names, and `labels.txt` keeps their ids.

    Raises:
        CallerError: There is no such archive, it is damaged, hostile, or not in CIFAR's layout.
    """
    archive = fetch_archive(
        source.archive, sha256=source.sha256, downloads=downloads, hints=tree.state.hints, progress=progress
    )
    tree.begin(
        {
            "source": source.variant,
            "label": source.label,
            "archive": archive.sha256,
            "encoder": encoder_version(),
        }
    )
    if tree.state.summary is not None and tree.is_whole():
        tree.save()
        rows = tree.state.summary.rows
        return tree.state.summary.model_copy(update={"written": 0, "reused": rows})
    layout = _CIFAR10 if source.variant == "cifar10" else _CIFAR100[source.label]
    contents = _write_batches(archive, layout, tree, progress)
    _require_whole(archive, layout, contents)
    tree.keep_units(contents.units)
    tree.write_file(LABELS, (f"{name}\n".encode() for name in contents.label_names))
    tree.write_file(INDEX, _index_lines(contents))
    rows = len(contents.rows)
    return tree.finish(
        PrepareSummary(rows=rows, written=contents.written, reused=rows - contents.written, skipped=contents.skipped)
    )


def _index_lines(contents: _Contents) -> Iterator[bytes]:
    yield f"{HEADER}\n".encode()
    for name, label, split in sorted(contents.rows):
        yield f"{format_row(Row(name, contents.label_names[label], split))}\n".encode()


@dataclass
class _Writing:
    """A batch whose images are on their way."""

    unit: str
    folder: Path
    jobs: list[tuple[Future[None], int]]

    def finish(self, tree: PreparedTree, progress: Progress) -> None:
        for done, images in self.jobs:
            done.result()
            progress.advance(images)
        tree.finish_unit(self.unit, self.folder)


def _write_batches(archive: Archive, layout: _Layout, tree: PreparedTree, progress: Progress) -> _Contents:
    contents = _Contents()
    # Packed, a pixel takes about three quarters of a byte: near enough to decide whether encoders pay.
    expected = archive.path.stat().st_size // (ROW_BYTES * 3 // 4)
    progress.begin(f"prepare {archive.name}", total=None, unit="images")
    writing: _Writing | None = None
    try:
        with png_writer(images=expected) as writer:
            for batch in _batches(archive, layout, contents):
                begun = None
                if tree.unit_is_whole(batch.unit):
                    progress.advance(len(batch.images))
                else:
                    begun = _begin_unit(batch, tree, writer)
                    contents.written += len(batch.images)
                # The encoders work on this batch while the next one is unpacked; two are in memory, never more.
                if writing is not None:
                    writing.finish(tree, progress)
                writing = begun
            if writing is not None:
                writing.finish(tree, progress)
    finally:
        progress.end()
    return contents


def _batches(archive: Archive, layout: _Layout, contents: _Contents) -> Iterator[_Batch]:
    """Yields the archive's batches, and notes what they and the other members say."""
    for member, value in _pickles(archive, layout, contents):
        if member == layout.meta:
            contents.label_names = _label_names(value, layout, archive.name)
            continue
        batch = _batch(value, layout, member, archive.name)
        if batch.unit in contents.units:
            raise CallerError(f"{archive.name}: the member {member!r} is there twice; fetch the archive again")
        contents.units.append(batch.unit)
        contents.rows += [
            (f"{batch.unit}/{image}", label, batch.split)
            for image, label in zip(batch.images, batch.labels, strict=True)
        ]
        yield batch


def _begin_unit(batch: _Batch, tree: PreparedTree, writer: PngWriter) -> _Writing:
    folder = tree.partial / batch.split / batch.name
    folder.mkdir(parents=True)
    jobs = [(writer.submit(job), len(job.names)) for job in _jobs(batch, folder)]
    return _Writing(batch.unit, folder, jobs)


def _jobs(batch: _Batch, folder: Path) -> Iterator[PngJob]:
    import numpy as np

    count, width = batch.pixels.shape
    flat = np.frombuffer(batch.pixels.data, np.uint8)
    rows = flat.reshape(width, count).T if batch.pixels.column_major else flat.reshape(count, width)
    for start in range(0, len(batch.images), _JOB_IMAGES):
        planes = rows[start : start + _JOB_IMAGES].reshape(-1, 3, SIDE, SIDE)
        pixels = planes.transpose(0, 2, 3, 1).tobytes()
        yield PngJob(str(folder), batch.images[start : start + _JOB_IMAGES], SIDE, pixels)


def _pickles(archive: Archive, layout: _Layout, contents: _Contents) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and value of each member the layout knows; counts the others."""
    try:
        for member in read_members(archive.path):
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            if folder != layout.folder or (name != layout.meta and layout.split_of(name) is None):
                kind = "foreign_file" if member.is_file else "not_a_file"
                contents.skipped[kind] = contents.skipped.get(kind, 0) + 1
                continue
            if not member.is_file:
                raise CallerError(
                    f"{archive.name}: the member {member.name!r} is not a plain file; fetch the archive again"
                )
            try:
                value = load(member.content.read())
            except UnsafePickle as error:
                raise CallerError(
                    f"{archive.name}: the member {member.name!r} was refused: {error}; "
                    "nothing of it was run: fetch the archive from where it is published"
                ) from error
            yield name, _with_text_keys(value, f"{archive.name}: the member {member.name!r}")
    except DamagedArchive as error:
        raise CallerError(f"{archive.name}: {error}; fetch the archive again") from error


def _with_text_keys(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CallerError(f"{where} holds a {type(value).__name__}, not a dictionary; is this a CIFAR archive?")
    return {key if isinstance(key, str) else key.decode("latin-1"): item for key, item in value.items()}


def _label_names(meta: dict[str, Any], layout: _Layout, archive: str) -> list[str]:
    where = f"{archive}: {layout.names_key!r} of {layout.meta!r}"
    names = meta.get(layout.names_key)
    if not isinstance(names, list) or not names:
        raise CallerError(f"{where} is not a list of class names; is this the right `variant`?")
    texts = [_text(name) for name in names]
    for text in texts:
        if text is None or not text.strip() or not text.isprintable():
            raise CallerError(f"{where} has the name {str(text)[:100]!r}, which cannot be a label; repair the archive")
    if len(set(texts)) != len(texts):
        raise CallerError(f"{where} names a class twice; its ids would be ambiguous")
    return [text for text in texts if text is not None]


def _batch(value: dict[str, Any], layout: _Layout, member: str, archive: str) -> _Batch:
    where = f"{archive}: the batch {member!r}"
    pixels = value.get("data")
    if not isinstance(pixels, ByteArray) or len(pixels.shape) != 2 or pixels.shape[1] != ROW_BYTES:
        found = pixels.shape if isinstance(pixels, ByteArray) else type(pixels).__name__
        raise CallerError(f"{where} has 'data' {found}, which must be an array of N x {ROW_BYTES} bytes")
    labels = _list_of(value, layout.labels_key, pixels.shape[0], where)
    filenames = _list_of(value, "filenames", pixels.shape[0], where)
    for row, label in enumerate(labels):
        if type(label) is not int or label < 0:
            raise CallerError(f"{where}: the label of row {row} is {_shown(label)}, which must be a number from 0")
    split = layout.split_of(member) or ""
    return _Batch(split, member, pixels, labels, [_image_name(row, name) for row, name in enumerate(filenames)])


def _list_of(value: dict[str, Any], key: str, count: int, where: str) -> list[Any]:
    items = value.get(key)
    if not isinstance(items, list):
        raise CallerError(f"{where} has no list {key!r}; is this the right `variant`?")
    if len(items) != count:
        raise CallerError(f"{where} has {count} images and {len(items)} {key}; fetch the archive again")
    return items


def _image_name(row: int, original: Any) -> str:
    stem = (_text(original) or "").removesuffix(".png")
    return f"{row:05d}_{stem}.png" if _SAFE_STEM.fullmatch(stem) else f"{row:05d}.png"


def _require_whole(archive: Archive, layout: _Layout, contents: _Contents) -> None:
    if not contents.units:
        raise CallerError(
            f"{archive.name} has no batch in {layout.folder}/; "
            "is it a CIFAR archive of the Python version, and is `variant` right?"
        )
    if not contents.label_names:
        raise CallerError(f"{archive.name} has no member {layout.folder}/{layout.meta}; fetch the archive again")
    classes = len(contents.label_names)
    for name, label, _ in contents.rows:
        if label >= classes:
            raise CallerError(
                f"{archive.name}: {name} has the label {label}, but {layout.meta!r} names {classes} classes"
            )


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


def _shown(value: Any) -> str:
    return str(value)[:40] if isinstance(value, int) else f"a {type(value).__name__}"
