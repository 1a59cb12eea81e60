"""The form that Airflow shows when a person triggers a refresh. The REST API is held to the same types."""

from __future__ import annotations

from typing import get_args

from airflow.sdk import Param

from imagemill.spec import Conversion, DatasetSpec

RUNNERS: tuple[str, ...] = get_args(Conversion.model_fields["runner"].annotation)

WHAT, HOW = "What to convert", "How to convert it"


def trigger_form(spec: DatasetSpec) -> dict[str, Param]:
    """Returns the parameters of one run; a scheduled run takes the defaults."""
    usual = spec.conversion.runner
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
            title="Rehearse on this many rows",
            description_md="`0` converts all rows. A rehearsal is converted and validated, **never published**.",
            section=WHAT,
        ),
        "runner": Param(
            default=usual,
            type="string",
            enum=[usual, *(runner for runner in RUNNERS if runner != usual)],
            title="Runner",
            description_md=f"Where the Beam job runs. The spec says `{usual}`; the bytes are the same on all of them.",
            section=HOW,
        ),
        "shards": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            maximum=100_000,
            title="Shards in each split",
            description_md="Empty: the spec's targets decide, and the counts stay those of the published version.",
            section=HOW,
        ),
    }
