"""The dataset card: a version's `README.md`, made from the spec and the facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from imagemill.manifest import Manifest
from imagemill.spec import DatasetSpec
from imagemill.version.facts import Facts

CARD = "README.md"

LABELS_SHOWN = 200
"""Labels in the table; `labels.txt` has all."""


def dataset_card(spec: DatasetSpec, *, version: str, manifest: Manifest, facts: Facts | None) -> bytes:
    """Returns the bytes of the card: the same for the same spec and version.

    Args:
        spec: What people have written about the dataset.
        version: The version's id.
        manifest: Its manifest.
        facts: Its statistics, where there are any.
    """
    lines = [f"# {spec.name}", "", spec.description.strip() or "(No description; the spec's `description` has it.)", ""]
    lines += [*_about(spec), *_contents(version, manifest), *_labels(manifest)]
    if facts is not None and facts.images.records:
        lines += _images(facts)
    lines += _reading(spec.name, manifest)
    return "\n".join(lines).encode(errors="backslashreplace") + b"\n"


def _about(spec: DatasetSpec) -> Iterator[str]:
    about = spec.about
    told = {
        "Homepage": about.homepage,
        "Creator": about.creator,
        "License": about.license or "not stated; ask the owner of the images before you pass them on",
        "Citation": about.citation,
    }
    yield from (f"- {name}: {text}" for name, text in told.items() if text)
    yield ""


def _contents(version: str, manifest: Manifest) -> Iterator[str]:
    yield "## Contents"
    yield ""
    yield f"Version `{version}`, fingerprint `{manifest.fingerprint}`."
    yield ""
    yield "| split | records | shards | bytes |"
    yield "| --- | ---: | ---: | ---: |"
    for split in sorted({shard.split for shard in manifest.shards}):
        shards = [shard for shard in manifest.shards if shard.split == split]
        records, size = sum(shard.records for shard in shards), sum(shard.bytes for shard in shards)
        yield f"| {split} | {records:,} | {len(shards):,} | {size:,} |"
    yield ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(manifest.reject_reasons.items()) if count)
    yield (
        f"{manifest.rows:,} input rows became {manifest.records:,} records; {manifest.rejected:,} were rejected"
        f"{f' ({reasons})' if reasons else ''}, {manifest.duplicates:,} were duplicates of others."
    )
    yield ""


def _labels(manifest: Manifest) -> Iterator[str]:
    counts: Counter[int] = Counter()
    for shard in manifest.shards:
        counts.update(shard.labels)
    yield "## Labels"
    yield ""
    yield "| id | label | records |"
    yield "| ---: | --- | ---: |"
    for label, name in enumerate(manifest.labels[:LABELS_SHOWN]):
        yield f"| {label} | {_escaped(name)} | {counts[label]:,} |"
    if len(manifest.labels) > LABELS_SHOWN:
        yield ""
        yield f"and {len(manifest.labels) - LABELS_SHOWN:,} more; `labels.txt` has all."
    yield ""


def _images(facts: Facts) -> Iterator[str]:
    images = facts.images
    formats = ", ".join(f"{count:,} {name}" for name, count in images.formats.items())
    shared = facts.sharing
    yield "## Images"
    yield ""
    yield f"- {formats}"
    width, height = images.width, images.height
    yield f"- {width.min:,} to {width.max:,} pixels wide, {height.min:,} to {height.max:,} high"
    yield (
        f"- {shared.identical.groups:,} images are there more than once; "
        f"{shared.label_conflicts.groups:,} of them with several labels, "
        f"{shared.split_leaks.groups:,} in several splits"
    )
    yield ""


def _reading(name: str, manifest: Manifest) -> Iterator[str]:
    yield "## Reading it"
    yield ""
    yield "```python"
    yield "import imagemill"
    yield ""
    yield 'reader = imagemill.RecordReader("<this folder>")  # any record by key or position, without TensorFlow'
    if not any(shard.name.endswith(".gz") for shard in manifest.shards):
        yield ""
        yield "import tensorflow_datasets as tfds"
        yield ""
        yield 'builder = tfds.builder_from_directory("<this folder>")'
    yield "```"
    yield ""
    yield f"`validation.html` tells what was checked. Never name this folder in a job: `imagemill path {name}` does."


def _escaped(text: str) -> str:
    """Returns text as Markdown that shows it, in a table: markup is not obeyed."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
