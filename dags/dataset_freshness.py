"""One DAG that looks every hour how old each dataset is, and whether its spec can be read at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from imagemill.home import specs_dir
from imagemill.spec.file import BrokenSpec, LoadedSpec, load_all
from imagemill_airflow.alerts import FailureAlert, SuccessAlert
from imagemill_airflow.broken_specs import BrokenSpecAlert, airflow_id
from imagemill_airflow.freshness import check_freshness
from imagemill_airflow.retries import retry_arguments

DOC = """\
# Are the datasets fresh?

A DAG that no longer runs raises no error. So every hour this one compares the age of each published version with the
spec's `alerts.stale_after_days`, and tells once when it is too old; the next publication ends that. A spec that cannot
be read has neither refresh nor target: that is told once, too.
"""


def freshness_dag(found: list[LoadedSpec | BrokenSpec]) -> None:
    """Makes the DAG that watches some datasets."""
    with DAG(
        "watch_freshness",
        description="Tells of datasets without a new version for too long, and of broken specs",
        doc_md=DOC,
        schedule="@hourly",
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a watch that somebody must remember to switch on is none
        tags=["imagemill"],
        default_args=retry_arguments() | {"execution_timeout": timedelta(minutes=10)},
    ):
        for each in found:
            if isinstance(each, BrokenSpec):
                watch = check_freshness.override(
                    task_id=airflow_id(each.path.name), on_failure_callback=[BrokenSpecAlert(each)]
                )
            else:
                watch = check_freshness.override(
                    task_id=each.name,
                    # Without a target its age is a number for dashboards, and no reason to wake anybody.
                    on_failure_callback=[FailureAlert(each.spec, "watch")] if each.spec.alerts.stale_after_days else [],
                    on_success_callback=[SuccessAlert(each.spec, "watch")],
                )
            watch(str(each.path))


if specs := load_all(specs_dir(start=Path(__file__).parents[1])):
    freshness_dag(specs)
