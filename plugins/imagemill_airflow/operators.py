"""The operator that converts what was planned."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.providers.google.cloud.hooks.dataflow import process_line_and_extract_dataflow_job_id_callback
from airflow.sdk.exceptions import AirflowSkipException

from imagemill.manifest import MANIFEST
from imagemill.plan import PLAN
from imagemill.runners import beam_runner, conversion_options
from imagemill.spec import DatasetSpec
from imagemill.storage import open_store
from imagemill.version.run_record import record_job
from imagemill.worker_wheel import shipped
from imagemill_airflow import metrics
from imagemill_airflow.beam_launch import BeamJobHook, JobCrashed
from imagemill_airflow.dataflow.conversion import DataflowConversion
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.job_state import JobState
from imagemill_airflow.links import LINKS, OutputLink, ReportLink, StagingLink, folder_page, object_page, store_links
from imagemill_airflow.retries import is_final
from imagemill_airflow.run_settings import kept
from imagemill_airflow.shard_watch import watched_shards

if TYPE_CHECKING:
    from airflow.sdk import Context

JOB_MODULE = "beam_jobs.convert_images"

_KILL_GRACE_SECONDS = 2.0
"""Airflow kills a task five seconds after asking it to end, and the job on Dataflow has to be cancelled in them."""


def job_file() -> str:
    """Returns the path of the job's module, found without importing it."""
    found = importlib.util.find_spec(JOB_MODULE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{JOB_MODULE} is not installed beside imagemill; install the whole project")
    return found.origin


class ConvertImagesOperator(BeamRunPythonPipelineOperator):
    """Converts what was planned, by a Beam job; skips where the plan found nothing to do.

    Repeating it is harmless: a version that is whole is not converted again, and on Dataflow a try joins the job that
    another one has left alive. What that takes is in `DataflowConversion`.

    :param spec: The dataset.
    :param plan: What `plan_conversion` returned (templated).
    :param deferrable: Whether a wait for Dataflow is left to the triggerer; by default the spec says, then Airflow's
        `[operators] default_deferrable`. Other runners' jobs are children of the task and are never deferred.
    """

    # Which runner it is, the run's own spec says when the task starts.
    template_fields: Sequence[str] = (
        *(name for name in BeamRunPythonPipelineOperator.template_fields if name != "runner"),
        "plan",
    )
    operator_extra_links = LINKS  # type: ignore[assignment]  # the provider's type names its one link

    def __init__(
        self,
        *,
        spec: DatasetSpec,
        plan: Any,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            py_file=job_file(),
            py_interpreter=sys.executable,
            # Without -P the job's own folder would come first on its path, and its modules could hide others.
            py_options=["-P"],
            # The provider's way runs other runners' jobs inside the triggerer.
            deferrable=False,
            **kwargs,
        )
        self.spec = spec
        self.plan = plan
        self._deferrable = deferrable
        self._conversion: DataflowConversion | None = None

    @google_connection()
    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the job.

        Raises:
            ImagemillError: The job failed; the class is the family of what went wrong.
        """
        self.spec = kept(self.spec, context)
        skip_unless_planned(self.plan)
        uri = self.plan["version_uri"]
        staging, report = folder_page(self.spec.locations.staging), object_page(f"{uri}/validation.html")
        store_links(context, {StagingLink: staging, OutputLink: folder_page(uri), ReportLink: report})
        if self._is_whole():
            self.log.info("%s is whole already; nothing is converted again", uri)
            return self._result(converted=False)
        if self.spec.conversion.runner == "dataflow":
            return self._execute_on_dataflow(context)
        runner = self.spec.conversion.runner
        with (
            shipped(runner, conversion_options(self.spec.conversion, runner)) as options,
            metrics.timed(self.spec.name, "convert"),
            watched_shards(self.plan, JobState(context).progress),
        ):
            self.runner = beam_runner(runner)
            self.pipeline_options = {**options, "plan": f"{uri}/{PLAN}"}
            super().execute(context)
        return self._converted(context, runner)

    def execute_on_dataflow(self, context: Context) -> None:
        """Launches the job and returns when its id is known; the provider calls this, with everything prepared."""
        self.beam_hook.start_python_pipeline(
            variables=self.snake_case_pipeline_options,
            py_file=self.py_file,
            py_options=self.py_options,
            py_interpreter=self.py_interpreter,
            process_line_callback=self.process_line_callback,
            is_dataflow_job_id_exist_callback=self.is_dataflow_job_id_exist_callback,
        )

    @google_connection()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Takes the task up again when the trigger has seen the job's end."""
        self.spec = kept(self.spec, context)
        self._conversion = conversion = DataflowConversion(self.spec, self.plan, context)
        with self._job_ends_with_its_last_try(context):
            return self._ended(context, conversion.take_event(event))

    def on_kill(self) -> None:
        """Ends the job, wherever it runs, within the seconds that Airflow gives."""
        self._stop(sign_in=False)

    def _stop(self, *, sign_in: bool) -> None:
        hook = getattr(self, "beam_hook", None)
        if isinstance(hook, BeamJobHook):
            # First the launcher: what it has not submitted by then, it never will.
            hook.stop(grace_seconds=_KILL_GRACE_SECONDS)
        if self._conversion is not None:
            self._conversion.cancel(sign_in=sign_in)

    def _execute_on_dataflow(self, context: Context) -> dict[str, Any]:
        self._conversion = conversion = DataflowConversion(self.spec, self.plan, context)
        with self._job_ends_with_its_last_try(context):
            job_id = conversion.find() or conversion.launch(
                lambda options: self._launch(options, context), longest=self.execution_timeout
            )
            if not self._waits_in_triggerer():
                with metrics.timed(self.spec.name, "convert"):
                    return self._ended(context, conversion.wait(job_id))
        trigger = conversion.trigger(job_id, self.execution_timeout)
        return self.defer(trigger=trigger, method_name="execute_complete")

    @contextmanager
    def _job_ends_with_its_last_try(self, context: Context) -> Iterator[None]:
        """Cancels the job when a try fails that no other one follows: nobody would ever join it."""
        try:
            yield
        except BaseException as error:
            if is_final(error, context["ti"]):
                self._stop(sign_in=True)
            raise

    def _waits_in_triggerer(self) -> bool:
        said = (self._deferrable, self.spec.conversion.dataflow.deferrable)
        usual = conf.getboolean("operators", "default_deferrable", fallback=False)
        return next((each for each in said if each is not None), usual)

    def _launch(self, options: dict[str, Any], context: Context) -> None:
        self.runner = beam_runner("dataflow")
        self.pipeline_options = options
        super().execute(context)

    def _set_dataflow(
        self, pipeline_options: dict[str, Any], job_name_variable_key: str | None = None
    ) -> tuple[str, dict[str, Any], Callable[[str], None], Callable[[], bool]]:
        # The provider's own insists on a connection that nobody need have made, and forgets the job's id.
        conversion = self._conversion
        if conversion is None:
            raise RuntimeError("only a task that converts on Dataflow launches there")
        self.dataflow_hook = conversion.jobs.hook
        on_line = process_line_and_extract_dataflow_job_id_callback(on_new_job_id_callback=conversion.submitted)
        named = {**pipeline_options, job_name_variable_key or "job_name": conversion.name}
        return conversion.name, named, on_line, lambda: conversion.job_id is not None

    def _cast_dataflow_config(self) -> None:
        # The provider's version warns of a Dataflow configuration on every run that has nothing to do with Dataflow.
        if self.dataflow_config:
            super()._cast_dataflow_config()  # type: ignore[no-untyped-call]  # the provider's own, without types

    def _init_pipeline_options(self, *args: Any, **kwargs: Any) -> Any:
        initial = super()._init_pipeline_options(*args, **kwargs)
        self.beam_hook = BeamJobHook(runner=self.runner)
        return initial

    def _is_whole(self) -> bool:
        return open_store(self.plan["version_uri"]).stat(MANIFEST) is not None

    def _ended(self, context: Context, job_id: str) -> dict[str, Any]:
        if not self._is_whole():
            raise JobCrashed(f"the Dataflow job {job_id} ended well, and {self.plan['version_uri']} has no manifest")
        return self._converted(context, "dataflow", job_id) | {"dataflow_job_id": job_id}

    def _converted(self, context: Context, runner: str, job_id: str = "") -> dict[str, Any]:
        began = context["ti"].start_date  # of this try; a wait in the triggerer does not begin it anew
        seconds = (datetime.now(UTC) - began).total_seconds()
        record_job(self.plan["version_uri"], runner=runner, job_id=job_id, seconds=seconds)
        return self._result(converted=True)

    def _result(self, *, converted: bool) -> dict[str, Any]:
        return {"version": self.plan["version"], "version_uri": self.plan["version_uri"], "converted": converted}


def skip_unless_planned(plan: Mapping[str, Any]) -> None:
    """Ends the run early, green, where nothing changed.

    Raises:
        AirflowSkipException: There is nothing to convert; the tasks after this one are skipped too.
    """
    if plan["action"] == "unchanged":
        raise AirflowSkipException(plan["reason"])
