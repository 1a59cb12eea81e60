"""The check of the classes."""

from __future__ import annotations

from collections import Counter

from imagemill.labels import LABELS as LABELS_FILE
from imagemill.manifest import MANIFEST, Manifest
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults, Sampled


def _labels(evidence: Evidence) -> Outcome:
    manifest = evidence.manifest
    faults = Faults()
    if evidence.labels_txt is not None and list(evidence.labels_txt) != manifest.labels:
        faults.add(LABELS_FILE, "lists other labels than the manifest")
    counts = _count_ids(manifest, faults)
    for sampled in evidence.sample:
        _judge_record(sampled, manifest.labels, faults)
    least = evidence.settings.min_records_per_label
    if not evidence.limited:
        for label, name in enumerate(manifest.labels):
            if counts[label] < least:
                faults.add(MANIFEST, f"label {name!r} has {counts[label]:,} records, at least {least:,} are wanted")
    covered = sum(1 for label in range(len(manifest.labels)) if counts[label])
    return Outcome(
        observed=f"{covered:,} of {len(manifest.labels):,} labels have records",
        expected=f"at least {least:,} records of every label, ids within the labels, texts that match their ids",
        faults=faults,
    )


def _count_ids(manifest: Manifest, faults: Faults) -> Counter[int]:
    counts: Counter[int] = Counter()
    for shard in manifest.shards:
        counts.update(shard.labels)
        for label in shard.labels:
            if not 0 <= label < len(manifest.labels):
                faults.add(shard.name, f"has records with label id {label}, there are {len(manifest.labels)} labels")
    return counts


def _judge_record(sampled: Sampled, names: list[str], faults: Faults) -> None:
    found, row = sampled.found, sampled.row
    if found is None or found.unparsed:
        return
    detail = ""
    if not 0 <= found.label < len(names):
        detail = f"has label id {found.label}, there are {len(names)} labels"
    elif found.text != names[found.label]:
        detail = f"has label id {found.label} ({names[found.label]!r}) and the text {found.text!r}"
    elif found.label != row.label:
        detail = f"has label id {found.label}, its index says {row.label}"
    if detail:
        faults.add(row.shard, detail, offset=row.offset, key=row.key)


LABELS = Check(
    name="labels",
    judge=_labels,
    advice="Check the index's label column and `labels.names` in the spec; a label without images needs images, or "
    "`validation.min_records_per_label: 0`.",
)
