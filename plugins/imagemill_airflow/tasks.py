"""The tasks of a refresh: each calls one step of `imagemill.steps` and returns identifiers and counts.

A task names its spec by path. The worker parses the DAG file itself, so the path is the worker's own. What the run
does is decided by the spec that its first task has read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, task
from airflow.sdk.exceptions import DownstreamTasksSkipped

from imagemill.spec import DatasetSpec
from imagemill_airflow import metrics
from imagemill_airflow.approval import answer_of, skip_rehearsal
from imagemill_airflow.explanations import task_doc
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.run_settings import check_conf, chosen, count, keep, kept
from imagemill_airflow.task_log import LoggedProgress

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)

Json = dict[str, Any]


def published_asset(spec: DatasetSpec) -> Asset:
    """Returns the asset that a publication updates; other DAGs can be scheduled on it.

    Its URI does not hold the place, which the event tells: Airflow refuses to run a task whose asset moved while the
    run was under way.
    """
    return Asset(name=spec.name, uri=f"imagemill://datasets/{spec.name}")


@task(doc_md=task_doc("prepare_images"), multiple_outputs=False)
@google_connection()
def prepare_images(spec_path: str, params: Any = None, dag_run: Any = None, ti: Any = None) -> Json:
    from imagemill import steps

    # The run's own parameters hold whatever it was triggered with, known or not.
    check_conf(dag_run.conf, ti.task.dag.params)
    spec = chosen(_spec(spec_path), params)
    keep(spec, ti)
    with metrics.timed(spec.name, "prepare"):
        return _json(steps.prepare_images(spec, progress=LoggedProgress()))


@task(doc_md=task_doc("upload_images"), multiple_outputs=False)
@google_connection()
def upload_images(spec_path: str, **context: Any) -> Json:
    from imagemill import steps

    spec = kept(_spec(spec_path), context)
    with metrics.timed(spec.name, "upload"):
        return _json(steps.upload_images(spec, progress=LoggedProgress()))


@task(doc_md=task_doc("plan_conversion"), multiple_outputs=False)
@google_connection()
def plan_conversion(spec_path: str, **context: Any) -> Json:
    from imagemill import steps

    spec, params, dag_run, ti = kept(_spec(spec_path), context), context["params"], context["dag_run"], context["ti"]
    shards = count(params, "shards")
    splits = dict.fromkeys((*spec.splits.names, *spec.splits.fractions), shards) if shards else None
    with metrics.timed(spec.name, "plan"):
        planned = steps.plan_conversion(
            spec,
            now=dag_run.run_after,
            force=params["force"],
            limit=count(params, "limit"),
            shards=splits,
            user=_asked_by(dag_run),
            note=params["note"] or "",
        )
    log.info("%s: %s", planned.action, planned.reason)
    if planned.action == "unchanged":
        _end_early(_json(planned), ti, sorted(after.task_id for after in ti.task.get_flat_relatives()))
    return _json(planned)


@task(doc_md=task_doc("validate_records"), multiple_outputs=False)
@google_connection()
def validate_records(spec_path: str, plan: Json, **context: Any) -> Json:
    from imagemill import steps

    spec = kept(_spec(spec_path), context)
    with metrics.timed(spec.name, "validate"):
        validated = steps.validate_records(
            spec, plan["version"], force=context["params"]["force"], progress=LoggedProgress()
        )
    if not plan["limited"]:
        metrics.gauges(spec.name, validated.model_dump(include=set(MEASURES)))
    if spec.approval == "none":
        # The scheduler skips the task by itself, and starts no process for it.
        _end_early(_json(validated), context["ti"], ["approve"])
    return _json(validated)


MEASURES = ("rows", "records", "rejected", "duplicates", "shards", "bytes")
"""What dashboards are told of every validated version."""


@task(doc_md=task_doc("publish"), multiple_outputs=False, trigger_rule="none_failed")
@google_connection()
def publish(spec_path: str, plan: Json, **context: Any) -> Json:
    from imagemill import steps

    skip_rehearsal(plan)
    spec, dag_run = kept(_spec(spec_path), context), context["dag_run"]
    answer = answer_of(context["ti"])
    with metrics.timed(spec.name, "publish"):
        published = steps.publish(
            spec,
            plan["version"],
            user=answer.by if answer else _asked_by(dag_run),
            note="; ".join(filter(None, (context["params"]["note"], answer and answer.reason))),
            run=f"{dag_run.dag_id} {dag_run.run_id}",
        )
    if published.previous != published.version:
        metrics.gauge(spec.name, "version_age_seconds", 0)
    facts = published.model_dump(mode="json", include={"version", "path", "rows", "fingerprint"})
    if published.previous == published.version and _is_told(context["inlet_events"][published_asset(spec)], facts):
        log.info("%s was published before, and consumers were told: no asset event", published.version)
        # Airflow makes an event for each outlet that a task has when it succeeds.
        context["ti"].task.outlets = []
    else:
        context["outlet_events"][published_asset(spec)].extra.update(facts)
    return _json(published)


@task(doc_md=task_doc("prune_versions"), multiple_outputs=False)
@google_connection()
def prune_versions(spec_path: str, **context: Any) -> Json:
    from imagemill import steps

    spec = kept(_spec(spec_path), context)
    with metrics.timed(spec.name, "prune"):
        return _json(steps.prune_versions(spec))


def _is_told(events: Any, facts: Json) -> bool:
    """Tells whether the asset's newest event is of this version; a try that died after publishing made none."""
    newest = list(events.ascending(False).limit(1))
    return bool(newest) and newest[0].extra.get("version") == facts["version"]


def _asked_by(dag_run: Any) -> str | None:
    """Returns who triggered a run; None for a run that nobody did: the schedule's, and one without a scheduler."""
    user = getattr(dag_run, "triggering_user_name", None)
    return None if user == _DAG_TEST else user


_DAG_TEST = "dag_test"
"""Whom `DAG.test` (airflow/sdk/definitions/dag.py) names; the run is this process's user's."""


def _end_early(result: Json, ti: Any, skipped: list[str]) -> None:
    ti.xcom_push("return_value", result)
    raise DownstreamTasksSkipped(tasks=skipped)  # type: ignore[no-untyped-call]  # Airflow's own, without types


def _spec(spec_path: str) -> DatasetSpec:
    from imagemill.spec.file import find_spec

    return find_spec(spec_path)


def _json(result: BaseModel | None) -> Json:
    return {} if result is None else result.model_dump(mode="json")
