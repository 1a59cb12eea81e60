"""The checks of the classes."""

from __future__ import annotations

from collections import Counter, defaultdict

from imagemill.labels import LABELS as LABELS_FILE
from imagemill.manifest import MANIFEST, Manifest
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults, Sampled
from imagemill.quality.report import Severity


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


def _label_balance(evidence: Evidence) -> Outcome:
    if evidence.limited:
        return Outcome(observed="", expected="", skipped="the version holds a limited sample of the rows")
    manifest, most = evidence.manifest, evidence.settings.max_imbalance
    faults = Faults()
    counts, by_split = Counter[int](), defaultdict[str, Counter[int]](Counter)
    for shard in manifest.shards:
        counts.update(shard.labels)
        by_split[shard.split].update(shard.labels)
    named = Counter(
        {manifest.labels[label]: n for label, n in counts.items() if n and 0 <= label < len(manifest.labels)}
    )
    ranked = named.most_common()
    if len(ranked) == 1:
        faults.add(MANIFEST, f"{ranked[0][0]!r} is the only label with records")
    elif ranked and ranked[0][1] > most * ranked[-1][1]:
        (largest, many), (smallest, few) = ranked[0], ranked[-1]
        faults.add(MANIFEST, f"label {largest!r} has {many:,} records, label {smallest!r} has {few:,}")
    main = max(by_split, key=lambda split: by_split[split].total(), default="")
    for label, name in enumerate(manifest.labels):
        if counts[label] and not by_split[main][label]:
            faults.add(MANIFEST, f"label {name!r} has {counts[label]:,} records, and none in split {main}")
    ratio = f"{ranked[0][1] / ranked[-1][1]:,.1f} times the smallest" if ranked else "of no size"
    return Outcome(
        observed=f"the largest label is {ratio}",
        expected=f"at least two labels, the largest at most {most:,g} times the smallest, all in the largest split",
        faults=faults,
        skipped="" if ranked else "there is no record",
    )


LABELS = Check(
    name="labels",
    judge=_labels,
    advice="Check the index's label column and `labels.names` in the spec; a label without images needs images, or "
    "`validation.min_records_per_label: 0`.",
)
LABEL_BALANCE = Check(
    name="label_balance",
    judge=_label_balance,
    severity=Severity.WARNING,
    advice="A rare class is learned badly, and one without training images not at all: collect more of it, sample "
    "classes evenly in training, or raise `validation.max_imbalance`.",
)
