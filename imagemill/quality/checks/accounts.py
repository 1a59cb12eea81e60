"""Checks of the books: every input row is a record, a reject or a duplicate, and not too many are rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from imagemill.manifest import MANIFEST, Account, Manifest
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.evidence import Evidence, Faults, RejectFacts
from imagemill.rows import UNASSIGNED
from imagemill.version.files import REJECTS


def _accounting(evidence: Evidence) -> Outcome:
    manifest = evidence.manifest
    faults = Faults()
    for account in manifest.accounts:
        if not account.balanced:
            faults.add(MANIFEST, f"{_name(account)}: {_sum(account)}")
    _compare_records(manifest, faults)
    _compare_rejects(manifest, evidence.rejects, faults)
    plan = evidence.plan
    if plan is not None and plan.rows != manifest.rows:
        faults.add(MANIFEST, f"{manifest.rows:,} rows are accounted for, the plan counted {plan.rows:,}")
    return Outcome(
        observed=f"{manifest.rows:,} rows: {manifest.records:,} records, {manifest.rejected:,} rejected, "
        f"{manifest.duplicates:,} duplicates",
        expected="rows = records + rejected + duplicates, per split and label, as shards, rejects and plan count them",
        faults=faults,
    )


def _sum(account: Account) -> str:
    return (
        f"{account.rows:,} rows, but {account.records:,} records + {account.rejected:,} rejected "
        f"+ {account.duplicates:,} duplicates"
    )


def _name(account: Account) -> str:
    return f"split {account.split}, label {account.label}"


def _compare_records(manifest: Manifest, faults: Faults) -> None:
    in_shards: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards:
        for label, count in shard.labels.items():
            in_shards[shard.split, _label_name(manifest, label)] += count
    booked = Counter({(account.split, account.label): account.records for account in manifest.accounts})
    _compare(in_shards, booked, faults, what="records are in the shards")


def _label_name(manifest: Manifest, label: int) -> str:
    return manifest.labels[label] if 0 <= label < len(manifest.labels) else f"(id {label})"


def _compare_rejects(manifest: Manifest, rejects: RejectFacts | None, faults: Faults) -> None:
    if rejects is None:
        faults.add(REJECTS, "cannot be read")
        return
    faults.extend(rejects.malformed)
    if rejects.malformed:
        return
    booked = Counter({(account.split, account.label): account.rejected for account in manifest.accounts})
    _compare(rejects.strata, booked, faults, what=f"rows are in {REJECTS}")
    for reason in sorted(rejects.reasons.keys() | manifest.reject_reasons.keys()):
        listed, stated = rejects.reasons[reason], manifest.reject_reasons.get(reason, 0)
        if listed != stated:
            faults.add(REJECTS, f"{listed:,} rows were rejected as {reason}, the manifest says {stated:,}")


def _compare(
    found: Mapping[tuple[str, str], int], booked: Mapping[tuple[str, str], int], faults: Faults, *, what: str
) -> None:
    for stratum in sorted(found.keys() | booked.keys()):
        seen, stated = found.get(stratum, 0), booked.get(stratum, 0)
        if seen != stated:
            split, label = stratum
            faults.add(MANIFEST, f"split {split}, label {label}: {seen:,} {what}, {stated:,} are accounted for")


def _rejected_share(evidence: Evidence) -> Outcome:
    manifest, settings = evidence.manifest, evidence.settings
    faults = Faults()
    share = manifest.rejected / manifest.rows if manifest.rows else 0.0
    if share > settings.max_rejected:
        faults.add(REJECTS, f"{share:.2%} of all rows are rejected{_reasons(manifest)}")
    rows: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for account in manifest.accounts:
        rows[account.label] += account.rows
        rejected[account.label] += account.rejected
    for label in sorted(rows):
        # Rows that never got a label are in the overall budget; as a label of their own they would always be over.
        if label != UNASSIGNED and rejected[label] > settings.max_rejected_per_label * rows[label]:
            faults.add(REJECTS, f"label {label}: {rejected[label]:,} of {rows[label]:,} rows are rejected")
    return Outcome(
        observed=f"{manifest.rejected:,} of {manifest.rows:,} rows rejected ({share:.2%}){_reasons(manifest)}",
        expected=f"at most {settings.max_rejected:.2%}, and {settings.max_rejected_per_label:.2%} of any label",
        faults=faults,
    )


def _reasons(manifest: Manifest) -> str:
    counts = [f"{count:,} {reason}" for reason, count in sorted(manifest.reject_reasons.items()) if count]
    return f": {', '.join(counts)}" if counts else ""


def _empty_split(evidence: Evidence) -> Outcome:
    faults = Faults()
    records: Counter[str] = Counter()
    for account in evidence.manifest.accounts:
        records[account.split] += account.records
    planned = evidence.plan.splits if evidence.plan else ()
    wanted = {split.name for split in planned if split.rows} | (records.keys() - {UNASSIGNED})
    for split in sorted(wanted):
        if records[split] == 0:
            faults.add(MANIFEST, f"split {split} has no record")
    if evidence.manifest.records == 0:
        faults.add(MANIFEST, "the dataset has no record at all")
    parts = ", ".join(f"{split} {records[split]:,}" for split in sorted(wanted)) or "no split"
    return Outcome(
        observed=f"records: {parts}",
        expected="at least one record in every split",
        faults=faults,
        skipped="the version holds a limited sample of the rows" if evidence.limited else "",
    )


ACCOUNTING = Check(
    name="accounting",
    judge=_accounting,
    advice="Rows were lost or counted twice: that is a fault of the conversion, not of your data. Convert again with "
    "`force`, and report it if it comes back.",
)
REJECTED_SHARE = Check(
    name="rejected_share",
    judge=_rejected_share,
    advice="Look at rejects.jsonl, repair or drop those rows and refresh; or raise `validation.max_rejected` "
    "(or `max_rejected_per_label`) in the spec if so many bad rows are fine.",
)
EMPTY_SPLIT = Check(
    name="empty_split",
    judge=_empty_split,
    advice="Check the index's split column, `splits` in the spec, and the rejects.",
)
