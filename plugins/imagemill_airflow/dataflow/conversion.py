"""One conversion on Dataflow, with never two live jobs for one version, whoever dies when.

Dataflow admits one live job of a name, and the name follows from the version: so the name finds a job whose id nobody
could write down any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowTaskTimeout

from imagemill.errors import CallerError, ImagemillError, TemporaryFault, UnusableData
from imagemill.spec import DatasetSpec
from imagemill_airflow.beam_launch import JobCrashed
from imagemill_airflow.dataflow.api import CANCELLING, DONE, FAILED, DataflowJobs, Job, JobPlace
from imagemill_airflow.dataflow.failures import explain
from imagemill_airflow.dataflow.trigger import DataflowJobTrigger
from imagemill_airflow.dataflow.watch import PATIENCE_SECONDS, Ending, Watcher
from imagemill_airflow.google_connection import DEFAULT_CONNECTION, connection_id, impersonation
from imagemill_airflow.job_state import RUN_LABEL, JobState
from imagemill_airflow.links import DataflowLink, job_page, store_links
from imagemill_airflow.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

FORMAT = "tfrecord"
"""What a version's records are written as; part of the job's name."""

_LONGEST_DATASET = 63
_LIMIT = "max_workflow_runtime_walltime_seconds"
"""Dataflow's own bound on a job's life: it ends a job that nobody is left to end."""


def dataflow_job_name(dataset: str, version: str) -> str:
    """Returns the job's name, the same for every try; Dataflow admits lower-case letters, digits and dashes."""
    return f"imagemill-{dataset.replace('_', '-')[:_LONGEST_DATASET].rstrip('-')}-{version.lower()}-{FORMAT}"


