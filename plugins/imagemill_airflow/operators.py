"""The operator that converts what was planned."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.providers.google.cloud.operators.dataflow import DataflowConfiguration
from airflow.sdk.exceptions import AirflowSkipException

from imagemill.spec import DatasetSpec
from imagemill_airflow.beam_launch import BeamJobHook
from imagemill_airflow.google_connection import DEFAULT_CONNECTION, connection_id, google_connection, impersonation
from imagemill_airflow.run_settings import kept

if TYPE_CHECKING:
    from airflow.sdk import Context

JOB_MODULE = "beam_jobs.convert_images"

CLUSTERS = ("flink", "portable", "dataflow")


def job_file() -> str:
    """Returns the path of the job's module, found without importing it."""
    found = importlib.util.find_spec(JOB_MODULE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{JOB_MODULE} is not installed beside imagemill; install the whole project")
    return found.origin


def dataflow_job_name(dataset: str, version: str) -> str:
    """Returns the job's name, the same for every try; Dataflow admits lower-case letters, digits and dashes."""
    return f"imagemill-{dataset.replace('_', '-')[:30].rstrip('-')}-{version.lower()}"


class ConvertImagesOperator(BeamRunPythonPipelineOperator):
    """Converts what was planned, by a Beam job; skips where the plan found nothing to do.

    Repeating it is harmless: a version that is whole is not converted again.

    :param spec: The dataset.
    :param plan: What `plan_conversion` returned (templated).
    :param runner: Runner in the spec's words, `local` or `dataflow` (templated).
    """

    template_fields: Sequence[str] = (*BeamRunPythonPipelineOperator.template_fields, "plan")

    def __init__(self, *, spec: DatasetSpec, plan: Any, runner: str = "local", **kwargs: Any) -> None:
        super().__init__(
            py_file=job_file(),
            py_interpreter=sys.executable,
            # Without -P the job's own folder would come first on its path, and its modules could hide others.
            py_options=["-P"],
            runner=runner,
            **kwargs,
        )
        self.spec = spec
        self.plan = plan

    @google_connection()
    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the job.

        Raises:
            ImagemillError: The job failed; the class is the family of what went wrong.
        """
        self.spec = kept(self.spec, context["ti"])
        skip_unless_planned(self.plan)
        version = {"version": self.plan["version"], "version_uri": self.plan["version_uri"]}
        if self._is_whole():
            self.log.info("%s is whole already; nothing is converted again", self.plan["version_uri"])
            return version | {"converted": False}
        self._choose_runner(self.runner)
        super().execute(context)
        return version | {"converted": True}

    def on_kill(self) -> None:
        """Ends the job, wherever it runs."""
        hook = getattr(self, "beam_hook", None)
        if isinstance(hook, BeamJobHook):
            hook.stop()
        super().on_kill()

    def _choose_runner(self, runner: str) -> None:
        from imagemill.plan import PLAN
        from imagemill.runners import beam_runner, pipeline_options

        conversion = self.spec.conversion
        # A cluster's options mean nothing to a rehearsal on this machine, and may break it.
        ours = conversion.runner_options if runner in (conversion.runner, *CLUSTERS) else {}
        options = pipeline_options(runner, ours)
        self.runner = beam_runner(runner)
        self.pipeline_options = {**options, "plan": f"{self.plan['version_uri']}/{PLAN}"}
        if runner == "dataflow":
            self.pipeline_options = impersonation() | self.pipeline_options
            self.dataflow_config = DataflowConfiguration(
                gcp_conn_id=connection_id() or DEFAULT_CONNECTION,
                job_name=dataflow_job_name(self.spec.name, self.plan["version"]),
                append_job_name=False,
                project_id=str(options["project"]),
                location=str(options["region"]),
            )

    def _cast_dataflow_config(self) -> None:
        # The provider's version warns of a Dataflow configuration on every run that has nothing to do with Dataflow.
        if self.dataflow_config:
            super()._cast_dataflow_config()  # type: ignore[no-untyped-call]  # the provider's own, without types

    def _is_whole(self) -> bool:
        from imagemill.manifest import MANIFEST
        from imagemill.storage import open_store

        return open_store(self.plan["version_uri"]).stat(MANIFEST) is not None

    def _init_pipeline_options(self, *args: Any, **kwargs: Any) -> Any:
        initial = super()._init_pipeline_options(*args, **kwargs)
        self.beam_hook = BeamJobHook(runner=self.runner)
        return initial


def skip_unless_planned(plan: Mapping[str, Any]) -> None:
    """Ends the run early, green, where nothing changed.

    Raises:
        AirflowSkipException: There is nothing to convert; the tasks after this one are skipped too.
    """
    if plan["action"] == "unchanged":
        raise AirflowSkipException(plan["reason"])
