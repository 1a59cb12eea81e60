"""Checks of a version against the published one: what it may not lose, and how far it may be from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

from imagemill.diff.model import DIFF, Change, Pair, VersionDiff
from imagemill.manifest import MANIFEST, Manifest
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Against, Evidence, Faults
from imagemill.quality.report import Severity
from imagemill.version.facts import FACTS, Extent

_IF_MEANT = (
    "If it is meant, publish with `imagemill publish NAME VERSION --force --reason ...`, "
    "or change `{limit}` in the spec."
)


def _against(judge: Callable[[Evidence, Against], Outcome]) -> Callable[[Evidence], Outcome]:
    """Skips a check where there is nothing to compare with."""

    def judge_evidence(evidence: Evidence) -> Outcome:
        if evidence.against is None:
            return Outcome(observed="", expected="", skipped=evidence.no_base)
        return judge(evidence, evidence.against)

    return judge_evidence


def _with_diff(judge: Callable[[Evidence, VersionDiff], Outcome]) -> Callable[[Evidence], Outcome]:
    """Skips a check where the versions' indexes could not be compared."""

    def judge_against(evidence: Evidence, against: Against) -> Outcome:
        if against.diff is None:
            return Outcome(observed="", expected="", skipped=against.diff_problem)
        return judge(evidence, against.diff)

    return _against(judge_against)


def _row_drift(evidence: Evidence, against: Against) -> Outcome:
    drift = evidence.settings.drift
    before, after = _by_split(against.manifest), _by_split(evidence.manifest)
    faults = Faults()
    for name, was in {"": before.total(), **before}.items():
        now = after[name] if name else after.total()
        where = f"split {name}: " if name else ""
        if was - now > drift.max_shrink * was:
            faults.add(MANIFEST, f"{where}{now:,} records, {(was - now) / was:.1%} fewer than {was:,}")
        elif now - was > drift.max_growth * was:
            faults.add(MANIFEST, f"{where}{now:,} records, {now / max(was, 1):,.1f} times the {was:,} before")
    return Outcome(
        observed=f"{after.total():,} records, {before.total():,} in {against.version}",
        expected=f"at most {drift.max_shrink:.1%} fewer, at most {drift.max_growth:g} times as many on top",
        faults=faults,
    )


def _by_split(manifest: Manifest) -> Counter[str]:
    counts: Counter[str] = Counter()
    for shard in manifest.shards:
        counts[shard.split] += shard.records
    return counts


def _by_label(manifest: Manifest) -> Counter[str]:
    counts: Counter[str] = Counter()
    for shard in manifest.shards:
        for label, count in shard.labels.items():
            if count and 0 <= label < len(manifest.labels):
                counts[manifest.labels[label]] += count
    return counts


def _labels_kept(evidence: Evidence, against: Against) -> Outcome:
    was, now = against.manifest.labels, evidence.manifest.labels
    faults = Faults()
    for label, name in enumerate(was):
        if label >= len(now) or now[label] != name:
            there = repr(now[label]) if label < len(now) else "not there"
            faults.add(MANIFEST, f"label id {label} was {name!r} and is {there}")
    before, after = _by_label(against.manifest), _by_label(evidence.manifest)
    for name in was:
        if before[name] and not after[name]:
            faults.add(MANIFEST, f"label {name!r} had {before[name]:,} records and has none")
    return Outcome(
        observed=f"{len(was):,} labels before, {len(now):,} now, {faults.count:,} lost or changed",
        expected=f"every label of {against.version}, with its id and with records",
        faults=faults,
    )


def _new_labels(evidence: Evidence, against: Against) -> Outcome:
    known, counts = set(against.manifest.labels), _by_label(evidence.manifest)
    faults = Faults()
    for name in evidence.manifest.labels:
        if name not in known:
            faults.add(MANIFEST, f"label {name!r} is new, with {counts[name]:,} records")
    return Outcome(
        observed=f"{faults.count:,} new labels", expected=f"no other labels than {against.version} has", faults=faults
    )


def _label_drift(evidence: Evidence, against: Against) -> Outcome:
    drift = evidence.settings.drift
    before, after = _by_label(against.manifest), _by_label(evidence.manifest)
    # Labels that came or went are findings of their own, and would shift the share of all others.
    names = [name for name in before if after[name]]
    was, now = _shares(before, names), _shares(after, names)
    shift, label = max(((abs(now[name] - was[name]), name) for name in names), default=(0.0, ""))
    divergence = jensen_shannon(was, now)
    faults = Faults()
    if shift > drift.max_label_shift:
        faults.add(MANIFEST, f"label {label!r} is {now[label]:.1%} of the records, it was {was[label]:.1%}")
    if divergence > drift.max_label_divergence:
        faults.add(MANIFEST, f"the distributions diverge by {divergence:.3f} bits")
    return Outcome(
        observed=f"largest shift of a label's share {shift:.1%} (L-infinity), Jensen-Shannon {divergence:.3f} bits",
        expected=f"at most {drift.max_label_shift:.1%} and {drift.max_label_divergence:g} bits",
        faults=faults,
        skipped="" if names else "no label has records in both",
    )


def _shares(counts: Counter[str], names: list[str]) -> dict[str, float]:
    total = sum(counts[name] for name in names) or 1
    return {name: counts[name] / total for name in names}


