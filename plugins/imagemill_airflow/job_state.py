"""What a conversion must not forget between tries, kept in Airflow's task state store."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from imagemill_airflow.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

RUN_LABEL = "imagemill-run"
"""Label of a job: which task of which run submitted it. Another run of the same version has its own failures."""

_JOB, _TOLD, _PROGRESS = "dataflow_job_id", "dataflow_failures_told", "progress"
_LEFT = "dataflow_job_left_to_the_triggerer"


class JobState:
    """The memory of one task in one run. It outlives tries and clearing, and the death of any process."""

    def __init__(self, context: Context) -> None:
        self._store: Any = context["task_state_store"]
        ti = context["ti"]
        identity = "\0".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
        self.run_label = hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def job_id(self) -> str | None:
        """The job that was submitted last."""
        found = self._store.get(_JOB)
        return str(found) if found else None

    def submitted(self, job_id: str) -> None:
        """Keeps a job's id."""
        self._store.set(_JOB, job_id)

    @property
    def left_to_triggerer(self) -> str | None:
        """The job for which the triggerer waits in the task's place.

        A try that starts from the beginning and finds one here follows a person who has ended that wait.
        """
        found = self._store.get(_LEFT)
        return str(found) if found else None

    def leave_to_triggerer(self, job_id: str) -> None:
        """Notes that the triggerer waits for a job from now on."""
        self._store.set(_LEFT, job_id)

    def take_back(self) -> None:
        """Notes that the triggerer no longer waits."""
        self._store.delete(_LEFT)

    def progress(self, progress: Progress) -> None:
        """Keeps how far the job is; people see it beside the task.

        Where Airflow refuses it, nothing is kept: of a task that somebody has cleared or failed it takes nothing more,
        and the task must live until Airflow stops it, so that it cancels its job.
        """
        try:
            self._store.set(_PROGRESS, progress.to_json())
        except AirflowRuntimeError as error:
            log.warning("Airflow does not keep the progress: %s", error)

    def has_told(self, job_id: str) -> bool:
        """Tells whether some try has failed with this job's failure already."""
        return job_id in self._told()

    def tell(self, job_id: str) -> None:
        """Notes that a job's failure is being told: the next try submits anew."""
        self._store.set(_TOLD, [*self._told(), job_id])

    def _told(self) -> list[str]:
        return list(self._store.get(_TOLD) or ())
