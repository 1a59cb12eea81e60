"""Checks of the objects of a version, from one listing."""

from __future__ import annotations

from imagemill.diff.model import DIFF
from imagemill.manifest import MANIFEST
from imagemill.plan import PLAN
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults
from imagemill.quality.report import REPORT, REPORT_PAGE, Severity
from imagemill.version.croissant import CROISSANT
from imagemill.version.dataset_card import CARD
from imagemill.version.ids import RETIRED

BESIDES_MANIFEST = frozenset({MANIFEST, PLAN, "run.json", REPORT, REPORT_PAGE, DIFF, CROISSANT, CARD, RETIRED})
"""Objects of a version that its manifest does not name."""


def _shards_present(evidence: Evidence) -> Outcome:
    faults = Faults()
    entries = evidence.manifest.entries
    for entry in entries:
        found = evidence.listing.get(entry.name)
        if found is None:
            faults.add(entry.name, "is missing")
        elif found.size != entry.bytes:
            faults.add(entry.name, f"has {found.size:,} bytes, the manifest says {entry.bytes:,}")
    names = {entry.name for entry in entries}
    for name in evidence.listing:
        if name not in names and _looks_like_shard(name, evidence.manifest.dataset):
            faults.add(name, "is a shard or index that the manifest does not know")
    return Outcome(
        observed=f"{len(entries):,} objects in the manifest, {faults.count:,} missing, of another size, or foreign",
        expected="every shard, index and file of the manifest, in its size, and no other shard",
        faults=faults,
    )


def _looks_like_shard(name: str, dataset: str) -> bool:
    return name.startswith(f"{dataset}-") and (".tfrecord-" in name or ".index-" in name)


def _plan(evidence: Evidence) -> Outcome:
    faults = Faults()
    plan, manifest = evidence.plan, evidence.manifest
    if PLAN not in evidence.listing:
        faults.add(PLAN, "is missing")
    elif plan is None:
        faults.add(PLAN, "is not a readable plan")
    elif plan.fingerprint != manifest.fingerprint:
        faults.add(PLAN, f"plans {plan.fingerprint[:12]}…, the manifest is of {manifest.fingerprint[:12]}…")
    return Outcome(
        observed="the plan is of another version, or cannot be read"
        if faults
        else "plan and manifest are of one fingerprint",
        expected="the plan that the version was converted by",
        faults=faults,
    )


def _shard_checksums(evidence: Evidence) -> Outcome:
    faults = Faults()
    compared = 0
    for entry in evidence.manifest.entries:
        found = evidence.listing.get(entry.name)
        if found is None or found.size != entry.bytes or found.crc32c is None:
            continue
        compared += 1
        if f"{found.crc32c:08x}" != entry.crc32c:
            faults.add(entry.name, f"has crc32c {found.crc32c:08x}, the manifest says {entry.crc32c}")
    return Outcome(
        observed=f"{compared - faults.count:,} of {compared:,} checksums agree",
        expected="the manifest's crc32c for every object",
        faults=faults,
        skipped="" if compared else "no object with a checksum is there",
    )


def _foreign_objects(evidence: Evidence) -> Outcome:
    faults = Faults()
    known = {entry.name for entry in evidence.manifest.entries} | BESIDES_MANIFEST
    for name in evidence.listing:
        if name not in known and not _looks_like_shard(name, evidence.manifest.dataset):
            faults.add(name, "is not imagemill's")
    return Outcome(
        observed=f"{faults.count:,} foreign objects", expected="nothing but imagemill's own objects", faults=faults
    )


SHARDS_PRESENT = Check(
    name="shards_present",
    judge=_shards_present,
    advice="Somebody removed, replaced or added objects after the conversion; convert again with `force`.",
)
SHARD_CHECKSUMS = Check(
    name="shard_checksums",
    judge=_shard_checksums,
    advice="The objects' bytes changed after they were written; convert again with `force`, and look for what wrote "
    "into the version folder.",
)
PLANNED = Check(
    name="plan",
    judge=_plan,
    advice="Nobody can tell what the version was made of, and it cannot be published: convert again with `force`.",
)
FOREIGN_OBJECTS = Check(
    name="foreign_objects",
    judge=_foreign_objects,
    severity=Severity.WARNING,
    advice="Move objects of your own out of the version folder: `prune` removes it with everything in it.",
)
