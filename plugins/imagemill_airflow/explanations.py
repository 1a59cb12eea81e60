"""What Airflow's pages say about a refresh, for the person who looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.spec import DatasetSpec

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
        "Waits for a person to approve the validated version (*Required Actions*).",
        "A rejected version stays a candidate; training goes on with the published one.",
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
    steps = [task_id for task_id in TASKS if task_id != "approve" or spec.approval == "required"]
    table = "\n".join(f"| `{task_id}` | {' '.join(TASKS[task_id][0].split())} |" for task_id in steps)
    return f"""\
# {spec.name}

{spec.description.strip() or "*The spec has no description.*"}

Published under `{spec.locations.output}`, staged in `{spec.locations.staging}`. \
Training reads what `imagemill path {spec.name}` names.

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
"""


def broken_spec_doc(file_name: str, error: str) -> str:
    """Returns the Markdown of the DAG that stands for a spec which cannot be read."""
    return f"""\
# {file_name} is broken

No run can start until this is fixed; other datasets are not affected.

```
{error}
```

`imagemill specs` checks all specs without Airflow.
"""


def approval_request(spec: DatasetSpec, validated: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the headline and the Markdown that an approver reads."""
    body = (
        f"Version `{validated['version']}` passed validation: {validated['rows']:,} rows became "
        f"{validated['records']:,} records, {validated['rejected']:,} rejects and "
        f"{validated['duplicates']:,} duplicates in {validated['shards']:,} shards.\n\n"
        f"Report: {validated['report_uri']}\n\n"
        "*Approve* makes it what training reads. *Reject* leaves the published version as it is."
    )
    return f"Publish {validated['version']} of {spec.name}?", body
