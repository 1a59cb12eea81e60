"""The form that Airflow shows when a person triggers a refresh. The REST API is held to the same types."""

from __future__ import annotations

from typing import get_args

from airflow.sdk import Param

from imagemill.spec import Conversion, DatasetSpec

RUNNERS: tuple[str, ...] = get_args(Conversion.model_fields["runner"].annotation)
VERIFICATIONS: tuple[str, ...] = get_args(Conversion.model_fields["verification"].annotation)

WHAT, HOW, WHO = "What to convert", "How to convert it", "Publication"


def trigger_form(spec: DatasetSpec) -> dict[str, Param]:
    """Returns the parameters of one run; a scheduled run takes the defaults."""
    return {**_what(), **_how(spec), **_publication(spec)}


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
            description_md="`0` converts all rows. A rehearsal is converted and validated, **never published**.",
            examples=[0, 100, 1_000],
            section=WHAT,
        ),
    }


def _how(spec: DatasetSpec) -> dict[str, Param]:
    runner, verification = spec.conversion.runner, spec.conversion.verification
    return {
        "runner": Param(
            default=runner,
            type="string",
            enum=_first(runner, RUNNERS),
            values_display={
                "local": "local: on the worker, in one process or a few",
                "prism": "prism: on the worker, over Beam's portable protocol",
                "flink": "flink: a Flink cluster",
                "portable": "portable: any job server",
                "dataflow": "dataflow: Google Cloud Dataflow",
            },
            title="Runner",
            description_md=f"Where the Beam job runs. The spec says `{runner}`; the bytes are the same on all of them.",
            section=HOW,
        ),
        "workers": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            maximum=1_000,
            title="Workers",
            description_md="At most so many: machines on Dataflow, processes elsewhere. Empty: the spec or the runner "
            "decides. The bytes do not depend on it.",
            examples=[2, 8],
            section=HOW,
        ),
        "shards": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            maximum=100_000,
            title="Shards in each split",
            description_md="Empty: the spec's targets decide, and the counts stay those of the published version.",
            examples=[8, 64],
            section=HOW,
        ),
        "verification": Param(
            default=verification,
            type="string",
            enum=_first(verification, VERIFICATIONS),
            values_display={
                "header": "header: structure and checksums",
                "decode": "decode: every pixel, several times as long",
            },
            title="How closely to look at each image",
            description_md=f"The spec says `{verification}`. Another choice makes a **new version**, even of the same "
            "images: what became a record may differ.",
            section=HOW,
        ),
    }


def _publication(spec: DatasetSpec) -> dict[str, Param]:
    must = spec.approval == "required"
    return {
        "approval": Param(
            default=spec.approval,
            type="string",
            enum=["required"] if must else ["none", "required"],
            values_display={"none": "publish when validation has passed", "required": "wait for a person's approval"},
            title="Approval",
            description_md="The spec wants an approval, and a run cannot do without."
            if must
            else "`required` asks a person between validation and publication (*Required Actions*).",
            section=WHO,
        ),
        "note": Param(
            default="",
            type="string",
            maxLength=1_000,
            title="Note",
            description_md="Why you start this run. It is kept, with your name, in the version's `run.json` and in the "
            "history of publications.",
            examples=["new labels from the March review"],
            section=WHO,
        ),
    }


def _first(usual: str, choices: tuple[str, ...]) -> list[str]:
    return [usual, *(choice for choice in choices if choice != usual)]
