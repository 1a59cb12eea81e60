"""Executes a submitted job for real: Beam's Prism runner, and workers that have only what the job has staged.

What Dataflow does with a container image is done here with a virtual environment that holds Beam and the project's
dependencies, without the project. Beam's own `boot` installs the staged packages in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import beam_jobs.lean_beam  # noqa: F401 - makes the imports below cheap

# isort: split
import grpc
from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
    beam_runner_api_pb2,
)
from apache_beam.portability.common_urns import artifact_types, environments
from apache_beam.runners.portability import artifact_service

from tests.support.dataflow.jobs import Job
from tests.support.dataflow.troubles import JobTrouble
from tests.support.runners import PRISM
from tests.support.servers import LOOPBACK, free_ports, running, wait_for_port
from tests.support.worker_environment import write_start_script

_POLL_SECONDS = 0.3


class Cluster:
    """The machines: one Prism for all jobs, started with the first."""

    def __init__(self, folder: Path, *, gcs: str) -> None:
        self._folder = folder
        self._gcs = gcs
        self._lock = threading.Lock()
        self._running = ExitStack()
        self._channel: grpc.Channel | None = None

    def close(self) -> None:
        self._running.close()

    def live_through(self, job: Job) -> None:
        """Takes a job from its submission to its end."""
        zone = job.told["environment"].get("workerZone") or f"{job.region}-b"
        with _failing(job):
            trouble = job.trouble
            if trouble.message and not trouble.runs_first:
                job.say(f"Worker configuration: n1-standard-1 in {zone}.")
                if trouble.held:
                    _wait_for_release(job)
                raise JobFailed(_words(trouble, job, zone))
            job.enter("JOB_STATE_RUNNING")
            if trouble.held:
                _wait_for_release(job)
            self._execute(job)
            if trouble.message:
                raise JobFailed(_words(trouble, job, zone))

    def _execute(self, job: Job) -> None:
        if job.cancelled.is_set():
            return
        folder = self._folder / job.id
        folder.mkdir()
        pipeline = self._worker_side(self._fetch_pipeline(job), folder)
        channel = self._connect()
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        prepared = service.Prepare(beam_job_api_pb2.PrepareJobRequest(job_name=job.name, pipeline=pipeline))
        artifact_service.offer_artifacts(
            beam_artifact_api_pb2_grpc.ArtifactStagingServiceStub(channel),
            artifact_service.ArtifactRetrievalService(_open),
            prepared.staging_session_token,
        )
        started = service.Run(beam_job_api_pb2.RunJobRequest(preparation_id=prepared.preparation_id))
        self._follow(job, service, started.job_id)

    def _follow(self, job: Job, service: Any, number: str) -> None:
        state, errors = "", _Errors(service, number)
        names = beam_job_api_pb2.JobState.Enum
        while state not in ("DONE", "FAILED", "CANCELLED"):
            if job.cancelled.wait(_POLL_SECONDS) or (job.trouble.runs_first and job.committed):
                service.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=number))
                return
            asked = beam_job_api_pb2.GetJobStateRequest(job_id=number)
            state = names.Name(service.GetState(asked).state)
            metrics = service.GetJobMetrics(beam_job_api_pb2.GetJobMetricsRequest(job_id=number)).metrics
            job.tentative, job.committed = _counters(metrics.attempted), _counters(metrics.committed)
        if state != "DONE":
            raise JobFailed(errors.text() or f"the pipeline ended {state}")

    def _connect(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                (port,) = free_ports(1)
                command = [str(PRISM), f"--job_port={port}", "--serve_http=false", "--log_level=warn"]
                server = self._running.enter_context(
                    running("prism", command, log=self._folder / "prism.log", env=_bare())
                )
                wait_for_port(port, server)
                self._channel = grpc.insecure_channel(f"{LOOPBACK}:{port}")
            return self._channel

    def _fetch_pipeline(self, job: Job) -> beam_runner_api_pb2.Pipeline:
        return beam_runner_api_pb2.Pipeline.FromString(self._fetch(job.options["pipelineUrl"]))

    def _worker_side(self, pipeline: beam_runner_api_pb2.Pipeline, folder: Path) -> beam_runner_api_pb2.Pipeline:
        """Replaces container images by processes, and the URLs of staged packages by their content."""
        script = _unquoting(write_start_script(folder))
        for environment in pipeline.components.environments.values():
            environment.urn = environments.PROCESS.urn
            environment.payload = beam_runner_api_pb2.ProcessPayload(command=str(script)).SerializeToString()
            for dependency in environment.dependencies:
                staged = beam_runner_api_pb2.ArtifactUrlPayload.FromString(dependency.type_payload)
                content = self._fetch(staged.url)
                if hashlib.sha256(content).hexdigest() != staged.sha256:
                    raise JobFailed(f"{staged.url} is not what was staged: its sha256 differs")
                path = folder / staged.url.rsplit("/", 1)[-1]
                path.write_bytes(content)
                dependency.type_urn = artifact_types.FILE.urn
                dependency.type_payload = beam_runner_api_pb2.ArtifactFilePayload(
                    path=str(path), sha256=staged.sha256
                ).SerializeToString()
        return pipeline

    def _fetch(self, uri: str) -> bytes:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        try:
            with urllib.request.urlopen(
                f"{self._gcs}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
            ) as file:
                return file.read()
        except urllib.error.HTTPError as error:
            raise JobFailed(f"cannot read {uri}: {error}") from error


def _bare() -> dict[str, str]:
    """Returns an environment that lends this project to no worker."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