class DataflowConversion:
    """The job that converts one version: found or launched, watched, cancelled.

    Attributes:
        name: The job's.
        place: Where it is.
        job_id: As soon as it is known.
    """

    def __init__(self, spec: DatasetSpec, plan: Mapping[str, Any], context: Context) -> None:
        from imagemill.runners import conversion_options

        self._settings, self._plan, self._context = spec.conversion.dataflow, plan, context
        self._staging = spec.locations.staging
        self._options = conversion_options(spec.conversion, "dataflow")
        self.name = dataflow_job_name(spec.name, plan["version"])
        self.place = JobPlace(
            project=str(self._options["project"]),
            region=str(self._options["region"]),
            conn_id=connection_id() or DEFAULT_CONNECTION,
            impersonate=self._settings.impersonate,
            endpoint=self._settings.endpoint,
        )
        self.job_id: str | None = None
        self._stopped = False
        self._state = JobState(context)
        self._labels = {"imagemill-dataset": spec.name, "imagemill-version": plan["version"].lower()}

    @cached_property
    def jobs(self) -> DataflowJobs:
        """Returns the client, which signs in when it is first used."""
        return DataflowJobs(self.place)

    def find(self) -> str | None:
        """Returns the id of the live job of this version; None where one has to be submitted.

        Raises:
            ImagemillError: Dataflow cannot be asked; or the job failed while nobody watched, for good.
            JobCrashed: It failed so, for a bug.
        """
        found = self.jobs.find(self.name)
        live = next((job for job in found if job.is_live), None)
        if live and live.id == self._state.left_to_triggerer:
            # The triggerer may be about to cancel it: a try that joined it would end with it.
            log.warning("nobody waits for the Dataflow job %s since this task was cleared; it is cancelled", live.id)
            self.jobs.cancel(live.id)
            self._await_end(live)
        elif live and live.state == CANCELLING:
            self._await_end(live)
        elif live:
            log.info("the Dataflow job %s (%s) is %s already; this try joins it", live.id, live.name, live.state)
            self.submitted(live.id)
            return live.id
        elif untold := next((job for job in found if self._is_untold(job)), None):
            self._tell_late(untold)
        return None

    def launch(self, launcher: Callable[[dict[str, Any]], None], *, longest: timedelta | None) -> str:
        """Submits the job and returns its id.

        Args:
            launcher: Runs the job's command line with these options, calls `submitted` as soon as the id is known.
            longest: Time after which Dataflow itself ends the job.

        Raises:
            ImagemillError: The job could not be submitted; the class is the family of what went wrong.
            JobCrashed: The launcher crashed.
        """
        from imagemill.worker_wheel import shipped
        from imagemill_airflow.dataflow.checks import check_buckets, check_wheel

        check_buckets(self._settings, (self._staging, self._plan["version_uri"]))
        started = time.monotonic()
        with shipped("dataflow", self._options) as options:
            packages: Any = options.get("extra_package", ())
            for wheel in packages:
                check_wheel(wheel)
            try:
                launcher(self._launch_options(options, longest))
            except (ImagemillError, JobCrashed) as error:
                self._join_after(error)
        if self.job_id is None:
            raise JobCrashed(f"the launcher of {self.name} ended well without naming the job that it submitted")
        log.info("submitted the Dataflow job %s in %.1f s", self.job_id, time.monotonic() - started)
        return self.job_id

    def submitted(self, job_id: str) -> None:
        """Notes the job's id, at once, where the next try finds it; and links to it."""
        self.job_id = job_id
        self._state.submitted(job_id)
        store_links(self._context, {DataflowLink: job_page(self.place, job_id)})
        self._context["ti"].xcom_push(key="dataflow_job_id", value=job_id)  # where the provider puts it, for sensors

    def wait(self, job_id: str) -> str:
        """Waits for the job's end, and returns its id.

        Raises:
            ImagemillError: It failed; the class is the family of what went wrong.
            JobCrashed: It failed for a bug.
        """
        watcher = Watcher(self.jobs, job_id, plan=self._plan, on_progress=self._state.progress)
        while (ending := watcher.look()) is None:
            time.sleep(self._settings.poll_seconds)
        return self._conclude(ending)

    def trigger(self, job_id: str, longest: timedelta | None) -> DataflowJobTrigger:
        """Returns what waits in the task's place; the job is cancelled after `longest`."""
        self._state.leave_to_triggerer(job_id)
        return DataflowJobTrigger(
            place=self.place.to_json(),
            job_id=job_id,
            plan={name: self._plan[name] for name in ("rows", "shards")},
            poll_seconds=self._settings.poll_seconds,
            deadline=(datetime.now(UTC) + longest).isoformat() if longest else None,
        )

    def take_event(self, event: Mapping[str, Any]) -> str:
        """Returns the job's id when the trigger says that it has ended well; raises as `wait` does."""
        self._state.take_back()
        if "error" in event:
            families = {family.family: family for family in (CallerError, TemporaryFault, UnusableData)}
            raise families.get(event["family"], JobCrashed)(event["error"])
        ending = Ending(**event)
        if ending.progress:
            self._state.progress(Progress(**ending.progress))
        return self._conclude(ending)

    def cancel(self, *, sign_in: bool = False) -> None:
        """Cancels the version's live job.

        Args:
            sign_in: Whether to do so even if this try has not signed in to Google yet. A signal's handler must not: it
                asks nothing of Airflow.
        """
        if not sign_in and "jobs" not in self.__dict__:
            return  # nobody has signed in yet, and so nobody has submitted a job
        try:
            self._stopped = True
            jobs = self.jobs.again()
            for job in jobs.find(self.name):
                if job.is_live:
                    jobs.cancel(job.id)
                    log.warning("cancelled the Dataflow job %s", job.id)
        except ImagemillError as error:
            log.error("the Dataflow job %s may still run: %s", self.name, error)

    def _launch_options(self, shipping: Mapping[str, Any], longest: timedelta | None) -> dict[str, Any]:
        from imagemill.plan import PLAN

        options: dict[str, Any] = {
            **impersonation(),
            **shipping,
            "plan": f"{self._plan['version_uri']}/{PLAN}",
            "labels": {**self._settings.labels, **self._labels, RUN_LABEL: self._state.run_label},
        }
        given = list(self._settings.service_options)
        if longest and not any(option.startswith(_LIMIT) for option in given):
            options["dataflow_service_options"] = [*given, f"{_LIMIT}={int(longest.total_seconds())}"]
        return options

    def _join_after(self, error: ImagemillError | JobCrashed) -> None:
        """Goes on with the job where the launcher failed and there is one all the same."""
        try:
            live = next((job for job in self.jobs.find(self.name) if job.is_live), None)
        except ImagemillError:
            live = None
        if live is not None:
            log.warning("%s; the job %s is alive all the same, and this try joins it", error, live.id)
            self.submitted(live.id)
        elif isinstance(error, JobCrashed):
            raise explain(f"the launch of {self.name}", error.lines) from error
        else:
            raise error

    def _await_end(self, job: Job) -> None:
        log.info("the Dataflow job %s is being cancelled; another one can follow when it is gone", job.id)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self.jobs.get(job.id).is_live:
            if time.monotonic() > give_up:
                raise TemporaryFault(f"the Dataflow job {job.id} has been {job.state} for {PATIENCE_SECONDS:.0f} s")
            time.sleep(self._settings.poll_seconds)

    def _is_untold(self, job: Job) -> bool:
        ours = job.id == self._state.job_id or job.labels.get(RUN_LABEL) == self._state.run_label
        return ours and job.state == FAILED and not self._state.has_told(job.id)

    def _tell_late(self, job: Job) -> None:
        """Fails as the try should have that did not live to see this job's end; what time heals is tried again."""
        error = self._failure(job.id, self.jobs.errors(job.id))
        if not isinstance(error, TemporaryFault):
            raise error
        log.warning("%s; nobody saw it, and a new job is submitted", error)

    def _conclude(self, ending: Ending) -> str:
        if ending.state == DONE:
            return ending.job_id
        if ending.state == FAILED:
            raise self._failure(ending.job_id, ending.errors)
        if ending.state == "TIMEOUT":
            raise AirflowTaskTimeout(f"the Dataflow job {ending.job_id} took too long, and was cancelled")
        if self._stopped:
            # Airflow tries again where its machine went away, and not where a person has failed or cleared the task.
            raise TemporaryFault(f"the Dataflow job {ending.job_id} was cancelled: its task was stopped")
        how = f"ended {ending.state}: somebody stopped it"
        raise CallerError(f"the Dataflow job {ending.job_id} {how}; clear the task to convert again")

    def _failure(self, job_id: str, errors: list[str]) -> Exception:
        self._state.tell(job_id)
        return explain(f"the Dataflow job {job_id}", errors)
