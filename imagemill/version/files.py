"""The small files of a version, made from what its shards and counts came to; the manifest names them all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import google_crc32c

from imagemill.accounting import CONTENT_MODULUS, Tally
from imagemill.errors import UnusableData
from imagemill.labels import LABELS, format_labels
from imagemill.manifest import MANIFEST, FileEntry, Manifest, ShardEntry
from imagemill.plan import ConversionPlan
from imagemill.rows import Reason, Rejected
from imagemill.version.facts import FACTS, Facts, ImageStatistics, SharingFacts

REJECTS = "rejects.jsonl"
DATASET_INFO = "dataset_info.json"
FEATURES = "features.json"

CLASS_NAMES = "image-class-label.labels.txt"
"""Where TFDS looks for the names of the classes of the feature `image/class/label`."""

_TFDS_VERSION = "1.0.0"
"""TFDS wants a version of three numbers; which version of ours it is, the folder's name says."""

_TFDS_CHANNELS = (1, 3, 4)
"""Channel counts that TFDS's image feature decodes to."""


def version_files(
    *,
    plan: ConversionPlan,
    shards: Sequence[ShardEntry],
    rejects: FileEntry,
    tally: Tally,
    images: ImageStatistics,
    sharing: SharingFacts,
) -> dict[str, bytes]:
    """Returns the bytes of a version's small files by name, the manifest last: in that order they are written.

    Raises:
        UnusableData: The job read other rows or images than were planned, or not every planned shard is there.
    """
    _check_content(plan, tally)
    shards = sorted(shards, key=lambda shard: shard.name)
    _check_shards(plan, shards)
    facts = Facts(labels=_labels_by_split(plan, shards), images=images, sharing=sharing)
    files = {LABELS: format_labels(plan.labels), FACTS: facts.model_dump_json(indent=1).encode() + b"\n"}
    if not plan.settings.compression:  # TFDS opens no compressed shards, so such a version does not claim to be TFDS's
        files |= _tfds_files(plan, shards, images)
    entries = [rejects, *(entry_of(name, data) for name, data in files.items())]
    manifest = Manifest(
        dataset=plan.dataset,
        fingerprint=plan.fingerprint,
        labels=list(plan.labels),
        accounts=tally.accounts(),
        reject_reasons={reason.value: count for reason, count in sorted(tally.reasons.items())},
        shards=shards,
        files=sorted(entries, key=lambda entry: entry.name),
    )
    return {**files, MANIFEST: manifest.to_json()}


def entry_of(name: str, data: bytes) -> FileEntry:
    """Returns the manifest's line for a file of these bytes."""
    return FileEntry(name=name, bytes=len(data), crc32c=f"{google_crc32c.value(data):08x}")


def reject_line(rejected: Rejected) -> bytes:
    r"""Returns a reject as a line of `rejects.jsonl`: UTF-8 JSON, bytes that were no text as `\udc80` to `\udcff`."""
    line = {
        "key": rejected.key,
        "row": rejected.row,
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "split": rejected.split,
        "label": rejected.label,
    }
    # A lone surrogate has no UTF-8; its backslash escape is JSON's too.
    return json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def parse_reject(line: bytes) -> Rejected | None:
    """Returns a line of `rejects.jsonl` as a reject, None where it is none."""
    # Not by pydantic: it refuses the lone surrogates that stand for bytes that were no text.
    try:
        values = json.loads(line)
        reason = Reason(values.pop("reason"))
        if all(isinstance(value, str) for value in values.values()):
            return Rejected(reason=reason, **values)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        pass
    return None


def _check_content(plan: ConversionPlan, tally: Tally) -> None:
    read = f"{tally.content % CONTENT_MODULUS:032x}"
    if read != plan.content_digest:
        raise UnusableData(
            f"{plan.index} or an image under {plan.images} changed between planning and conversion: "
            f"{sum(tally.rows.values())} rows read, {plan.rows} planned; run the refresh again"
        )


def _check_shards(plan: ConversionPlan, shards: Sequence[ShardEntry]) -> None:
    planned = {split.name: split.shards for split in plan.splits}
    found = {name: sum(shard.split == name for shard in shards) for name in {*planned, *(s.split for s in shards)}}
    if found != planned or len({shard.name for shard in shards}) != len(shards):
        raise UnusableData(f"{plan.dataset}: shards by split are {found}, planned were {planned}; convert again")


def _labels_by_split(plan: ConversionPlan, shards: Sequence[ShardEntry]) -> dict[str, dict[str, int]]:
    totals = {split.name: [0] * len(plan.labels) for split in plan.splits}
    for shard in shards:
        for label, records in shard.labels.items():
            totals[shard.split][label] += records
    return {split: dict(zip(plan.labels, counts, strict=True)) for split, counts in totals.items()}


def _tfds_files(plan: ConversionPlan, shards: Sequence[ShardEntry], images: ImageStatistics) -> dict[str, bytes]:
    """Returns what `tfds.builder_from_directory` reads, in TFDS 4.9's layout."""
    info = {
        "fileFormat": "tfrecord",
        "name": plan.dataset,
        "splits": [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split.name,
                "numBytes": str(sum(shard.bytes for shard in shards if shard.split == split.name)),
                "shardLengths": [str(shard.records) for shard in shards if shard.split == split.name],
            }
            for split in plan.splits
        ],
        "version": _TFDS_VERSION,
    }
    return {
        DATASET_INFO: _json(info),
        FEATURES: _json(_features(classes=len(plan.labels), channels=_channels(images))),
        CLASS_NAMES: format_labels(plan.labels),
    }


def _channels(images: ImageStatistics) -> int:
    """Returns the channels images decode to: their own where all agree, otherwise RGB."""
    common = list(images.channels)
    return common[0] if len(common) == 1 and common[0] in _TFDS_CHANNELS else 3


def _features(*, classes: int, channels: int) -> dict[str, object]:
    text: dict[str, object] = {"pythonClassName": f"{_TFDS}.text_feature.Text", "text": {}}
    number: dict[str, object] = {
        "pythonClassName": f"{_TFDS}.scalar.Scalar",
        "tensor": {"dtype": "int64", "encoding": "none", "shape": {}},
    }
    encoded: dict[str, object] = {
        "image": {"dtype": "uint8", "shape": {"dimensions": ["-1", "-1", str(channels)]}},
        "pythonClassName": f"{_TFDS}.image_feature.Image",
    }
    label: dict[str, object] = {
        "classLabel": {"numClasses": str(classes)},
        "pythonClassName": f"{_TFDS}.class_label_feature.ClassLabel",
    }
    image = {
        "channels": number,
        "class": _dictionary({"label": label, "text": text}),
        "encoded": encoded,
        "filename": text,
        "format": text,
        "height": number,
        "key": _dictionary({"sha256": text}),
        "width": number,
    }
    return _dictionary({"image": _dictionary(image)})


_TFDS = "tensorflow_datasets.core.features"


def _dictionary(features: dict[str, dict[str, object]]) -> dict[str, object]:
    return {"featuresDict": {"features": features}, "pythonClassName": f"{_TFDS}.features_dict.FeaturesDict"}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