_UNQUOTE = """\
#!/bin/sh
# Prism puts quotes around values that no shell takes away.
for argument; do
    shift
    set -- "$@" "$(printf %s "$argument" | tr -d \\')"
done
exec "{script}" "$@"
"""


def _unquoting(script: Path) -> Path:
    outer = script.with_name("start-worker-of-prism")
    outer.write_text(_UNQUOTE.format(script=script))
    outer.chmod(0o755)
    return outer


class JobFailed(Exception):
    """The error of a job, in Dataflow's words."""


class _Errors:
    """What the runner says of a job that goes wrong, read as it comes."""

    def __init__(self, service: Any, number: str) -> None:
        self._texts: list[str] = []
        self._stream = service.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=number))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(timeout=10)
        return "\n".join(self._texts)

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for message in self._stream:
                said = message.message_response
                if said.importance >= beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR and said.message_text:
                    self._texts.append(said.message_text)


@contextlib.contextmanager
def _failing(job: Job) -> Iterator[None]:
    try:
        yield
    except JobFailed as error:
        job.say(f"Workflow failed. Causes: {error}", "JOB_MESSAGE_ERROR")
        job.enter("JOB_STATE_FAILED")
    except Exception as error:
        job.say(f"Workflow failed. Causes: the stand-in broke: {error!r}", "JOB_MESSAGE_ERROR")
        job.enter("JOB_STATE_FAILED")
        raise
    else:
        job.enter("JOB_STATE_CANCELLED" if job.cancelled.is_set() else "JOB_STATE_DONE")


def _wait_for_release(job: Job) -> None:
    while not job.released.wait(0.05):
        if job.cancelled.is_set() and not job.trouble.slow_to_cancel:
            return


def _words(trouble: JobTrouble, job: Job, zone: str) -> str:
    return trouble.message.format(zone=zone, region=job.region, name=job.name)


def _counters(infos: Any) -> dict[tuple[str, str, str], int]:
    """Returns the user counters among a runner's metrics by (namespace, name, step)."""
    return {
        (info.labels["NAMESPACE"], info.labels["NAME"], info.labels["PTRANSFORM"]): int(
            monitoring_infos.extract_counter_value(info)
        )
        for info in infos
        if info.urn == monitoring_infos.USER_COUNTER_URN
    }


def _open(path: str) -> IO[bytes]:
    return Path(path).open("rb")
