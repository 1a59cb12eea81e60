"""Checks of the records: framing, counts, and the index that finds them."""

from __future__ import annotations

from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults, ShardFacts

_NO_SHARD = "no shard of the manifest is there whole"


def _record_framing(evidence: Evidence) -> Outcome:
    faults = Faults()
    for shard in evidence.shards:
        faults.extend(shard.framing)
    if evidence.full_scan:
        scanned = sum(shard.scanned or 0 for shard in evidence.shards)
        observed = f"{scanned:,} records hold, {faults.count:,} shards do not"
    else:
        observed = f"{len(evidence.sample) - faults.count:,} of {len(evidence.sample):,} sampled records hold"
    return Outcome(
        observed=observed,
        expected="the checksums of every record" if evidence.full_scan else "the checksums of every sampled record",
        faults=faults,
        skipped="" if evidence.shards else _NO_SHARD,
    )


def _record_counts(evidence: Evidence) -> Outcome:
    faults = Faults()
    for shard in evidence.shards:
        _count_shard(shard, faults)
    stated = sum(entry.records for entry in evidence.manifest.shards)
    return Outcome(
        observed=f"{stated:,} records in {len(evidence.manifest.shards):,} shards, {faults.count:,} contradictions",
        expected="the manifest's records and labels in every shard and its index",
        faults=faults,
        skipped="" if evidence.shards else _NO_SHARD,
    )


def _count_shard(shard: ShardFacts, faults: Faults) -> None:
    entry = shard.entry
    if sum(entry.labels.values()) != entry.records:
        faults.add(entry.name, f"its labels sum to {sum(entry.labels.values()):,}, its records to {entry.records:,}")
    if shard.scanned is not None and not shard.framing and shard.scanned != entry.records:
        faults.add(entry.name, f"holds {shard.scanned:,} records, the manifest says {entry.records:,}")
    if shard.indexed is not None and shard.indexed != entry.records:
        faults.add(entry.index.name, f"lists {shard.indexed:,} records, the manifest says {entry.records:,}")
    if shard.indexed_labels is not None and dict(shard.indexed_labels) != _without_zeros(entry.labels):
        faults.add(entry.index.name, "lists other records by label than the manifest")


def _without_zeros(counts: dict[int, int]) -> dict[int, int]:
    return {label: count for label, count in counts.items() if count}


def _shard_index(evidence: Evidence) -> Outcome:
    faults = Faults()
    for shard in evidence.shards:
        faults.extend(shard.index)
    for sampled in evidence.sample:
        found = sampled.found
        if found is not None and not found.unparsed and found.key != sampled.row.key:
            faults.add(
                sampled.row.shard,
                f"the record is {found.key!r}, its index says otherwise",
                offset=sampled.row.offset,
                key=sampled.row.key,
            )
    rows = sum(shard.indexed or 0 for shard in evidence.shards)
    return Outcome(
        observed=f"{rows:,} index rows looked at, {faults.count:,} faults",
        expected="an index that finds every record where it is",
        faults=faults,
        skipped="" if evidence.shards else _NO_SHARD,
    )


RECORD_FRAMING = Check(
    name="record_framing",
    judge=_record_framing,
    advice="Training would stop at this record; convert again with `force`.",
)
RECORD_COUNTS = Check(
    name="record_counts",
    judge=_record_counts,
    advice="The manifest does not describe these shards; convert again with `force`, and report it if it comes back.",
)
SHARD_INDEX = Check(
    name="shard_index",
    judge=_shard_index,
    advice="Random access would return wrong records; convert again with `force`, and report it if it comes back.",
)
