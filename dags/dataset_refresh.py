"""One DAG `refresh_<name>` for every spec in `datasets/`: which tasks, in which order, with which retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, chain

from imagemill.home import specs_dir
from imagemill.spec import DatasetSpec
from imagemill.spec.file import BrokenSpec, load_all
from imagemill_airflow.alerts import on_failure, on_success
from imagemill_airflow.approval import ApprovePublicationOperator, answer_form
from imagemill_airflow.broken_specs import broken_dag
from imagemill_airflow.explanations import dag_doc, task_doc
from imagemill_airflow.operators import ConvertImagesOperator
from imagemill_airflow.retries import retry_arguments
from imagemill_airflow.schedules import schedule_of
from imagemill_airflow.tasks import (
    plan_conversion,
    prepare_images,
    prune_versions,
    publish,
    published_asset,
    upload_images,
    validate_records,
)
from imagemill_airflow.trigger_form import trigger_form


def refresh_dag(spec: DatasetSpec, path: str) -> None:
    """Makes the DAG that refreshes one dataset."""
    with DAG(
        f"refresh_{spec.name}",
        description=f"Refresh the dataset {spec.name}",
        doc_md=dag_doc(spec),
        schedule=schedule_of(spec),
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # A DAG without a schedule starts nothing by itself: a pause would only hold up the person who triggers it.
        is_paused_upon_creation=None if spec.schedule or spec.after else False,
        tags=["imagemill", spec.source.type],
        params=trigger_form(spec),
        default_args=retry_arguments()
        | {
            "execution_timeout": timedelta(hours=6),
            "on_failure_callback": on_failure(spec),
            "on_success_callback": on_success(spec),
        },
    ):
        _tasks(spec, path)


def _tasks(spec: DatasetSpec, path: str) -> None:
    plan = plan_conversion(path)
    converted = ConvertImagesOperator(
        task_id="convert_images",
        spec=spec,
        plan=plan,
        execution_timeout=timedelta(hours=24),
        doc_md=task_doc("convert_images"),
    )
    validated = validate_records(path, plan)
    approved = ApprovePublicationOperator(
        task_id="approve",
        spec=spec,
        plan=plan,
        validated=validated,
        params=answer_form(),
        execution_timeout=None,
        doc_md=task_doc("approve"),
    )
    # As an inlet, the task sees what its asset's consumers were told.
    published = publish.override(inlets=[published_asset(spec)], outlets=[published_asset(spec)])(path, plan)
    chain(
        prepare_images(path),
        upload_images(path),
        plan,
        converted,
        validated,
        approved,
        published,
        prune_versions(path),
    )


for loaded in load_all(specs_dir(start=Path(__file__).parents[1])):
    if isinstance(loaded, BrokenSpec):
        broken_dag(loaded)
    else:
        refresh_dag(loaded.spec, str(loaded.path))
