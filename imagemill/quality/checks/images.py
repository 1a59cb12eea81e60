"""Checks of the images as a whole: their formats and sizes, and images that several records share."""

from __future__ import annotations

from collections import Counter

from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults
from imagemill.quality.report import Severity
from imagemill.version.facts import FACTS, Facts, Sharing

ONE_COLOUR_SPREAD = 8
"""Values of a channel, of 256, within which an image counts as of one colour: JPEG makes no flat surface quite flat."""

_NO_FACTS = f"the version has no {FACTS} that could be read"


def _facts(evidence: Evidence) -> Outcome:
    facts, manifest = evidence.facts, evidence.manifest
    faults = Faults()
    named = any(entry.name == FACTS for entry in manifest.files)
    if facts is None and named and FACTS in evidence.listing:
        faults.add(FACTS, "is not readable")
    if facts is not None:
        _compare_facts(facts, evidence, faults)
    return Outcome(
        observed=f"{facts.images.records if facts else 0:,} records measured, {faults.count:,} contradictions",
        expected="the same records by split and label as in the shards",
        faults=faults,
        skipped=_NO_FACTS if facts is None else "",
    )


def _compare_facts(facts: Facts, evidence: Evidence, faults: Faults) -> None:
    manifest = evidence.manifest
    stated = Counter[tuple[str, str]]()
    for shard in manifest.shards:
        for number, count in shard.labels.items():
            name = manifest.labels[number] if 0 <= number < len(manifest.labels) else f"(id {number})"
            stated[shard.split, name] += count
    found = Counter({(split, label): n for split, counts in facts.labels.items() for label, n in counts.items()})
    for split, label in sorted(found.keys() | stated.keys()):
        if found[split, label] != stated[split, label]:
            detail = f"{found[split, label]:,} records, the shards have {stated[split, label]:,}"
            faults.add(FACTS, f"split {split}, label {label}: {detail}")
    images = facts.images
    measured = {"images": images.records, "formats": sum(images.formats.values())}
    for what, count in measured.items():
        if count != stated.total():
            faults.add(FACTS, f"{what}: {count:,} records, the shards have {stated.total():,}")


def _image_formats(evidence: Evidence) -> Outcome:
    faults = Faults()
    formats = evidence.facts.images.formats if evidence.facts else {}
    wanted = evidence.plan.settings.formats if evidence.plan else ()
    for name, count in formats.items():
        if name not in wanted:
            faults.add(FACTS, f"{count:,} images are {name}")
    return Outcome(
        observed=", ".join(f"{count:,} {name}" for name, count in formats.items()) or "no image",
        expected=f"only {' or '.join(wanted)}" if wanted else "the planned formats",
        faults=faults if wanted else Faults(),
        skipped=_NO_FACTS if evidence.facts is None else "" if wanted else "there is no plan that names formats",
    )


def _image_sizes(evidence: Evidence) -> Outcome:
    faults = Faults()
    settings = evidence.settings
    if evidence.facts is None or not evidence.facts.images.records:
        return Outcome(observed="", expected=_sides(evidence), skipped=_NO_FACTS if evidence.facts is None else "empty")
    images = evidence.facts.images
    for what, side in (("high", images.height), ("wide", images.width)):
        if side.min < settings.min_side:
            faults.add(FACTS, f"an image is {side.min:,} pixels {what}")
        if settings.max_side is not None and side.max > settings.max_side:
            faults.add(FACTS, f"an image is {side.max:,} pixels {what}")
    return Outcome(
        observed=f"{images.width.min:,} to {images.width.max:,} pixels wide, "
        f"{images.height.min:,} to {images.height.max:,} high",
        expected=_sides(evidence),
        faults=faults,
    )


def _sides(evidence: Evidence) -> str:
    most = evidence.settings.max_side
    return f"sides of at least {evidence.settings.min_side:,} pixels" + (f", at most {most:,}" if most else "")


def _image_orientation(evidence: Evidence) -> Outcome:
    faults = Faults()
    turned = evidence.facts.images.orientations if evidence.facts else {}
    for orientation, count in turned.items():
        faults.add(FACTS, f"{count:,} images have the EXIF orientation {orientation}")
    return Outcome(
        observed=f"{sum(turned.values()):,} images are stored turned or mirrored",
        expected="pixels that are stored upright",
        faults=faults,
        skipped=_NO_FACTS if evidence.facts is None else "",
    )


