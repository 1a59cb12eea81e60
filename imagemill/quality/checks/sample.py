"""Checks of the sampled records, as an independent reader gave them back."""

from __future__ import annotations

from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults, ReadBack, Sampled

_EMPTY = "no record could be sampled"


def _sample_decodes(evidence: Evidence) -> Outcome:
    faults = Faults()
    read = [sampled for sampled in evidence.sample if sampled.found is not None]
    for sampled in read:
        if sampled.found is not None:
            _add(faults, sampled, _decode_fault(sampled.found))
    sound = len(read) - faults.count
    if evidence.reader_crash:
        faults.add("", evidence.reader_crash)
    return Outcome(
        observed=f"{sound:,} of {len(read):,} sampled records parse and decode, read by {evidence.reader}",
        expected="every sampled record parses and decodes to the size it states",
        faults=faults,
        skipped="" if read else _EMPTY,
    )


def _decode_fault(found: ReadBack) -> str:
    if found.unparsed or found.undecoded:
        return found.unparsed or found.undecoded
    if found.stated_size == found.decoded_size:
        return ""
    stated, decoded = ("x".join(map(str, reversed(size))) for size in (found.stated_size, found.decoded_size))
    return f"states {stated} pixels and decodes to {decoded}"


def _sample_matches_source(evidence: Evidence) -> Outcome:
    faults = Faults()
    compared = 0
    for sampled in evidence.sample:
        if sampled.found is None or sampled.found.unparsed:
            continue
        compared += 1
        _add(faults, sampled, _difference(sampled, sampled.found))
    skipped = ""
    if evidence.images_uri is None:
        skipped = "no images were named to compare with"
    elif compared == 0:
        skipped = _EMPTY
    return Outcome(
        observed=f"{compared - faults.count:,} of {compared:,} sampled images equal their staged image",
        expected="image/encoded equals the staged image byte for byte, and its stored sha256",
        faults=faults,
        skipped=skipped,
    )


def _difference(sampled: Sampled, found: ReadBack) -> str:
    if found.stored_sha256 != found.encoded_sha256:
        return "its image/key/sha256 is not that of its image/encoded"
    if sampled.row.source_sha256 != found.encoded_sha256:
        return "its index has the checksum of another image"
    if sampled.staged_sha256 == "":
        return "the staged image is gone"
    if sampled.staged_sha256 not in (None, found.encoded_sha256):
        return "the staged image has other bytes"
    return ""


def _whole_shards_read(evidence: Evidence) -> Outcome:
    faults = Faults()
    for whole in evidence.whole:
        if whole.records is None:
            faults.add(whole.shard, whole.problem)
        elif whole.records != whole.expected:
            faults.add(whole.shard, f"{whole.records:,} records were read, {whole.expected:,} were expected")
    return Outcome(
        observed=f"{len(evidence.whole) - faults.count:,} of {len(evidence.whole):,} whole shards read",
        expected="TensorFlow reads a whole shard of every split, with the manifest's count",
        faults=faults,
        skipped="" if evidence.whole else f"{evidence.reader} reads samples only",
    )


def _add(faults: Faults, sampled: Sampled, detail: str) -> None:
    if detail:
        faults.add(sampled.row.shard, detail, offset=sampled.row.offset, key=sampled.row.key)


SAMPLE_DECODES = Check(
    name="sample_decodes",
    judge=_sample_decodes,
    advice="Training would fail on these images; set `conversion.verification: decode` to have such images rejected, "
    "then convert again.",
)
SAMPLE_MATCHES_SOURCE = Check(
    name="sample_matches_source",
    judge=_sample_matches_source,
    advice="Staging changed while or after it was converted; refresh again, and keep staging still while it runs.",
)
WHOLE_SHARDS_READ = Check(
    name="whole_shards_read",
    judge=_whole_shards_read,
    advice="Training would stop in this shard; convert again with `force`.",
)
