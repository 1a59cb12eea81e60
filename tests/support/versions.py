"""Writes whole versions without Beam: real shards, real indexes, a real manifest."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imagemill.accounting import CONTENT_MODULUS, Tally
from imagemill.index import format_row
from imagemill.plan import PLAN, ConversionPlan, ConversionSettings, SplitPlan
from imagemill.records.shard_writer import Reference, ShardFiles, ShardReport, record_order, write_shard
from imagemill.records.sharding import key_hash, shard_of
from imagemill.rows import Row
from imagemill.storage import open_store
from imagemill.version.facts import RecordDigest, add_statistics, find_sharing
from imagemill.version.files import REJECTS, entry_of, reject_line, version_files


@dataclass(frozen=True)
class BuiltVersion:
    """A version and the staged images it was made of."""

    folder: Path
    images: Path


def picture(number: int, *, image_format: str = "PNG") -> bytes:
    """Returns a small picture that no other number has."""
    image = Image.new("RGB", (8 + number % 3, 8), (number % 256, number // 256 % 256, 77))
    image.putpixel((1, 1), (255, number % 251, 0))
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def build_version(
    folder: Path,
    images: Path,
    rows: Iterable[Row],
    *,
    labels: Sequence[str],
    dataset: str = "toys",
    shards: dict[str, int],
    settings: ConversionSettings | None = None,
    sample_below: int | None = None,
) -> BuiltVersion:
    """Writes a version of the rows, whose images are staged already; a row names its split and its label by name."""
    settings = settings or ConversionSettings(split_fractions={}, split_names=tuple(shards))
    rows = list(rows)
    folder.mkdir(parents=True)
    reports = [
        _write(folder, images, rows, labels, dataset=dataset, split=split, shard=shard, shards=count, settings=settings)
        for split, count in shards.items()
        for shard in range(count)
    ]
    tally = _tally(rows, reports, labels)
    plan = ConversionPlan(
        dataset=dataset,
        version=folder.name,
        fingerprint="ab" * 32,
        content_digest=f"{tally.content:032x}",
        index=str(images.parent / "index.csv"),
        index_bytes=0,
        images=str(images),
        labels=tuple(labels),
        sample_below=sample_below,
        rows=len(rows),
        splits=tuple(
            SplitPlan(name=split, rows=sum(row.split == split for row in rows), bytes=0, shards=count)
            for split, count in sorted(shards.items())
        ),
        settings=settings,
    )
    (folder / PLAN).write_bytes(plan.to_json())
    rejects = b"".join(reject_line(reject) for report in reports for reject in report.rejects)
    (folder / REJECTS).write_bytes(rejects)
    files = version_files(
        plan=plan,
        shards=[report.entry for report in reports],
        rejects=entry_of(REJECTS, rejects),
        tally=tally,
        images=add_statistics(report.images for report in reports),
        sharing=find_sharing(
            RecordDigest(entry.sha256, entry.key, report.entry.split, labels[entry.label])
            for report in reports
            for entry in report.index
        ),
    )
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (images.parent / "index.csv").write_text("".join(format_row(row) + "\n" for row in rows))
    return BuiltVersion(folder, images)


def _write(
    folder: Path,
    images: Path,
    rows: Sequence[Row],
    labels: Sequence[str],
    *,
    dataset: str,
    split: str,
    shard: int,
    shards: int,
    settings: ConversionSettings,
) -> ShardReport:
    references = [
        Reference(row, list(labels).index(row.label), row.label)
        for row in rows
        if row.split == split and shard_of(key_hash(row.filename), shards) == shard
    ]
    return write_shard(
        sorted(references, key=record_order),
        ShardFiles.named(dataset=dataset, split=split, shard=shard, shards=shards, compression=settings.compression),
        images=open_store(images),
        output=open_store(folder),
        settings=settings,
    )


def _tally(rows: Sequence[Row], reports: Sequence[ShardReport], labels: Sequence[str]) -> Tally:
    tally = Tally()
    for row in rows:
        tally.rows[row.split, row.label] += 1
    for report in reports:
        tally.content = (tally.content + report.content) % CONTENT_MODULUS
        for label, count in report.entry.labels.items():
            tally.records[report.entry.split, labels[label]] += count
        for reject in report.rejects:
            tally.add_reject(reject)
    return tally


def stage(images: Path, rows: Iterable[Row]) -> list[Row]:
    """Draws an image for every row and returns the rows."""
    rows = list(rows)
    for number, row in enumerate(rows):
        path = images / row.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, image_format="JPEG" if row.filename.endswith(".jpg") else "PNG"))
    return rows