def _identical_images(evidence: Evidence) -> Outcome:
    return _judge_sharing(evidence, "identical", evidence.settings.max_identical, "images that no other record has")


def _label_conflicts(evidence: Evidence) -> Outcome:
    most = evidence.settings.max_label_conflicts
    return _judge_sharing(evidence, "label_conflicts", most, "one label for the same bytes")


def _split_leaks(evidence: Evidence) -> Outcome:
    return _judge_sharing(
        evidence, "split_leaks", evidence.settings.max_split_leaks, "the same bytes in one split only"
    )


def _judge_sharing(evidence: Evidence, kind: str, most: float, wanted: str) -> Outcome:
    sharing: Sharing = getattr(evidence.facts.sharing, kind) if evidence.facts else Sharing()
    faults = Faults()
    for example in sharing.examples:
        records = ", ".join(f"{record.key} ({record.split}, {record.label})" for record in example.records)
        faults.add(FACTS, f"the same bytes, sha256 {example.sha256[:12]}…: {records}")
    faults.count = sharing.groups
    share = sharing.records / evidence.manifest.records if evidence.manifest.records else 0.0
    return Outcome(
        observed=f"{sharing.groups:,} images are shared by {sharing.records:,} records ({share:.2%})",
        expected=f"{wanted}; up to {most:.2%} of the records otherwise is a warning",
        faults=faults,
        skipped=_NO_FACTS if evidence.facts is None else "",
        tolerable=share <= most,
    )


def _one_colour(evidence: Evidence) -> Outcome:
    faults = Faults()
    decoded = [
        (sampled.row, sampled.found)
        for sampled in evidence.sample
        if sampled.found is not None and not sampled.found.unparsed and not sampled.found.undecoded
    ]
    for row, found in decoded:
        if found.spread <= ONE_COLOUR_SPREAD:
            faults.add(row.shard, "the image is of one colour", offset=row.offset, key=row.key)
    most = evidence.settings.max_one_colour
    return Outcome(
        observed=f"{faults.count:,} of {len(decoded):,} sampled images are of one colour",
        expected=f"images with something in them; up to {most:.2%} of one colour is a warning",
        faults=faults,
        skipped="" if decoded else "no record could be sampled",
        tolerable=faults.count <= most * len(decoded),
    )


FACTS_AGREE = Check(
    name="facts",
    judge=_facts,
    advice="The statistics do not describe these shards; convert again with `force`, and report it if it comes back.",
)
IMAGE_FORMATS = Check(
    name="image_formats",
    judge=_image_formats,
    advice="The conversion let formats through that the plan does not name; convert again with `force`, and report it "
    "if it comes back.",
)
IMAGE_SIZES = Check(
    name="image_sizes",
    judge=_image_sizes,
    advice="Drop or scale those images in the source; or change `validation.min_side` and `max_side` in the spec.",
)
IMAGE_ORIENTATION = Check(
    name="image_orientation",
    judge=_image_orientation,
    severity=Severity.WARNING,
    advice="TensorFlow decodes pixels as they are stored and ignores EXIF, so that training sees these images lying on "
    "their side: turn them upright in the source, such as by `exiftran -a`.",
)
IDENTICAL_IMAGES = Check(
    name="identical_images",
    judge=_identical_images,
    advice="A few copies are usual in found data, and weigh double in training. Many are often one placeholder for "
    "images that are not there: look at the examples, and drop copies from the index.",
)
LABEL_CONFLICTS = Check(
    name="label_conflicts",
    judge=_label_conflicts,
    advice="The same image teaches several classes. Correct those labels in the index, or drop the rows; above "
    "`validation.max_label_conflicts` the version is held back.",
)
SPLIT_LEAKS = Check(
    name="split_leaks",
    judge=_split_leaks,
    advice="What is tested was seen in training, so that results look better than they are. Drop the copies, or give "
    "them one `group` in the index, which keeps them in one split.",
)
ONE_COLOUR = Check(
    name="one_colour",
    judge=_one_colour,
    advice="Images without content are often failed exports: look at them, and drop them from the index.",
)
