"""What Airflow's pages say about a refresh, for the person who looks at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagemill.spec import DatasetSpec

if TYPE_CHECKING:
    from imagemill.quality.report import Report
    from imagemill.version.run_record import RunRecord

TASKS = {
    "prepare_images": (
        "Reads the source and writes the prepared tree on the worker: `images/…` and `index.csv`.",
        "Look for a missing or changed archive, folder or index: the log names it.",
    ),
    "upload_images": (
        "Makes staging mirror the prepared tree; only what differs is transferred.",
        "Check that the worker may write to the staging location. Running it again resumes it.",
    ),
    "plan_conversion": (
        "Compares input and settings with the published version, and chooses the new version's name and shards. "
        "Where nothing changed, the tasks after it are skipped and the run is green.",
        "Look for an unreadable index or staging location.",
    ),
    "convert_images": (
        "Runs the Beam job that turns images into TFRecord shards. Rows that cannot be converted become rejects, "
        "counted by reason.",
        "The last lines of the log are the job's own reason. A whole version is never converted twice.",
    ),
    "validate_records": (
        "Proves the new version: checksums, counts, a sample read back through TensorFlow, the reject budget.",
        "Open the report that the log names. The candidate stays for inspection; fix the input, or the spec's limits.",
    ),
    "approve": (
        "Waits for a person to approve the validated version (*Required Actions*), where the spec or the trigger form "
        "asks for one; it is skipped elsewhere.",
        "Nobody answered in time. Trigger a run: it asks again, and converts nothing anew.",
    ),
    "publish": (
        "Moves `CURRENT` to the new version in one atomic write, and tells Airflow's asset. "
        "A rehearsal (`limit`) is never published.",
        "Somebody may have published at the same time: run it again.",
    ),
    "prune_versions": (
        "Marks old versions and removes those marked for long enough; never the published one.",
        "The publication is done; this can be run again at any time.",
    ),
}
"""What each task does, and what to do when it fails."""


def task_doc(task_id: str) -> str:
    """Returns the Markdown of one task."""
    does, when_it_fails = TASKS[task_id]
    return f"{does}\n\n**If it fails:** {when_it_fails}"


def dag_doc(spec: DatasetSpec) -> str:
    """Returns the Markdown of a dataset's DAG."""
    table = "\n".join(f"| `{task_id}` | {' '.join(does.split())} |" for task_id, (does, _) in TASKS.items())
    return f"""\
# {spec.name}

{spec.description.strip() or "*The spec has no description.*"}

| where | |
| --- | --- |
| published under | `{spec.locations.output}` |
| staged in | `{spec.locations.staging}` |
| what training reads | the output of `imagemill path {spec.name}` |

## What a run does

| task | what it does |
| --- | --- |
{table}

## When a run fails

Training is safe: until `publish` has succeeded, the published version stays what it was.

1. Open the red task's log; its last lines say what is wrong and the way out. The task's own docs say where to look.
2. Temporary faults were repeated already, with growing pauses. Bad input and bad specs are not: fix them first.
3. Then clear the red task, or trigger a new run. Finished work is not done again.

To rehearse a change, trigger a run with *Rehearse on this many rows*.

## Who is told

{_told(spec)}
"""


def _told(spec: DatasetSpec) -> str:
    alerts = spec.alerts
    ways = [*(f"mail to {address}" for address in alerts.email)]
    ways += [f"{way} ({conn_id})" for way, conn_id in _chats(spec) if conn_id]
    if not ways:
        return "The task logs only: the spec's `alerts` name nobody."
    age = f" A version older than {alerts.stale_after_days:g} days is stale." if alerts.stale_after_days else ""
    return f"{', '.join(ways)}: of {', '.join(alerts.events)}.{age}"


def _chats(spec: DatasetSpec) -> tuple[tuple[str, str | None], ...]:
    return ("Slack", spec.alerts.slack_conn_id), ("a webhook", spec.alerts.webhook_conn_id)


def broken_spec_doc(file_name: str, error: str) -> str:
    """Returns the Markdown of the DAG that stands for a spec which cannot be read."""
    return f"""\
# {file_name} is broken

No run can start until this is fixed; other datasets are not affected.

```
{error}
```

Where the spec was written for a newer imagemill than this one, upgrade the installation. `imagemill specs` checks all
specs without Airflow.
"""


def approval_request(
    spec: DatasetSpec, validated: Mapping[str, Any], report: Report, record: RunRecord | None
) -> tuple[str, str]:
    """Returns the headline and the Markdown that an approver reads: verdict, difference, where the report is."""
    version = validated["version"]
    points = [
        _verdict(report),
        *(f"**Warning**, {check.name}: {check.observed}; expected {check.expected}" for check in report.warnings),
        _difference(report),
        *_circumstances(record),
        f"**Report:** {_link(validated['report_uri'])}",
    ]
    parts = [
        f"{validated['rows']:,} rows became {validated['records']:,} records, {validated['rejected']:,} rejects and "
        f"{validated['duplicates']:,} duplicates, in {validated['shards']:,} shards.",
        "\n".join(f"- {point}" for point in points),
        "*Approve* makes it what training reads. *Reject* leaves the published version as it is; say why below. "
        f"Without an answer within {_span(spec.approval_hours)} the run fails, and the version stays a candidate.",
    ]
    return f"Publish {version} of {spec.name}?", "\n\n".join(parts)


def _verdict(report: Report) -> str:
    counts = Counter(str(check.verdict) for check in report.checks)
    skipped = f", {counts['skipped']} had nothing to look at" if counts["skipped"] else ""
    warned = f", {len(report.warnings)} warned" if report.warnings else ""
    return f"**Verdict:** validation passed; {counts['passed']} checks passed{warned}{skipped}."


def _span(hours: float) -> str:
    return f"{hours / 24:g} days" if hours >= 48 and hours % 24 == 0 else f"{hours:g} hours"


def _difference(report: Report) -> str:
    if report.base is None:
        return "**Difference:** nothing is published yet."
    diff = report.base.diff
    if diff is None:
        return f"**Difference** to {report.base.version}: not known."
    total = diff.total
    return (
        f"**Difference** to {report.base.version}: {total.before:,} records before, {total.after:,} after; "
        f"{total.added:,} added, {total.removed:,} removed, {total.renamed:,} renamed, "
        f"{total.changed:,} with other bytes, {total.relabelled:,} relabelled, {total.moved:,} in another split."
    )


def _circumstances(record: RunRecord | None) -> Iterator[str]:
    if record is None:
        return
    if record.note:
        yield f"**Note** of {record.requested_by}: {record.note}"
    if before := record.approval:
        said = f", {before.reason}" if before.reason else ""
        who = f" by {before.by}" if before.by else ""
        yield f"**Asked before:** {before.verdict} on {before.at:%Y-%m-%d}{who}{said}"


def _link(uri: str) -> str:
    """Returns Markdown; Cloud Storage's objects have a page for people who are signed in."""
    bucket_and_key = uri.removeprefix("gs://")
    return f"`{uri}`" if bucket_and_key == uri else f"[{uri}](https://storage.cloud.google.com/{quote(bucket_and_key)})"
