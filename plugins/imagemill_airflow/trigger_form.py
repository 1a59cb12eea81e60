"""The form that Airflow shows when a person triggers a refresh. The REST API is held to the same types.

Airflow's page takes an empty field for null: what may stay empty must be allowed to be null, or no run can be started.
It draws code as boxes that cover the lines above and below: the help is written without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from imagemill.limits import MAX_SHARDS
from imagemill.spec import DatasetSpec

RUNNERS = {
    "local": "local: on the worker, in one process or a few",
    "prism": "prism: on the worker, over Beam's portable protocol",
    "flink": "flink: a Flink cluster",
    "portable": "portable: any job server",
    "dataflow": "dataflow: Google Cloud Dataflow",
}
"""The spec's runners, as the form shows them."""

VERIFICATIONS = {
    "header": "header: structure and checksums",
    "decode": "decode: every pixel, several times as long",
}
"""The spec's degrees of verification, as the form shows them."""

APPROVALS = {"none": "publish when validation has passed", "required": "wait for a person's approval"}

WHAT, HOW, WHO = "What to convert", "How to convert it", "Publication"


def trigger_form(spec: DatasetSpec) -> dict[str, Param]:
    """Returns the parameters of one run; a scheduled run takes the defaults."""
    return {**_what(), **_how(spec), **_publication(spec)}


def optional_text(*, title: str, **how: Any) -> Param:
    """Returns a line of text that may stay empty."""
    return Param(default=None, type=["null", "string"], maxLength=1_000, title=title, **how)


def _what() -> dict[str, Param]:
    return {
        "force": Param(
            default=False,
            type="boolean",
            title="Convert even when nothing changed",
            description_md="Makes a new version although input and settings are those of the published one.",
            section=WHAT,
        ),
        "limit": Param(
            default=0,
            type="integer",
            minimum=0,
            maximum=1_000_000_000,
            title="Rehearse on this many rows",
            description_md="0 converts all rows. A rehearsal is converted and validated, **never published**.",
            examples=[0, 100, 1_000],
            section=WHAT,
        ),
    }


def _how(spec: DatasetSpec) -> dict[str, Param]:
    runner, verification = spec.conversion.runner, spec.conversion.verification
    return {
        "runner": _choice(
            runner,
            RUNNERS,
            title="Runner",
            description_md=f"Where the Beam job runs. The spec says **{runner}**; the bytes are the same everywhere.",
        ),
        "workers": _optional_count(
            1_000,
            title="Workers",
            description_md="At most so many: machines on Dataflow, processes elsewhere. Empty: the spec or the runner "
            "decides. The bytes do not depend on it.",
            examples=[2, 8],
        ),
        **_reach(),
        "shards": _optional_count(
            MAX_SHARDS,
            title="Shards in each split",
            description_md="Empty: the spec's targets decide, and the counts stay those of the published version.",
            examples=[8, 64],
        ),
        "verification": _choice(
            verification,
            VERIFICATIONS,
            title="Image check",
            description_md=f"How closely each image is looked at. The spec says **{verification}**. Another choice "
            "makes a **new version**, even of the same images: what became a record may differ.",
        ),
    }


def _reach() -> dict[str, Param]:
    """Returns where the runners are that need to be told; only places, and no program of the triggering person's."""
    host = r"^([^\s/:@]+:[0-9]{1,5})?$"
    return {
        "job_endpoint": optional_text(
            title="Job server",
            description_md="**flink** and **portable**: address of the job server, such as *jobs.example.org:8099*. "
            "Empty: the spec's.",
            pattern=host,
            section=HOW,
        ),
        "worker_pool": optional_text(
            title="Worker pool",
            description_md="**flink** and **portable**: address of the workers as the cluster sees it, such as "
            "*localhost:50000*. Empty: the spec's, or else the task itself does the work.",
            pattern=host,
            section=HOW,
        ),
        "prism_location": optional_text(
            title="Prism",
            description_md="**prism**: path of its binary on the worker, such as */usr/local/bin/prism*. Empty: the "
            "spec's.",
            pattern=r"^(/(.*/)?prism)?$",
            section=HOW,
        ),
    }


def _choice(usual: str, choices: Mapping[str, str], *, title: str, description_md: str) -> Param:
    return Param(
        default=usual,
        type="string",
        enum=[usual, *(choice for choice in choices if choice != usual)],
        values_display=dict(choices),
        title=title,
        description_md=description_md,
        section=HOW,
    )


def _optional_count(maximum: int, *, title: str, description_md: str, examples: list[int]) -> Param:
    return Param(
        default=None,
        type=["null", "integer"],
        minimum=1,
        maximum=maximum,
        title=title,
        description_md=description_md,
        examples=examples,
        section=HOW,
    )


def _publication(spec: DatasetSpec) -> dict[str, Param]:
    must = spec.approval == "required"
    return {
        "approval": Param(
            default=spec.approval,
            type="string",
            # Not without `none`: of a run under way, whose spec has been edited, Airflow would kill the next task.
            enum=["required", "none"] if must else ["none", "required"],
            values_display=APPROVALS,
            title="Approval",
            description_md="The spec wants an approval, and a run cannot do without."
            if must
            else "A person can be asked between validation and publication (*Required Actions*).",
            section=WHO,
        ),
        "note": optional_text(
            title="Note",
            description_md="Why you start this run, such as *new labels from the March review*. It is kept, with your "
            "name, in the version's *run.json* and in the history of publications.",
            section=WHO,
        ),
    }
