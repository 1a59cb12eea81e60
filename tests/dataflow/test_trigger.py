"""What waits in a deferred task's place: what it fires with, and whom it cancels for."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from imagemill.errors import CallerError, TemporaryFault, UnusableData
from imagemill.spec import DatasetSpec
from imagemill_airflow.beam_launch import JobCrashed
from imagemill_airflow.dataflow import watch
from imagemill_airflow.dataflow.api import JobPlace
from imagemill_airflow.dataflow.conversion import DataflowConversion
from imagemill_airflow.dataflow.trigger import DataflowJobTrigger
from tests.support.dataflow.task import Instance, Kept, first_event, made_again
from tests.support.dataflow.troubles import CPU_QUOTA, ApiTrouble, JobTrouble

PROJECT, REGION = "demo", "us-central1"
PLAN = {"rows": 50, "shards": {"train": 2, "test": 1}}
HELD = JobTrouble(held=True)


@pytest.fixture
def submit(standin, in_reach, monkeypatch):
    """Submits a job that never comes to be executed, and returns its id."""
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://")
    jobs = f"{standin.url}/v1b3/projects/{PROJECT}/locations/{REGION}/jobs"
    headers, made = {"Authorization": "Bearer x"}, []

    def post(trouble=HELD):
        standin.trouble(trouble)
        body = {"name": f"imagemill-{uuid4().hex}", "environment": {"sdkPipelineOptions": {}}}
        made.append(httpx.post(jobs, json=body, headers=headers).raise_for_status().json()["id"])
        return made[-1]

    yield post
    standin.trouble()
    for job_id in made:
        httpx.put(f"{jobs}/{job_id}", json={"requestedState": "JOB_STATE_CANCELLED"}, headers=headers)


def trigger(standin, job_id, *, deadline=None):
    place = JobPlace(project=PROJECT, region=REGION, endpoint=standin.url).to_json()
    moment = deadline and deadline.isoformat()
    made = DataflowJobTrigger(place=place, job_id=job_id, plan=PLAN, poll_seconds=0.1, deadline=moment)
    return made_again(made)


def fired(standin, job_id, **settings):
    return asyncio.run(first_event(trigger(standin, job_id, **settings))).payload


def state(standin, job_id):
    (job,) = [job for job in standin.jobs() if job["id"] == job_id]
    return job["currentState"].removeprefix("JOB_STATE_")


def test_a_failure_comes_with_the_jobs_own_words(standin, submit):
    job_id = submit(JobTrouble(message=CPU_QUOTA))
    event = fired(standin, job_id)
    assert (event["job_id"], event["state"]) == (job_id, "FAILED")
    assert "Quota 'CPUS' exceeded" in "\n".join(event["errors"])


def test_a_task_that_was_stopped_cancels_its_job(standin, submit):
    job_id = submit()
    asyncio.run(trigger(standin, job_id).on_kill())
    standin.wait_for(lambda _: state(standin, job_id) == "CANCELLED")


def test_a_triggerer_that_stops_leaves_the_job_alone(standin, submit):
    job_id = submit()

    async def watch_for_a_while():
        watching = asyncio.create_task(first_event(trigger(standin, job_id)))
        while standin.requests().get("metrics", 0) < 2:
            await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(asyncio.wait_for(watch_for_a_while(), 60))
    assert "update" not in standin.requests()
    assert state(standin, job_id) == "RUNNING"


def test_a_job_that_takes_too_long_is_cancelled(standin, submit):
    job_id = submit()
    event = fired(standin, job_id, deadline=datetime.now(UTC) + timedelta(seconds=0.5))
    assert event == {"job_id": job_id, "state": "TIMEOUT", "errors": [], "progress": {}}
    standin.wait_for(lambda _: state(standin, job_id) == "CANCELLED")


def test_a_dataflow_that_is_out_of_reach_for_too_long_ends_the_watch_and_not_the_job(standin, submit, monkeypatch):
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.0)
    job_id = submit()
    standin.trouble(ApiTrouble(method="get", times=-1))
    event = fired(standin, job_id)
    assert (event["job_id"], event["family"]) == (job_id, "temporary")
    assert "Dataflow answers 503" in event["error"]
    assert state(standin, job_id) == "RUNNING"


def test_a_job_that_may_no_longer_be_looked_at_ends_the_watch(standin, submit):
    job_id = submit()
    standin.trouble(ApiTrouble(method="get", status=403, message="Permission denied", times=-1))
    event = fired(standin, job_id)
    assert event["family"] == "caller"
    assert "roles/dataflow.developer" in event["error"]


# --- what the task makes of it -----------------------------------------------------------------------------------


@pytest.fixture
def deferred(standin, tmp_path):
    cloud = {"project": PROJECT, "region": REGION, "temp_location": "gs://mill/temp", "endpoint": standin.url}
    spec = DatasetSpec.model_validate(
        {
            "name": "cats",
            "source": {"type": "folder", "root": "/x"},
            "conversion": {"runner": "dataflow", "dataflow": cloud},
            "locations": {"staging": "gs://mill/staging", "output": "gs://mill/out"},
        }
    )
    plan = PLAN | {"version": "20260301T030000Z-1f2e3d4c", "version_uri": "gs://mill/out/v"}
    kept = Kept(tmp_path / "state.json")
    context = {"ti": Instance(Kept(tmp_path / "xcom.json"), "one"), "task_state_store": kept}
    return DataflowConversion(spec, plan, context)


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        pytest.param({"family": "temporary", "error": "503"}, TemporaryFault, "503", id="out of reach"),
        pytest.param({"family": "caller", "error": "no right"}, CallerError, "no right", id="not allowed"),
        pytest.param({"family": "data", "error": "torn"}, UnusableData, "torn", id="data"),
        pytest.param({"family": "bug", "error": "KeyError"}, JobCrashed, "KeyError", id="bug"),
        pytest.param({"state": "TIMEOUT"}, AirflowTaskTimeout, "took too long, and was cancelled", id="timeout"),
        pytest.param({"state": "CANCELLED"}, CallerError, "somebody stopped it", id="cancelled"),
        pytest.param({"state": "FAILED", "errors": ["KeyError: 'x'"]}, JobCrashed, "KeyError: 'x'", id="failed"),
    ],
)
def test_each_event_becomes_the_error_that_decides_on_a_retry(deferred, event, error, said):
    with pytest.raises(error, match=said):
        deferred.take_event({"job_id": "one"} | event)


def test_a_job_whose_watch_was_given_up_is_joined_by_the_next_try(standin, in_reach, submit, deferred, monkeypatch):
    job_id = submit()
    (job,) = [job for job in standin.jobs() if job["id"] == job_id]
    monkeypatch.setattr(deferred, "name", job["name"])
    deferred.trigger(job_id, None)
    with pytest.raises(TemporaryFault, match="503"):
        deferred.take_event({"job_id": job_id, "family": "temporary", "error": "503"})
    with closing(deferred.jobs):
        assert deferred.find() == job_id
    assert state(standin, job_id) == "RUNNING"


def test_an_ended_jobs_last_counts_are_kept(deferred, tmp_path):
    counts = dict.fromkeys(("rows", "of_rows", "records", "rejected", "duplicates", "bytes", "shards", "of_shards"), 3)
    assert deferred.take_event({"job_id": "one", "state": "DONE", "progress": counts}) == "one"
    assert Kept(tmp_path / "state.json").get("progress") == counts


def test_a_task_that_is_stopped_before_it_signed_in_asks_nothing(standin, in_reach, deferred, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://")
    standin.trouble()
    deferred.cancel()
    assert standin.requests() == {}
