"""One DAG that looks every hour whether each dataset with a freshness target still meets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from imagemill.home import specs_dir
from imagemill.spec.file import LoadedSpec, load_all
from imagemill_airflow.alerts import FailureAlert, SuccessAlert
from imagemill_airflow.freshness import check_freshness
from imagemill_airflow.retries import retry_arguments

DOC = """\
# Are the datasets fresh?

A DAG that no longer runs raises no error. So every hour this one compares the age of each published version with the
spec's `alerts.stale_after_days`, and tells once when it is too old; the next publication ends that.
"""


def freshness_dag(watched: list[LoadedSpec]) -> None:
    """Makes the DAG that watches some datasets."""
    with DAG(
        "watch_freshness",
        description="Tells of datasets without a new version for too long",
        doc_md=DOC,
        schedule="@hourly",
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a watch that somebody must remember to switch on is none
        tags=["imagemill"],
        default_args=retry_arguments() | {"execution_timeout": timedelta(minutes=10)},
    ):
        for loaded in watched:
            check_freshness.override(
                task_id=loaded.spec.name,
                on_failure_callback=[FailureAlert(loaded.spec, "watch")],
                on_success_callback=[SuccessAlert(loaded.spec, "watch")],
            )(str(loaded.path))


found = load_all(specs_dir(start=Path(__file__).parents[1]))
if targets := [each for each in found if isinstance(each, LoadedSpec) and each.spec.alerts.stale_after_days]:
    freshness_dag(targets)