def jensen_shannon(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Returns the Jensen-Shannon divergence of two distributions over the same names, in bits: from 0 to 1."""

    def towards_middle(one: Mapping[str, float], other: Mapping[str, float]) -> float:
        return sum(p * math.log2(2 * p / (p + other[name])) for name, p in one.items() if p > 0)

    return max(0.0, (towards_middle(first, second) + towards_middle(second, first)) / 2)


def _image_drift(evidence: Evidence, against: Against) -> Outcome:
    most = evidence.settings.drift.max_size_change
    if evidence.facts is None or against.facts is None:
        return Outcome(observed="", expected="", skipped=f"one of the versions has no {FACTS} that could be read")
    before, after = against.facts.images, evidence.facts.images
    faults, told = Faults(), []
    for what, was, now in (
        ("bytes", _mean(before.bytes, before.records), _mean(after.bytes, after.records)),
        ("height", _mean(before.height, before.records), _mean(after.height, after.records)),
        ("width", _mean(before.width, before.records), _mean(after.width, after.records)),
    ):
        told.append(f"{what} {now:,.0f} (was {was:,.0f})")
        if abs(now - was) > most * was:
            faults.add(FACTS, f"mean {what} is {now:,.0f}, it was {was:,.0f}")
    return Outcome(
        observed=f"means: {', '.join(told)}",
        expected=f"means within {most:.0%} of those of {against.version}",
        faults=faults,
        skipped="" if before.records and after.records else "one of the versions has no record",
    )


def _mean(extent: Extent, records: int) -> float:
    return extent.sum / records if records else 0.0


def _moved_splits(evidence: Evidence, diff: VersionDiff) -> Outcome:
    return Outcome(
        observed=f"{diff.total.moved:,} of {diff.common:,} images are in another split than in {diff.base}",
        expected="none",
        faults=_told(diff, Change.MOVED, diff.moved, diff.total.moved),
    )


def _relabelled(evidence: Evidence, diff: VersionDiff) -> Outcome:
    most, count = evidence.settings.drift.max_relabelled, diff.total.relabelled
    over = count > most * diff.common
    return Outcome(
        observed=f"{count:,} of {diff.common:,} images have another label than in {diff.base}{_of(count, diff)}",
        expected=f"at most {most:.1%}",
        faults=_told(diff, Change.RELABELLED, diff.relabelled, count) if over else Faults(),
    )


def _changed_images(evidence: Evidence, diff: VersionDiff) -> Outcome:
    most, count = evidence.settings.drift.max_changed, diff.total.changed
    over = count > most * diff.common
    return Outcome(
        observed=f"{count:,} of {diff.common:,} images have other bytes than in {diff.base}{_of(count, diff)}",
        expected=f"at most {most:.1%}",
        faults=_told(diff, Change.CHANGED, (), count) if over else Faults(),
    )


def _of(count: int, diff: VersionDiff) -> str:
    return f" ({count / diff.common:.1%})" if diff.common else ""


def _told(diff: VersionDiff, change: Change, pairs: tuple[Pair, ...], count: int) -> Faults:
    """Returns the commonest pairs, then examples; it counts records."""
    faults = Faults()
    for pair in pairs[:5]:
        faults.add(DIFF, f"{pair.records:,} records: {pair.before} → {pair.after}")
    for example in diff.examples.get(change, ()):
        faults.add("", str(example), key="")
    faults.count = count
    return faults


ROW_DRIFT = Check(
    name="row_drift",
    judge=_against(_row_drift),
    advice="Look for a source that was cut short, or a filter too many. "
    + _IF_MEANT.format(limit="validation.drift.max_shrink` or `max_growth"),
)
LABELS_KEPT = Check(
    name="labels_kept",
    judge=_against(_labels_kept),
    advice="Models trained on the published version read ids: a label that moves is misread, and one that vanishes is "
    "never right again. Restore the label's rows or its place in `labels.names`. "
    + _IF_MEANT.format(limit="validation.checks"),
)
NEW_LABELS = Check(
    name="new_labels",
    judge=_against(_new_labels),
    severity=Severity.WARNING,
    advice="Look whether they are new classes, or old ones misspelt. `labels.names` in the spec closes the list.",
)
LABEL_DRIFT = Check(
    name="label_drift",
    judge=_against(_label_drift),
    advice="Look for a class whose images were lost, doubled or mislabelled. "
    + _IF_MEANT.format(limit="validation.drift.max_label_shift` or `max_label_divergence"),
)
IMAGE_DRIFT = Check(
    name="image_drift",
    judge=_against(_image_drift),
    severity=Severity.WARNING,
    advice="Look whether images were scaled or compressed in another way: training sees other pictures than before.",
)
MOVED_SPLITS = Check(
    name="moved_splits",
    judge=_with_diff(_moved_splits),
    advice="What was trained on is tested on now, so that results cannot be compared. Restore the index's splits or "
    "groups, or `splits.fractions` in the spec. " + _IF_MEANT.format(limit="validation.checks"),
)
RELABELLED = Check(
    name="relabelled",
    judge=_with_diff(_relabelled),
    advice="Look whether labels were swapped or shifted in the index, or class folders were exchanged: many images of "
    "one label have another now. " + _IF_MEANT.format(limit="validation.drift.max_relabelled"),
)
CHANGED_IMAGES = Check(
    name="changed_images",
    judge=_with_diff(_changed_images),
    advice="Look whether all images were written anew, or replaced by a placeholder. "
    + _IF_MEANT.format(limit="validation.drift.max_changed"),
)
