"""The tasks of a refresh: each calls one step of `imagemill.steps` and returns identifiers and counts.

A task names its spec by path. The worker parses the DAG file itself, so the path is the worker's own.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, task
from airflow.sdk.exceptions import DownstreamTasksSkipped

from imagemill.spec import DatasetSpec
from imagemill_airflow.approval import skip_rehearsal
from imagemill_airflow.explanations import task_doc
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.task_log import LoggedProgress

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)

Json = dict[str, Any]


def published_asset(spec: DatasetSpec) -> Asset:
    """Returns the asset that a publication updates; other DAGs can be scheduled on it."""
    output = spec.locations.output
    return Asset(name=spec.name, uri=output if "://" in output else Path(output).absolute().as_uri())


@task(doc_md=task_doc("prepare_images"), multiple_outputs=False)
@google_connection()
def prepare_images(spec_path: str) -> Json:
    from imagemill import steps

    return _json(steps.prepare_images(_spec(spec_path), progress=LoggedProgress()))


@task(doc_md=task_doc("upload_images"), multiple_outputs=False)
@google_connection()
def upload_images(spec_path: str) -> Json:
    from imagemill import steps

    return _json(steps.upload_images(_spec(spec_path), progress=LoggedProgress()))


@task(doc_md=task_doc("plan_conversion"), multiple_outputs=False)
@google_connection()
def plan_conversion(spec_path: str, params: Any = None, dag_run: Any = None, ti: Any = None) -> Json:
    from imagemill import steps

    spec = _spec(spec_path)
    count = params["shards"]
    splits = dict.fromkeys((*spec.splits.names, *spec.splits.fractions), count)
    planned = steps.plan_conversion(
        spec,
        now=dag_run.run_after,
        force=params["force"],
        limit=params["limit"] or None,
        shards=splits if count else None,
    )
    log.info("%s: %s", planned.action, planned.reason)
    if planned.action == "unchanged":
        ti.xcom_push("return_value", _json(planned))
        after = sorted(task.task_id for task in ti.task.get_flat_relatives())
        raise DownstreamTasksSkipped(tasks=after)  # type: ignore[no-untyped-call]  # Airflow's own, without types
    return _json(planned)


@task(doc_md=task_doc("validate_records"), multiple_outputs=False)
@google_connection()
def validate_records(spec_path: str, plan: Json) -> Json:
    from imagemill import steps

    return _json(steps.validate_records(_spec(spec_path), plan["version"], progress=LoggedProgress()))


@task(doc_md=task_doc("publish"), multiple_outputs=False)
@google_connection()
def publish(
    spec_path: str, plan: Json, dag_run: Any = None, outlet_events: MutableMapping[Asset, Any] | None = None
) -> Json:
    from imagemill import steps

    skip_rehearsal(plan)
    spec = _spec(spec_path)
    published = steps.publish(spec, plan["version"], run=f"{dag_run.dag_id} {dag_run.run_id}")
    if outlet_events is not None:
        facts = published.model_dump(mode="json", include={"version", "path", "rows", "fingerprint"})
        outlet_events[published_asset(spec)].extra.update(facts)
    return _json(published)


@task(doc_md=task_doc("prune_versions"), multiple_outputs=False)
@google_connection()
def prune_versions(spec_path: str) -> Json:
    from imagemill import steps

    return _json(steps.prune_versions(_spec(spec_path)))


def _spec(spec_path: str) -> DatasetSpec:
    from imagemill.spec.file import find_spec

    return find_spec(spec_path)


def _json(result: BaseModel | None) -> Json:
    return {} if result is None else result.model_dump(mode="json")
